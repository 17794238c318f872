"""The parser of the command line: what is wrong is one line, and `argparse`'s own words are in the interface's language."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from identity_kit.errors import BAD_INPUT
from identity_kit.ui import tr

# By argparse's own text, with its placeholders; what is not here (another Python may say it otherwise) stays English.
_CHINESE = {
    "usage: ": "用法：",
    "options": "选项",
    "positional arguments": "参数",
    "show this help message and exit": "显示这份说明",
    "show program's version number and exit": "显示版本号",
    "argument %(argument_name)s: %(message)s": "%(argument_name)s：%(message)s",
    "invalid %(type)s value: %(value)r": "%(value)r 不对",
    "invalid choice: %(value)r (choose from %(choices)s)": "没有 %(value)r 这个选择（可选：%(choices)s）",
    "invalid choice: %(value)r, maybe you meant %(closest)r? (choose from %(choices)s)": (
        "没有 %(value)r 这个选择，是不是 %(closest)r？（可选：%(choices)s）"
    ),
    "the following arguments are required: %s": "还缺：%s",
    "unrecognized arguments: %s": "不认识：%s",
    "expected one argument": "后面要跟一个值",
    "expected at least one argument": "后面至少要跟一个值",
    "expected at most one argument": "后面至多跟一个值",
    "expected %s argument": "后面要跟 %s 个值",
    "expected %s arguments": "后面要跟 %s 个值",
    "ignored explicit argument %r": "不带值，却给了 %r",
    "not allowed with argument %s": "不能与 %s 同用",
    "one of the arguments %s is required": "%s 里要给一个",
    "ambiguous option: %(option)s could match %(matches)s": "%(option)s 可以是 %(matches)s，请写全",
}


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that says what is wrong in one line and exits with our code for bad input."""

    def __init__(self, *args: Any, **options: Any) -> None:
        _speak()
        super().__init__(*args, **options)
        self.register("type", int, _number(int, "整数", "a whole number"))
        self.register("type", float, _number(float, "数", "a number"))

    def error(self, message: str) -> NoReturn:
        hint = tr(f"用法见 {self.prog} --help", f"see {self.prog} --help")
        self.exit(BAD_INPUT, tr("错误：", "error: ") + f"{message}; {hint}\n")


def _number(kind: type, zh: str, en: str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(tr(f"{text!r} 不是{zh}", f"{text!r} is not {en}")) from None

    return read


def _speak() -> None:
    """Make `argparse` speak the language of the interface, as `gettext` would with a catalogue."""
    words = vars(argparse)
    words["_"] = _said
    words["ngettext"] = lambda one, many, count: _said(one if count == 1 else many)


def _said(text: str) -> str:
    return tr(_CHINESE.get(text, text), text)
