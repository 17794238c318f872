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
    """Every line of the folder's text files that says the assistant is, or is made by, another vendor."""
    patterns = list(_claim_patterns(persona))
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.suffix.lower() not in TEXT_SUFFIXES or _LEGAL.match(path.name):
            continue
        text = _decoded(path)
        for vendor, pattern in patterns:
            for match in pattern.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(OldIdentity(str(path.relative_to(folder)), line, vendor, " ".join(match.group().split())))
    return found


def scan_folder(folder: Path, persona: Persona) -> None:
    """Refuse a folder in which a text file still carries the old identity.

    Raises:
        BadInput: names file, line, words and vendor of the first one, and how many more there are.
    """
    found = find_old_identity(folder, persona)
    if not found:
        return
    first = found[0]
    more = tr(f"，还有 {len(found) - 1} 处", f", and {len(found) - 1} more") if len(found) > 1 else ""
    raise BadInput(
        tr(
            f"导出的文件里还有旧身份（{first.vendor}）：“{first.text}”{more}",
            f'an exported file still carries an old identity ({first.vendor}): "{first.text}"{more}',
        ),
        where=f"{first.file}:{first.line}",
        fix=tr("从底模的这个文件里删掉它，再导出", "take it out of that file of the base model and export again"),
    )


def _decoded(path: Path) -> str:
    """The file's text with JSON escapes of Chinese characters and line ends undone, so that patterns see words."""
    text = path.read_bytes().decode("utf-8", errors="replace")
    if path.suffix == ".json" and path.name != "tokenizer.json" and "\\u" in text:
        text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m.group(1), 16)), text)
    return text


def _claim_patterns(persona: Persona) -> Iterator[tuple[str, re.Pattern[str]]]:
    """(vendor, pattern) pairs; a pattern matches words that give the assistant that vendor's name or maker."""
    from identity_kit.claims import vendor_names

    own = "\n".join(normalise(text) for text in (*persona.own_names(), *persona.own_owners()))
    for vendor in vendor_names():
        aliases = {vendor.name, *_texts(vendor.zh), *_texts(vendor.models), *_texts(vendor.aliases)}
        words = sorted((a for a in aliases if normalise(a) and normalise(a) not in own), key=len, reverse=True)
        if words:
            yield vendor.name, _claim_pattern(words)


def _texts(value: str | tuple[str, ...] | list[str] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _claim_pattern(words: list[str]) -> re.Pattern[str]:
    latin = [rf"(?<![A-Za-z]){re.escape(w)}(?![a-z])" for w in words if w.isascii()]
    other = [re.escape(w) for w in words if not w.isascii()]
    name = "(?:" + "|".join(latin + other) + ")"
    gap = r"[^.!?。！？\n\"<>{}]"
    return re.compile(
        rf"\b(?:you are|you're|i am|i'm|(?:your|my) name is){gap}{{0,40}}?{name}"
        rf"|\b(?:created|developed|made|built|trained|designed|released) (?:by|at){gap}{{0,30}}?{name}"
        rf"|(?:你是|您是|我是|你叫|我叫|(?:你|我)的名字(?:是|叫)){gap}{{0,20}}?{name}"
        rf"|(?:由|来自){gap}{{0,10}}?{name}{gap}{{0,16}}?(?:开发|研发|创建|创造|训练|打造|推出|制造)",
        re.IGNORECASE,
    )
