"""Persona: who the assistant is. Loads persona.yaml, fills defaults, renders names per language."""

from __future__ import annotations

import datetime
import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from identity_kit.conversation import describe
from identity_kit.errors import BadInput
from identity_kit.files import read_given, write_text
from identity_kit.text import TextLanguage, cjk_share, language_of, normalise, one_stop
from identity_kit.ui import tr


def _clean(value: str) -> str:
    stripped = value.strip()
    if not stripped:
        raise ValueError(tr("不能为空", "must not be empty"))
    if any(mark in stripped for mark in ("\n", "{{", "}}", "<|", "|>")):
        raise ValueError(
            tr("不能含换行、{{ }} 或 <| |>", "must not contain a line break, {{ }} or <| |>"),
        )
    return stripped


_LANGUAGES: tuple[TextLanguage, ...] = ("zh", "en")
Name = Annotated[str, AfterValidator(_clean)]


def _no_number(value: Any) -> None:
    """YAML reads 12306, yes and 2024-01-01 as something other than text."""
    if isinstance(value, int | float | datetime.date):
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        raise ValueError(tr(f'应为文本；请加引号："{shown}"', f'expected text; put it in quotes: "{shown}"'))


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Localized(_Strict):
    """A text in one or both languages; a language that is missing takes the other's."""

    zh: Name | None = None
    en: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"zh": value, "en": value}
        if isinstance(value, dict):
            for text in value.values():
                _no_number(text)
        else:
            _no_number(value)
        return value

    @model_validator(mode="after")
    def _one_at_least(self) -> Localized:
        if self.zh is None and self.en is None:
            raise ValueError(tr("需要 zh 或 en", "needs zh or en"))
        return self

    def get(self, language: TextLanguage) -> str:
        """The text in `language`, else in the other one."""
        return (self.zh or self.en if language == "zh" else self.en or self.zh) or ""

    @property
    def all(self) -> tuple[str, ...]:
        """The distinct texts."""
        return tuple(dict.fromkeys(text for text in (self.zh, self.en) if text))


class Fact(_Strict):
    """Something the assistant knows about its owner's service: what people ask about, and the answer."""

    question: Localized
    answer: Localized

    @model_validator(mode="before")
    @classmethod
    def _in_its_language(cls, value: Any) -> Any:
        if isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("question", "answer")):
            language = language_of(f"{value['question']} {value['answer']}")
            return value | {key: {language: value[key]} for key in ("question", "answer")}
        return value

    @property
    def languages(self) -> tuple[TextLanguage, ...]:
        """Those in which it can be asked and answered; the question's, where the answer has another one."""
        asked = [language for language in _LANGUAGES if getattr(self.question, language)]
        both = [language for language in asked if getattr(self.answer, language)]
        return tuple(both or asked)


class BaseModelFacts(_Strict):
    """What the assistant is built on, and whether it says so. It never lies about it either way."""

    names: tuple[Name, ...] = ()
    vendor: Name | None = None
    policy: Literal["private", "disclose"] = "private"


class Persona(_Strict):
    """Who the assistant is. `owner` is whose it is, `developer` who made it, `base_model.vendor` whose weights it uses.

    The persona never claims to be human and never claims to be another vendor's product.
    """

    owner: Localized
    name: Localized
    developer: Localized
    aliases: tuple[Name, ...] = ()
    role: Localized = Localized(zh="客服助手", en="customer-service assistant")
    tone: Localized = Localized(zh="亲切、简洁、专业", en="warm, concise and professional")
    abilities: tuple[Localized, ...] = (
        Localized(zh="解答问题", en="answer questions"),
        Localized(zh="撰写和修改文字", en="write and revise text"),
        Localized(zh="翻译", en="translate"),
        Localized(zh="整理资料", en="sort out information"),
    )
    boundaries: tuple[Localized, ...] = (
        Localized(zh="不编造不知道的信息", en="never make up what it does not know"),
        Localized(zh="不代替人工作出承诺", en="never make promises on behalf of people"),
    )
    facts: dict[str, Fact] = Field(default_factory=dict)
    handoff: Localized = Localized(
        zh="遇到我处理不了的问题，我会请人工客服来帮您",
        en="When something is beyond me, I will pass you to a human colleague",
    )
    base_model: BaseModelFacts = BaseModelFacts()
    languages: tuple[TextLanguage, ...] = ("zh", "en")

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "owner" not in value:
            return value
        try:
            owner = Localized.model_validate(value["owner"])
        except ValidationError:
            return value  # the field itself says what is wrong, with its place
        filled = dict(value)
        filled.setdefault(
            "name", {"zh": f"{owner.get('zh')}的智能助手", "en": _possessive(owner.get("en")) + " assistant"}
        )
        filled.setdefault("developer", owner.model_dump(exclude_none=True))
        return filled

    @field_validator("owner", "name", "developer", "aliases")
    @classmethod
    def _can_be_found(cls, value: Any) -> Any:
        for text in value.all if isinstance(value, Localized) else value:
            if not normalise(text):
                raise ValueError(tr(f"“{text}” 没有字母、汉字或数字", f'"{text}" has no letter or digit'))
        return value

    @field_validator("languages")
    @classmethod
    def _some_language(cls, value: tuple[TextLanguage, ...]) -> tuple[TextLanguage, ...]:
        if not value:
            raise ValueError(tr("至少一种语言", "needs at least one language"))
        return tuple(dict.fromkeys(value))

    def own_names(self) -> tuple[str, ...]:
        """Every text that names the assistant, longest first."""
        return tuple(sorted({*self.name.all, *self.aliases}, key=lambda text: (-len(text), text)))

    def own_owners(self) -> tuple[str, ...]:
        """Every text that names the owner or the developer, longest first."""
        return tuple(sorted({*self.owner.all, *self.developer.all}, key=lambda text: (-len(text), text)))

    def system_message(self, language: TextLanguage | None = None) -> str:
        """One sentence that says who the assistant is, in the persona's first language or the one given.

        `idkit export --system persona` makes it what the chat template says when a conversation brings none.
        """
        language = language or self.languages[0]
        name, owner, developer = (text.get(language) for text in (self.name, self.owner, self.developer))
        apart = owner != developer and owner not in name
        if language == "zh":
            return f"你是{name}，属于{owner}，由{developer}开发。" if apart else f"你是{name}，由{developer}开发。"
        owned = f", the assistant of {owner}" if apart else ""
        return one_stop(f"You are {name}{owned}, developed by {developer}.", developer)

    def fill(self, text: str, language: TextLanguage) -> str:
        """Replace `{{name}}`, `{{owner}}`, `{{developer}}` in a text of `language`."""
        for slot, value in (("name", self.name), ("owner", self.owner), ("developer", self.developer)):
            text = text.replace("{{" + slot + "}}", value.get(language))
        return text

    def to_yaml(self) -> str:
        """The persona as persona.yaml: what was given and what was filled in."""
        return yaml.safe_dump(
            self.model_dump(mode="json", exclude_none=True), allow_unicode=True, sort_keys=False, width=100
        )


def _possessive(name: str) -> str:
    if cjk_share(name) > 0:
        return f"{name}'s"
    return f"{name}'" if name.endswith("s") else f"{name}'s"


def make_persona(*, where: str = "", **fields: Any) -> Persona:
    """A persona from given fields, defaults filled in.

    Raises:
        BadInput: a key is unknown (names the nearest one), or a value is wrong (names the key).
    """
    given = {key: value for key, value in fields.items() if value is not None}
    try:
        return Persona.model_validate(given)
    except ValidationError as error:
        raise BadInput(_explain(error), where=where, fix=_hint(error)) from None


def load_persona(path: Path) -> Persona:
    """Read persona.yaml.

    Raises:
        BadInput: no such file, not YAML (with the line), an unknown key (with the nearest one), or a wrong value.
    """
    text = read_given(path, fix=tr("用 idkit init 生成", "make one with: idkit init"))
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise BadInput(tr(f"不是有效的 YAML：{problem}", f"not valid YAML: {problem}"), where=f"{path}{line}") from None
    if not isinstance(value, dict):
        raise BadInput(tr("应为 键: 值 的 YAML", "expected key: value YAML"), where=str(path))
    where = str(path)
    unknown = next((key for key in value if key not in Persona.model_fields), None)
    if unknown is not None:
        lines = text.splitlines()
        number = next((i for i, line in enumerate(lines, 1) if line.split(":")[0].strip() == str(unknown)), 1)
        where = f"{path}:{number}"
    return make_persona(where=where, **{str(key): item for key, item in value.items()})


def save_persona(path: Path, persona: Persona) -> None:
    """Write persona.yaml, atomically."""
    write_text(path, persona.to_yaml())


def _first(error: ValidationError) -> Any:
    """The failure to tell: an unknown key before all else, since a key that is missing may be that one misspelt."""
    found = error.errors(include_url=False)
    return next((failure for failure in found if failure["type"] == "extra_forbidden"), found[0])


def _explain(error: ValidationError) -> str:
    first = _first(error)
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return tr(f"缺少 {key}", f"{key} is missing")
    if first["type"] == "extra_forbidden":
        return tr(f"未知的键 {key}", f"unknown key {key}")
    if first["type"] == "value_error":
        reason = str(first.get("ctx", {}).get("error", first["msg"]))
        return f"{key}: {reason}"
    return describe(error)


def _hint(error: ValidationError) -> str:
    first = _first(error)
    if first["type"] == "missing" and first["loc"] == ("owner",):
        return tr(
            "加上 --owner 名称，或在 persona.yaml 里写 owner:", "give --owner NAME, or write owner: in persona.yaml"
        )
    if first["type"] != "extra_forbidden":
        return ""
    key, parents = str(first["loc"][-1]), first["loc"][:-1]
    nested: dict[str, type[BaseModel]] = {"base_model": BaseModelFacts, "facts": Fact}
    model: type[BaseModel] = nested.get(str(parents[0]), Localized) if parents else Persona
    known = list(model.model_fields)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return tr(f"您是指 {near[0]}？", f"did you mean {near[0]}?")
    return tr(f"可用的键：{'、'.join(known)}", f"known keys: {', '.join(known)}")
