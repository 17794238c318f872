"""The identity that travels in files: the chat template's default system message, and a scan for what is left of the old."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from identity_kit.errors import BadInput
from identity_kit.files import read_json, write_json, write_text
from identity_kit.text import normalise
from identity_kit.ui import tr

if TYPE_CHECKING:
    from identity_kit.persona import Persona

TEXT_SUFFIXES = {".json", ".jsonl", ".jinja", ".md", ".txt", ".yaml", ".yml", ".py", ".cfg", ".toml", ""}
# Legal texts must stay as they are, and a vendor's copyright line is no claim about who the assistant is.
_LEGAL = re.compile(r"^(LICENSE|LICENCE|NOTICE|COPYING)\b", re.IGNORECASE)


# How a sentence begins that says who somebody is or who made it, and how many characters on the name may come.
_OPENINGS = {
    **dict.fromkeys(("you are", "you're", "i am", "i'm", "your name is", "my name is"), 40),
    **{f"{verb} by": 30 for verb in ("created", "developed", "made", "built", "trained", "designed", "released")},
    **dict.fromkeys(("你是", "您是", "我是", "你叫", "我叫", "你的名字", "我的名字"), 20),
    **dict.fromkeys(("由", "来自", "來自"), 30),
}
_NEED_VERB = {"由", "来自", "來自"}
_MADE = re.compile("开发|研发|创建|创造|训练|打造|推出|制造|開發|研發|創建|創造|訓練")
_SENTENCE_END = re.compile(r"[.!?。！？\n\"<>{}]")


@dataclass(frozen=True)
class OldIdentity:
    """A place in an exported file that says the assistant is another vendor's.

    Attributes:
        file: the file's name within the folder.
        line: counted from 1.
        vendor: the vendor's English name.
        text: the words that say so.
    """

    file: str
    line: int
    vendor: str
    text: str


def with_default_system(template: str, text: str | None) -> str:
    """`template` (one without a default of its own) with `text` as the system message when none is given.

    Returns the template unchanged for None. Plain Jinja that both transformers and llama.cpp read.
    """
    if not text:
        return template
    literal = json.dumps(text, ensure_ascii=False)
    return (
        "{%- if not messages or messages[0]['role'] != 'system' %}"
        "{%- set messages = [{'role': 'system', 'content': " + literal + "}] + messages %}"
        "{%- endif %}" + template
    )


def set_template(folder: Path, default_system: str | None) -> str:
    """Rewrite the folder's chat templates so that none carries the base's identity; returns the main one.

    It is written to chat_template.jinja and into tokenizer_config.json, since older readers know only the latter.
    """
    from identity_kit.models.template import neutral_template

    config = read_json(folder / "tokenizer_config.json")
    main = folder / "chat_template.jinja"
    text = main.read_text(encoding="utf-8") if main.is_file() else config.get("chat_template", "")
    result = with_default_system(neutral_template(text), default_system)
    write_text(main, result)
    for extra in sorted(folder.glob("additional_chat_templates/*.jinja")):
        write_text(extra, with_default_system(neutral_template(extra.read_text(encoding="utf-8")), default_system))
    config["chat_template"] = result
    write_json(folder / "tokenizer_config.json", config)
    return result


def find_old_identity(folder: Path, persona: Persona) -> list[OldIdentity]:
    """Every place in the folder's text files that says the assistant is, or is made by, another vendor."""
    vendors = _vendor_patterns(persona)
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix.lower() in TEXT_SUFFIXES and not _LEGAL.match(path.name):
            text = _decoded(path)
            for position, vendor, words in claims_in(text, vendors):
                line = text.count("\n", 0, position) + 1
                found.append(OldIdentity(str(path.relative_to(folder)), line, vendor, words))
    return found


def scan_folder(folder: Path, persona: Persona) -> None:
    """Refuse a folder in which a text file still carries the old identity.

    Raises:
        BadInput: names file, line, words and vendor of the first one, and how many more there are.
    """
    found = find_old_identity(folder, persona)
    if found:
        raise _still_there(found[0].vendor, found[0].text, f"{found[0].file}:{found[0].line}", len(found) - 1)


def scan_text(text: str, persona: Persona, *, where: str) -> None:
    """Refuse a text that still carries the old identity; `where` is named in the error.

    Raises:
        BadInput: names words and vendor.
    """
    found = list(claims_in(text, _vendor_patterns(persona)))
    if found:
        raise _still_there(found[0][1], found[0][2], where, len(found) - 1)


def _still_there(vendor: str, words: str, where: str, others: int) -> BadInput:
    more = tr(f"，还有 {others} 处", f", and {others} more") if others else ""
    return BadInput(
        tr(
            f"导出的文件里还有旧身份（{vendor}）：“{words}”{more}",
            f'an exported file still carries an old identity ({vendor}): "{words}"{more}',
        ),
        where=where,
        fix=tr("从底模的这个文件里删掉它，再导出", "take it out of that file of the base model and export again"),
    )


def _decoded(path: Path) -> str:
    """The file's text with JSON escapes of Chinese characters and line ends undone, so that patterns see words."""
    text = path.read_bytes().decode("utf-8", errors="replace")
    if path.suffix == ".json" and path.name != "tokenizer.json" and "\\u" in text:
        text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m.group(1), 16)), text)
    return text


def _vendor_patterns(persona: Persona) -> list[tuple[str, re.Pattern[str]]]:
    """(vendor, pattern of its names) for every vendor, without names that are the persona's own."""
    from identity_kit.claims import vendor_names

    own = "\n".join(normalise(text) for text in (*persona.own_names(), *persona.own_owners()))
    result = []
    for vendor in vendor_names():
        words = sorted({a for a in vendor.spellings if normalise(a) not in own}, key=lambda a: (-len(a), a))
        names = [rf"(?<![a-z]){re.escape(w)}(?![a-z])" if w.isascii() else re.escape(w) for w in words]
        if names:
            result.append((vendor.name, re.compile("|".join(names), re.IGNORECASE)))
    return result


def claims_in(text: str, vendors: list[tuple[str, re.Pattern[str]]]) -> Iterator[tuple[int, str, str]]:
    """(position, vendor, words) wherever the text gives the assistant a vendor's name or maker.

    Looks for the few openings of such a sentence first, since a tokenizer's file has ten million characters.
    """
    lower = text.lower()
    for opening, reach in _OPENINGS.items():
        position = lower.find(opening)
        while position >= 0:
            window = _SENTENCE_END.split(text[position : position + len(opening) + reach], maxsplit=1)[0]
            if not lower[max(0, position - 6) : position].endswith(("not ", "never ")):
                for vendor, names in vendors:
                    match = names.search(window, len(opening))
                    if match and (opening not in _NEED_VERB or _MADE.search(window, match.end())):
                        yield position, vendor, " ".join(window.split())
                        break
            position = lower.find(opening, position + 1)
