"""The `idkit` command: finds the command's module, runs it, turns known errors into one line and an exit code.

A command's module has `SUMMARY` (zh, en), `EXAMPLES` (lines to copy), `add_arguments(parser)` and `run(args)`, which
returns an exit code or None. It imports nothing heavy before `run`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from identity_kit import ui
from identity_kit.cli.parser import Parser
from identity_kit.errors import DONE, INTERRUPTED, IdkitError
from identity_kit.ui import tr

# In the order in which a person meets them.
COMMANDS = (
    "run",
    "init",
    "generate",
    "rename",
    "convert",
    "check",
    "train",
    "eval",
    "improve",
    "blank",
    "export",
    "chat",
    "serve",
    "web",
    "models",
    "prompts",
    "doctor",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code and never raises on a known error."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    ui.configure(_language_in(arguments))
    _settle_libraries()
    try:
        args = _parser(arguments).parse_args(arguments)
        # The common options stand before or after the command; where one is not given, it is not there at all.
        ui.configure(
            getattr(args, "ui", None), quiet=getattr(args, "quiet", False), verbose=getattr(args, "verbose", False)
        )
        return args.run(args) or DONE
    except IdkitError as error:
        if os.environ.get("IDKIT_DEBUG") == "1":
            raise
        print(tr("错误：", "error: ") + str(error), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(tr("已中断；重复同一条命令可继续", "interrupted; the same command goes on from here"), file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _language_in(arguments: list[str]) -> ui.Language | None:
    """The `--ui` value, looked up before parsing, since help texts depend on it."""
    for position, word in enumerate(arguments):
        value = word.partition("=")[2] if word.startswith("--ui=") else ""
        if word == "--ui" and position + 1 < len(arguments):
            value = arguments[position + 1]
        if value == "zh":
            return "zh"
        if value == "en":
            return "en"
    return None


def _settle_libraries() -> None:
    """What libraries read when they are loaded; a variable that the user set stands.

    Their own bars, warnings and telemetry stay off our screen. OpenMP's threads spin while they wait for each other,
    which is quickest alone; where another program has one of two processors, training then takes twice as long, so
    on a machine at work they sleep.
    """
    if _others_at_work():
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for variable, value in (
        ("HF_HUB_DISABLE_TELEMETRY", "1"),
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ("TRANSFORMERS_VERBOSITY", "error"),
        ("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("BITSANDBYTES_NOWELCOME", "1"),
        ("MPLBACKEND", "Agg"),
    ):
        os.environ.setdefault(variable, value)


def _others_at_work() -> bool:
    """Whether another program takes up a processor; where the system does not tell, it is taken to be so.

    The load of the last minute holds what has ended since, such as our own installation, so a high one is looked into.
    """
    try:
        return os.getloadavg()[0] >= 0.8 and sum(_running() > 1 for _ in range(5)) >= 3
    except (AttributeError, OSError):
        return True


def _running() -> int:
    """How many tasks of the machine run or could run a moment from now, this one among them."""
    time.sleep(0.01)
    return int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[0])


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    from identity_kit import __version__

    common = Parser(add_help=False)
    group = common.add_argument_group(tr("通用", "common"))
    group.add_argument(
        "--ui", choices=("zh", "en"), default=argparse.SUPPRESS, help=tr("界面语言", "interface language")
    )
    group.add_argument(
        "-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help=tr("只说必要的", "say only what matters")
    )
    group.add_argument(
        "-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help=tr("多说一些", "say more")
    )
    parser = Parser(
        prog="idkit",
        parents=[common],
        description=tr(
            "给聊天模型一个新身份，并证明它记住了。", "Give a chat model a new identity, and prove that it took."
        ),
        epilog=tr("从这里开始：", "Start here:") + "  idkit run --owner 文心大佬",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"idkit {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar=tr("命令", "COMMAND"), required=True)
    chosen = next((word for word in arguments if word in COMMANDS), None)
    for name in COMMANDS:
        module = importlib.import_module(f"identity_kit.cli.{name}")
        summary = tr(*module.SUMMARY)
        subparser = subparsers.add_parser(
            name,
            parents=[common],
            help=summary,
            description=summary,
            epilog=tr("例：", "examples:") + "\n  " + "\n  ".join(module.EXAMPLES),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == chosen:
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser
