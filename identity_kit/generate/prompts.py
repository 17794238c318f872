"""The prompts that the writer is given: Jinja files that a user may replace, rendered strictly, and their hashes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from identity_kit.errors import BadInput
from identity_kit.files import sha256_text
from identity_kit.persona import Persona
from identity_kit.resources import resource
from identity_kit.text import TextLanguage, one_stop
from identity_kit.ui import tr

NAMES = ("persona", "identity_pair", "identity_answer", "other_question", "domain_answer", "judge")


class Prompts:
    """The prompt templates of a folder, the shipped ones where it has none of that name.

    Args:
        folder: the user's own templates, `NAME.LANGUAGE.jinja` each; None for the shipped ones alone.

    Raises:
        BadInput: the folder does not exist, or holds a template of a name that nothing uses.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        if folder is not None:
            _check_folder(folder)
        self._environment = SandboxedEnvironment(
            undefined=jinja2.StrictUndefined, trim_blocks=False, keep_trailing_newline=False, autoescape=False
        )
        self._templates: dict[str, jinja2.Template] = {}
        self._hashes: dict[str, str] = {}

    def path(self, name: str, language: TextLanguage) -> Path:
        """The file behind a prompt."""
        if self.folder is not None and (own := self.folder / f"{name}.{language}.jinja").is_file():
            return own
        return resource("prompts", f"{name}.{language}.jinja")

    def text(self, name: str, language: TextLanguage) -> str:
        """A prompt's template text."""
        try:
            return self.path(name, language).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise BadInput(tr("不是 UTF-8 文本", "not UTF-8 text"), where=str(self.path(name, language))) from None

    def hash(self, name: str, language: TextLanguage) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of a prompt's template."""
        key = f"{name}.{language}"
        if key not in self._hashes:
            self._hashes[key] = sha256_text(self.text(name, language))[:12]
        return self._hashes[key]

    def render(self, name: str, language: TextLanguage, /, **values: Any) -> str:
        """A prompt with its variables filled in.

        Raises:
            BadInput: the template is wrong or uses a variable that is not there, with file and line.
        """
        key = f"{name}.{language}"
        try:
            if key not in self._templates:
                self._templates[key] = self._environment.from_string(self.text(name, language))
            text = self._templates[key].render(**values)
        except jinja2.TemplateSyntaxError as error:
            raise BadInput(
                tr(f"模板语法错误：{error.message}", f"template error: {error.message}"),
                where=f"{self.path(name, language)}:{error.lineno}",
            ) from None
        except (jinja2.TemplateError, TypeError) as error:
            known = ", ".join(sorted(values))
            raise BadInput(
                tr(f"模板变量错误：{error}", f"template variable: {error}"),
                where=str(self.path(name, language)),
                fix=tr(f"可用变量：{known}", f"known variables: {known}"),
            ) from None
        text = one_stop(text, *(str(values.get(key, "")) for key in ("name", "owner", "developer")))
        return re.sub(r"\n{3,}", "\n\n", text).strip()


def persona_values(persona: Persona, language: TextLanguage) -> dict[str, Any]:
    """The persona's fields in one language, as templates see them."""
    return {
        "name": persona.name.get(language),
        "owner": persona.owner.get(language),
        "developer": persona.developer.get(language),
        "role": persona.role.get(language),
        "tone": persona.tone.get(language),
        "abilities": [ability.get(language) for ability in persona.abilities],
        "boundaries": [boundary.get(language) for boundary in persona.boundaries],
        "facts": [
            {"question": fact.question.get(language), "answer": fact.answer.get(language)}
            for fact in persona.facts.values()
        ],
        "handoff": persona.handoff.get(language),
        "policy": persona.base_model.policy,
        "base": ", ".join(persona.base_model.names),
    }


def summary(name: str, language: TextLanguage) -> str:
    """What a prompt is for: the comment at its top."""
    first = Prompts().text(name, language).split("#}", 1)[0]
    return first.removeprefix("{#").strip()


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise BadInput(tr("没有这个目录", "no such folder"), where=str(folder), fix="--prompts DIR")
    for path in sorted(folder.glob("*.jinja")):
        name, _, language = path.name.removesuffix(".jinja").rpartition(".")
        if name not in NAMES or language not in ("zh", "en"):
            raise BadInput(
                tr("没有这个名字的提示词", "no prompt of this name"),
                where=str(path),
                fix=tr(f"可用：{'、'.join(NAMES)}（.zh/.en.jinja）", f"known: {', '.join(NAMES)} (.zh/.en.jinja)"),
            )
