"""What a data file is: its kind by its name; its text UTF-8 with or without a mark, UTF-16 or GBK, perhaps in gzip."""

from __future__ import annotations

import codecs
import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from identity_kit.errors import BadInput
from identity_kit.ui import tr

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
_SAMPLE = 1 << 20
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass(frozen=True)
class Encoding:
    """The name of the encoding for Python, and the byte order mark that stands before the text."""

    name: str
    mark: bytes = b""

    @property
    def plain(self) -> bool:
        """UTF-8 without a mark: nothing to tell the user."""
        return self.name == "utf-8" and not self.mark

    def __str__(self) -> str:
        shown = {"gb18030": "GBK"}.get(self.name, self.name.upper())
        return f"{shown} + BOM" if self.mark else shown


def kind_of(path: Path) -> str:
    """The container that a file name promises: jsonl, json, csv, tsv, parquet or arrow.

    Raises:
        BadInput: none of them.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    kind = {".ndjson": "jsonl"}.get(suffix, suffix.lstrip("."))
    if suffix not in SUFFIXES:
        raise BadInput(
            tr(f"不认识的文件类型 “{suffix}”", f'unknown kind of file "{suffix}"'),
            where=str(path),
            fix=tr(f"可用：{'、'.join(SUFFIXES)}，以及它们的 .gz", f"use {', '.join(SUFFIXES)}, or .gz of them"),
        )
    return kind


def check_file(path: Path) -> Path:
    """The path, when it is a regular file with something in it.

    Raises:
        BadInput: it does not exist, is a loop of links, a folder, a device, or empty.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise BadInput(tr("没有这个文件", "no such file"), where=str(path)) from None
    except PermissionError:
        raise BadInput(tr("没有读取权限", "no permission to read it"), where=str(path)) from None
    except OSError as error:
        if error.errno == 40 or isinstance(error, RuntimeError):
            raise BadInput(tr("符号链接成环", "a loop of symbolic links"), where=str(path)) from None
        raise BadInput(error.strerror or str(error), where=str(path)) from None
    if stat.S_ISDIR(found.st_mode):
        raise BadInput(tr("是目录，应为文件", "is a folder, expected a file"), where=str(path))
    if not stat.S_ISREG(found.st_mode):
        raise BadInput(tr("不是普通文件", "is not a regular file"), where=str(path))
    if not found.st_size:
        raise BadInput(tr("文件为空", "the file is empty"), where=str(path))
    return path


def open_bytes(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked when its name ends in `.gz`."""
    check_file(path)
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return path.open("rb")


def detect_encoding(path: Path) -> Encoding:
    """The encoding of a text file, from its mark or its first megabyte.

    Raises:
        BadInput: neither UTF-8, UTF-16 nor GBK, with the line of the first byte that does not fit; or a broken gzip.
    """
    with open_bytes(path) as stream:
        try:
            head = stream.read(_SAMPLE)
        except (gzip.BadGzipFile, zlib.error, EOFError):
            raise BadInput(tr("gzip 文件已损坏", "the gzip file is broken"), where=str(path)) from None
    for mark, name in _MARKS:
        if head.startswith(mark):
            return Encoding(name, mark)
    whole = len(head) < _SAMPLE
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=whole)
        return Encoding("utf-8")
    except UnicodeDecodeError as error:
        bad = error.start
    if max(head[:bad].decode("utf-8"), default="") > "\u07ff":
        return Encoding(
            "utf-8"
        )  # GBK does not look like Chinese in UTF-8 for long: a broken line, for its reader to refuse
    try:
        codecs.getincrementaldecoder("gb18030")().decode(head, final=whole)
        return Encoding("gb18030")
    except UnicodeDecodeError:
        line = head.count(b"\n", 0, bad) + 1
        raise BadInput(
            tr("既不是 UTF-8 也不是 GBK 文本", "neither UTF-8 nor GBK text"),
            where=f"{path}:{line}",
            fix=tr("把文件另存为 UTF-8", "save the file as UTF-8"),
        ) from None


def text_lines(path: Path, encoding: Encoding) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers, line ends kept.

    Raises:
        BadInput: a line's bytes do not fit the encoding, or the gzip stream is broken; with the line.
    """
    number = 0
    with open_bytes(path) as stream:
        try:
            lines = _wide_lines(stream, encoding) if encoding.name.startswith("utf-16") else stream
            for number, raw in enumerate(lines, start=1):
                body = raw.removeprefix(encoding.mark) if number == 1 else raw
                yield number, body.decode(encoding.name)
        except UnicodeDecodeError:
            raise BadInput(
                tr(f"不是有效的 {encoding} 文本", f"not valid {encoding} text"),
                where=f"{path}:{number}",
                fix=tr("把文件另存为 UTF-8", "save the file as UTF-8"),
            ) from None
        except (gzip.BadGzipFile, zlib.error, EOFError):
            raise BadInput(tr("gzip 文件已损坏", "the gzip file is broken"), where=f"{path}:{number + 1}") from None


def _wide_lines(stream: IO[bytes], encoding: Encoding) -> Iterator[bytes]:
    """The lines of UTF-16 as bytes, parted at line feeds alone, as other encodings are: JSON may hold U+2028 as it is."""
    end = "\n".encode(encoding.name)
    kept = b""
    while piece := stream.read(_SAMPLE):
        lines, at, start = kept + piece, max(0, len(kept) - 1), 0
        while (at := lines.find(end, at)) >= 0:
            if at % 2:  # the halves of two characters
                at += 1
                continue
            at += 2
            yield lines[start:at]
            start = at
        kept = lines[start:]
    if kept:
        yield kept


def files_below(folder: Path, suffixes: tuple[str, ...] | None = None) -> list[Path]:
    """The regular files below a folder in name order, links to folders not followed, hidden files left out.

    Args:
        suffixes: only names that end in one of these (a `.gz` after it is allowed).

    Raises:
        BadInput: the folder holds none.
    """
    found = []
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(base, name)
            plain = name.removesuffix(".gz")
            fits = suffixes is None or plain.endswith(suffixes)
            if fits and not name.startswith(".") and path.is_file():
                found.append(path)
    if not found:
        wanted = ", ".join(suffixes or ())
        raise BadInput(
            tr(f"目录中没有数据文件（{wanted}）", f"no data files in the folder ({wanted})"), where=str(folder)
        )
    return found
