"""Files are whole or not there."""

import multiprocessing
import shutil
from pathlib import Path
from queue import Empty

import pytest

from identity_kit.errors import BadInput, Stopped
from identity_kit.files import atomic_open, folder_lock, read_json, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), atomic_open(path) as stream:
        stream.write("new")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_that_does_not_fit_is_one_line_and_leaves_nothing(tmp_path: Path):
    resource = pytest.importorskip("resource", reason="file size limits are a Unix thing")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(Stopped, match="cannot write the file: File too large"):
            write_text(tmp_path / "a.txt", "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_broken_json_is_said_with_its_line(tmp_path: Path):
    (tmp_path / "a.json").write_text('{\n"a": \n}')
    with pytest.raises(BadInput, match=r"a\.json:3: not valid JSON"):
        read_json(tmp_path / "a.json")
    write_json(tmp_path / "a.json", {"名": 1})
    assert read_json(tmp_path / "a.json") == {"名": 1}


def _try_lock(folder: str, queue, wait: bool = False) -> None:
    try:
        with folder_lock(Path(folder), wait=wait):
            queue.put("took it")
    except BadInput as error:
        queue.put(str(error))


def test_two_processes_cannot_hold_one_folder(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with folder_lock(tmp_path):
        other = context.Process(target=_try_lock, args=(str(tmp_path), queue))
        other.start()
        assert "another idkit is working" in queue.get(timeout=60)
        other.join()


def test_a_folder_of_the_cache_is_waited_for_also_when_its_holder_removes_it(tmp_path: Path):
    folder = tmp_path / ".model"
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with folder_lock(folder):
        other = context.Process(target=_try_lock, args=(str(folder), queue, True))
        other.start()
        with pytest.raises(Empty):
            queue.get(timeout=3)
    shutil.rmtree(folder)
    assert queue.get(timeout=60) == "took it"
    other.join()
