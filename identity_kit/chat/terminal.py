"""Talking in the terminal: streaming answers, one model or two side by side, and one-off questions for scripts."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from identity_kit import ui
from identity_kit.chat.engine import Engine, Settings
from identity_kit.chat.talk import Talk, help_text, parse_command
from identity_kit.errors import BadInput, IdkitError
from identity_kit.ui import tr

if TYPE_CHECKING:
    from rich.table import Table


def ask_once(
    engines: Sequence[Engine], question: str, *, system: str | None, settings: Settings, as_json: bool
) -> None:
    """Answer one question on stdout: streamed text, two columns on a terminal, or one JSON object a model."""
    talk = Talk(tuple(engine.label for engine in engines), system=system, questions=[question])
    if as_json:
        for number, engine in enumerate(engines):
            text, finish = "", "stop"
            for piece in engine.stream(talk.messages(number), settings):
                text, finish = text + piece.text, piece.finish or finish
            record = {"model": engine.label, "question": question, "answer": text, "finish_reason": finish}
            print(json.dumps(record, ensure_ascii=False), flush=True)
        return
    if len(engines) > 1 and sys.stdout.isatty():
        _answer_in_columns(talk, engines, settings)
        return
    for number, engine in enumerate(engines):
        if len(engines) > 1:
            print(f"── {engine.label}")
        _answer_in_line(talk, engine, number, settings)


def talk_in_terminal(engines: Sequence[Engine], *, system: str | None, settings: Settings) -> None:
    """Read questions and commands until the user ends it; Ctrl-C stops an answer, never the program."""
    talk = Talk(tuple(engine.label for engine in engines), system=system)
    ui.say(
        tr("直接输入即可对话；/help 看命令，Ctrl-D 结束。", "Type to talk; /help lists commands, Ctrl-D ends."),
        style="dim",
    )
    with _line_editing():
        while True:
            try:
                line = read_message(input, tr("我> ", "me> "))
            except EOFError:
                print(file=sys.stderr)
                return
            except KeyboardInterrupt:
                print(file=sys.stderr)
                ui.say(tr("Ctrl-D 或 /exit 结束", "Ctrl-D or /exit ends"), style="dim")
                continue
            try:
                if line.strip() and not _act(talk, engines, line.strip(), settings):
                    return
            except IdkitError as error:
                talk.drop_unanswered()
                ui.console().print(str(error), style="red", markup=False)


def read_message(read: Callable[[str], str], prompt: str) -> str:
    """One message: a line, lines that end in a backslash joined, or everything between two triple quotes.

    Raises:
        EOFError: the input ended.
    """
    line = read(prompt)
    if line.strip().startswith('"""'):
        lines = [line.strip()[3:]]
        while not lines[-1].rstrip().endswith('"""'):
            lines.append(read("... "))
        lines[-1] = lines[-1].rstrip()[:-3]
        return "\n".join(lines).strip("\n")
    lines = [line]
    while lines[-1].endswith("\\"):
        lines[-1] = lines[-1][:-1]
        lines.append(read("... "))
    return "\n".join(lines)


def _act(talk: Talk, engines: Sequence[Engine], line: str, settings: Settings) -> bool:
    """Do what one message asks; False ends the talk."""
    command = parse_command(line)
    if command is None:
        _ask(talk, engines, line, settings)
        return True
    name, argument = command
    if name == "exit":
        return False
    if name == "help":
        ui.say(help_text())
    elif name == "reset":
        talk.reset()
        ui.say(tr("已忘掉前面的对话", "forgotten"), style="dim")
    elif name == "system":
        _set_system(talk, argument)
    elif name == "retry":
        question = talk.take_back()
        if question is None:
            raise BadInput(tr("还没有问题", "nothing was asked yet"))
        _ask(talk, engines, question, settings)
    elif name == "save":
        if not argument:
            raise BadInput(
                tr("保存到哪个文件？", "save to which file?"), fix=tr("例如 /save 对话.md", "e.g. /save talk.md")
            )
        path = Path(argument).expanduser()
        talk.save(path)
        ui.say(tr(f"已保存到 {path}", f"saved to {path}"), style="dim")
    return True


def _set_system(talk: Talk, argument: str) -> None:
    if not argument:
        ui.say(talk.system or tr("（没有系统提示）", "(no system message)"))
        return
    talk.system = None if argument == "-" else argument
    talk.reset()
    ui.say(tr("系统提示已改，对话重新开始", "system message changed, the talk starts afresh"), style="dim")


def _ask(talk: Talk, engines: Sequence[Engine], question: str, settings: Settings) -> None:
    talk.questions.append(question)
    if len(engines) > 1:
        _answer_in_columns(talk, engines, settings)
    else:
        _answer_in_line(talk, engines[0], 0, settings)
    talk.drop_unanswered()


def _answer_in_line(talk: Talk, engine: Engine, number: int, settings: Settings) -> None:
    """Stream one answer to stdout; Ctrl-C keeps what was said so far as the answer."""
    text, cut = "", False
    stream = engine.stream(talk.messages(number), settings)
    try:
        for piece in stream:
            text += piece.text
            cut = piece.finish == "length"
            print(printable(piece.text), end="", flush=True)
    except KeyboardInterrupt:
        if not sys.stdin.isatty():
            raise
        stream.close()  # type: ignore[attr-defined]
        print(file=sys.stdout)
        ui.say(tr("（已停止）", "(stopped)"), style="dim")
    else:
        print(flush=True)
    if cut:
        ui.say(
            tr("（到了长度上限，可用 --max-tokens 加长）", "(cut at the limit; --max-tokens allows more)"), style="dim"
        )
    if text:
        talk.answers[number].append(text)


def _answer_in_columns(talk: Talk, engines: Sequence[Engine], settings: Settings) -> None:
    """Stream the answers one after the other into columns side by side, on stdout."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    texts = [""] * len(engines)
    with Live(console=console, transient=True, refresh_per_second=12, vertical_overflow="ellipsis") as live:
        for number, engine in enumerate(engines):
            stream = engine.stream(talk.messages(number), settings)
            try:
                for piece in stream:
                    texts[number] += piece.text
                    live.update(columns(talk.labels, texts))
            except KeyboardInterrupt:
                stream.close()  # type: ignore[attr-defined]
                texts[number] += tr("（已停止）", " (stopped)")
    console.print(columns(talk.labels, texts))
    for number, text in enumerate(texts):
        talk.answers[number].append(text)


def columns(labels: Sequence[str], texts: Sequence[str]) -> Table:
    """A table of one row, a column a model, that folds Chinese text by its terminal width."""
    from rich.box import ROUNDED
    from rich.table import Table
    from rich.text import Text

    table = Table(box=ROUNDED, expand=True, show_lines=False)
    for label in labels:
        table.add_column(Text(label), ratio=1, overflow="fold")
    table.add_row(*(Text(printable(text)) for text in texts))
    return table


def printable(text: str) -> str:
    """The text without control characters that would move the cursor or recolour the terminal."""
    return "".join(c for c in text if c in "\n\t" or (c >= " " and not "\x7f" <= c <= "\x9f"))


@contextlib.contextmanager
def _line_editing() -> Iterator[None]:
    """Arrow keys, and earlier questions from earlier talks, where the system has readline."""
    try:
        import readline
    except ImportError:
        yield
        return
    import platformdirs

    path = Path(platformdirs.user_state_dir("identity_kit")) / "chat_history"
    readline.parse_and_bind("set enable-bracketed-paste on")
    readline.set_history_length(500)
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)
            path.chmod(0o600)
