"""Where a text names an assistant or a vendor: the persona's own names and others', longest match first."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import yaml

from identity_kit.persona import Persona
from identity_kit.resources import protected_words, resource


@dataclass(frozen=True)
class Vendor:
    """A maker of models other than ours, its names and its assistants."""

    name: str
    zh: str
    models: tuple[str, ...]
    aliases: tuple[str, ...]
    products: tuple[str, ...] = ()

    @property
    def spellings(self) -> tuple[str, ...]:
        return (self.name, self.zh, *self.models, *self.aliases, *self.products)


@dataclass(frozen=True)
class Mention:
    who: str  # a vendor's English name, or "own:name", "own:owner"
    start: int
    end: int


@lru_cache(maxsize=1)
def vendor_names() -> tuple[Vendor, ...]:
    """The vendors of data/vendors.yaml."""
    rows = yaml.safe_load(resource("data", "vendors.yaml").read_text(encoding="utf-8"))
    return tuple(
        Vendor(
            name=row["name"],
            zh=row["zh"],
            models=tuple(row["models"]),
            aliases=tuple(row["aliases"]),
            products=tuple(row.get("products", ())),
        )
        for row in rows
    )


_NOBODY = ""  # whom a protected word names


def vendor_called(name: str) -> Vendor | None:
    """The vendor that goes by this name, Chinese name or other spelling, in any case, width or spacing."""
    wanted = _squeeze(as_view(name))
    return next((v for v in vendor_names() if wanted in {_squeeze(as_view(word)) for word in v.spellings}), None)


_PLAIN = str.maketrans(dict.fromkeys("‘’", "'") | dict.fromkeys("“”「」『』", '"') | {"—": ",", "–": "-"})


# Emphasis marks, and the characters of category Cf that turn up in text: soft hyphen, zero-width and direction marks, tags.
_DROPPED = re.compile(
    "[*_`\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U000e0001-\U000e007f]"
)


@lru_cache(maxsize=256)
def as_view(text: str) -> str:
    """NFKC, lower case, typographic quotes and emphasis marks made plain; zero-width characters dropped."""
    folded = unicodedata.normalize("NFKC", text).lower()
    folded = folded.translate(_PLAIN)
    return _DROPPED.sub("", folded)


def find_mentions(view: str, persona: Persona) -> Iterator[Mention]:
    pattern, owners = _own(persona)
    for match in pattern.finditer(view):
        if (who := owners[_squeeze(match.group())]) != _NOBODY:
            yield Mention(who, match.start(), match.end())


_latest: list[tuple[Persona, tuple[re.Pattern[str], dict[str, str]]]] = []


def _own(persona: Persona) -> tuple[re.Pattern[str], dict[str, str]]:
    """The pattern for a persona; of the one judged last it is at hand, since thousands of texts are judged for one."""
    if not _latest or _latest[0][0] is not persona:
        _latest[:] = [(persona, _pattern(persona.own_names(), persona.own_owners()))]
    return _latest[0][1]


@lru_cache(maxsize=64)
def _pattern(names: tuple[str, ...], own_owners: tuple[str, ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    who: dict[str, str] = {}
    for vendor in vendor_names():
        for spelling in vendor.spellings:
            who.setdefault(_squeeze(as_view(spelling)), vendor.name)
    # The persona's names win over a vendor's where both are written the same.
    own = {_squeeze(as_view(owner)): "own:owner" for owner in own_owners}
    own |= {_squeeze(as_view(name)): "own:name" for name in names}
    for word in (_squeeze(as_view(text)) for text in protected_words()):
        if any(name in word for name in own):
            who.setdefault(word, _NOBODY)
    who |= own
    # Grouped by first character, which stands before all else: `re` then skips places where no name can begin.
    groups: dict[str, list[str]] = {}
    for squeezed in sorted(who, key=lambda squeezed: -len(squeezed)):
        borders = _borders(squeezed) if who[squeezed].startswith("own:") else ("", "")
        groups.setdefault(squeezed[0], []).append(borders[0] + _rest_pattern(squeezed) + borders[1])
    branches = (f"{_first_pattern(first)}(?:{'|'.join(rests)})" for first, rests in groups.items())
    return re.compile("|".join(branches)), who


def _squeeze(view: str) -> str:
    return re.sub(r"[\s·・\-]+", "", view)


# What stands before and after a name of one character, as against the rest of a longer word: 云 in 云端.
_BEFORE_NAME = "是叫于由归为自给跟和与在即名找让被替请姓"
_AFTER_NAME = (
    "的是由呀啊哦噢吧呢啦哟喽嘛哈吗么哒咯了助智客机团公集旗家们老开研创造打训做制推出拥管运负提服背手工官授技签敬报"
    "在为来会能可就也都还不没很随给帮和与跟同及以或并且等这那此我你您他她它有说讲回答谈写将正从向对既只即则才又再已"
    "让把被用要想愿祝请谢感叫称名所属归专小语模虚数開創團們話為會這個說運負務訓製產屬帶身上下中里裡底前处那"
)


def _borders(squeezed: str) -> tuple[str, str]:
    """What must stand around a Chinese name of one character: Chinese has no word borders to look for."""
    if not re.fullmatch(r"[\u4e00-\u9fff]", squeezed):
        return "", ""
    # Looked at from behind the first character, which the caller has matched.
    before = rf"(?<![\u4e00-\u9fff]{squeezed})|(?<=[{_BEFORE_NAME}]{squeezed})"
    return f"(?:{before})", rf"(?:(?![\u4e00-\u9fff])|(?=[{_AFTER_NAME}]))"


def _first_pattern(first: str) -> str:
    """A name's first character, in no middle of a Latin word."""
    inside = rf"(?<![a-z0-9]{re.escape(first)})" if first.isascii() and first.isalnum() else ""
    return re.escape(first) + inside


def _rest_pattern(squeezed: str) -> str:
    rest = "".join(rf"[\s·・\-]*{re.escape(c)}" for c in squeezed[1:])
    return rest + (r"(?![a-z])" if squeezed[-1].isascii() and squeezed[-1].isalpha() else "")
