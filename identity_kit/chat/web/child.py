"""The process behind a job of the page: one `idkit` command, whose exit code is kept in a file."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from identity_kit.cli import main
from identity_kit.errors import INTERRUPTED
from identity_kit.files import read_json, write_json


def work(folder: Path, stop_after: str, arguments: list[str]) -> int:
    """Run the command; with `stop_after`, interrupt it as Ctrl-C does once that stage of the run is done."""
    # A process started in the background may have inherited a disposition that ignores Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    reached = threading.Event()
    if stop_after:
        threading.Thread(target=_watch, args=(folder.parent / "run.json", stop_after, reached), daemon=True).start()
    code = main(arguments)
    if code == INTERRUPTED and reached.is_set():
        code = 0
    write_json(folder / "exit.json", {"code": code, "ended": time.time()})
    return code


def _watch(record: Path, stage: str, reached: threading.Event) -> None:
    while True:
        time.sleep(0.2)
        if record.is_file() and stage in read_json(record).get("stages", {}):
            reached.set()
            os.kill(os.getpid(), signal.SIGINT)
            return


if __name__ == "__main__":
    sys.exit(work(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
