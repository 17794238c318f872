"""Stretches of a text in which names are left alone: code, URLs, e-mail, handles, file names and paths, domains."""

from __future__ import annotations

import re

from identity_kit.rename.rules import is_cjk

EXTENSIONS = (
    "pdf|docx?|xlsx?|pptx?|txt|md|jsonl?|csv|tsv|parquet|py|ipynb|js|ts|html?|css|vue|png|jpe?g|gif|svg|webp|mp[34]|wav|"
    "zip|gz|tar|rar|7z|exe|apk|dmg|ya?ml|toml|ini|cfg|sh|bat|safetensors|gguf|bin|pth?|log|xml|sql|cpp|java|rs|go"
)
TOP_DOMAINS = "com|cn|net|org|io|ai|dev|app|top|xyz|info|edu|gov|co|cc|me|tech|cloud|site|online|hk|tw|jp|uk|中国|公司"
_HAN = "\u3400-\u9fff\uf900-\ufaff"
# Chinese runs into a URL without a space, so Han belongs to it only after a delimiter.
_URL_REST = rf"(?:[!#-;=?-\[\]_a-z~]|(?<=[/=_&%#?.\-])[{_HAN}]+)+"
_CODE = re.compile(r"```.*?(?:```|\Z)|(?<!`)(`{1,2})(?!`).+?(?<!`)\1(?!`)|<(?:code|pre)\b.*?</(?:code|pre)>", re.DOTALL)
_URL = re.compile(rf"(?<![A-Za-z])[A-Za-z]{{2,5}}://{_URL_REST}")
_WWW = re.compile(rf"(?<![A-Za-z0-9])www\.{_URL_REST}")
_EMAIL = re.compile(r"[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+")
_HANDLE = re.compile(rf"(?<![A-Za-z0-9_@])@[A-Za-z0-9_\-{_HAN}]{{1,30}}")
_REPOSITORY = re.compile(r"(?<![A-Za-z0-9_./\-])[A-Za-z0-9][\w\-]*/[A-Za-z][\w.]*[\d_\-][A-Za-z0-9_.\-]*", re.ASCII)
_ENDING = re.compile(rf"\.(?:{EXTENSIONS})(?![A-Za-z0-9])")
_TOP = re.compile(rf"\.(?:{TOP_DOMAINS})(?![A-Za-z0-9])(?:/[!#-;=?-\[\]_a-z~]*)?")
_PATH = re.compile(r"(?<![\w/.<])(?:~|\.{1,2})?/[A-Za-z0-9_.\-]+(?:/[A-Za-z0-9_.\-]+)*|\b[A-Za-z]:\\[^\s\"<>|]+")
_ASCII_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_FILE_CHARS = _ASCII_WORD | frozenset("_./\\（）()")
# A file name in Chinese starts after the verb or particle before it.
_BEFORE_FILE = re.compile("[是在请看见的和与了把到有为开载存叫问]")


def find_zones(text: str) -> list[tuple[int, int, str]]:
    """(start, end, kind) of each such stretch; they may overlap, the kind that explains best comes first."""
    zones: list[tuple[int, int, str]] = []
    slash, at, dot = "/" in text, "@" in text, "." in text
    if "`" in text or "<" in text:
        zones += [(*m.span(), "code") for m in _CODE.finditer(text)]
    if slash and "://" in text:
        zones += [(*m.span(), "url") for m in _URL.finditer(text)]
    if dot and "www." in text:
        zones += [(*m.span(), "url") for m in _WWW.finditer(text)]
    if at:
        zones += [(*m.span(), "email") for m in _EMAIL.finditer(text)]
        zones += [(*m.span(), "handle") for m in _HANDLE.finditer(text)]
    if slash:
        zones += [(*m.span(), "handle") for m in _REPOSITORY.finditer(text)]
    if dot:
        zones += [_file(text, m) for m in _ENDING.finditer(text)]
        zones += [_domain(text, m) for m in _TOP.finditer(text)]
    if slash or "\\" in text:
        zones += [(*m.span(), "file") for m in _PATH.finditer(text)]
    return zones


def _file(text: str, ending: re.Match[str]) -> tuple[int, int, str]:
    """A file name from its ending back; a Chinese one without the words that run into it."""
    dot = start = ending.start()
    while start and (text[start - 1] in _FILE_CHARS or is_cjk(text[start - 1])):
        start -= 1
    run = text[start:dot]
    return (
        start + max((m.end() for m in _BEFORE_FILE.finditer(run) if m.end() < len(run)), default=0),
        ending.end(),
        "file",
    )


def _domain(text: str, top: re.Match[str]) -> tuple[int, int, str]:
    """A domain from its top level back, in Latin letters or in at most eight Chinese ones."""
    dot = start = top.start()
    if start and is_cjk(text[start - 1]):
        while start and is_cjk(text[start - 1]) and dot - start < 8:
            start -= 1
        run = text[start:dot]
        start += max((m.end() for m in _BEFORE_FILE.finditer(run) if m.end() < len(run)), default=0)
    else:
        while start and (text[start - 1] in _ASCII_WORD or text[start - 1] == "."):
            start -= 1
    return start, top.end(), "domain"


def zone_at(zones: list[tuple[int, int, str]], start: int, end: int) -> str:
    """The kind of the zone that a span touches, or the empty string."""
    return next((kind for a, b, kind in zones if a < end and start < b), "")
