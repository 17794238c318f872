"""Rows out of and into files, whatever a row's format: JSONL, JSON, CSV, Parquet, Arrow, `.gz`, folders, hub ids."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, overload

import orjson

from identity_kit.errors import BadInput
from identity_kit.files import atomic_open
from identity_kit.formats.encoding import SUFFIXES, check_file, detect_encoding, files_below, kind_of, text_lines
from identity_kit.formats.rows import Row, Unheld
from identity_kit.ui import detail, tr

# Columns that hold lists; in a CSV cell they are JSON.
_LISTS = ("messages", "conversations", "conversation", "history", "prompt", "chosen", "rejected", "completion")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_SPACE = re.compile(r"[ \t\r\n]*")
_CHUNK = 1 << 20


@overload
def iter_rows(
    source: Path | str, *, tolerant: Literal[False] = False, remarks: list[str] | None = None
) -> Iterator[tuple[str, Row]]: ...


@overload
def iter_rows(
    source: Path | str, *, tolerant: Literal[True], remarks: list[str] | None = None
) -> Iterator[tuple[str, Row | BadInput]]: ...


def iter_rows(source: Path | str, *, tolerant: bool = False, remarks: list[str] | None = None) -> Iterator[Any]:
    """The rows of a file, a folder of files or a hub data set, each with its place (`file:line` or `file:row N`).

    A `generate` folder stands for its conversations.jsonl.

    Args:
        tolerant: give a JSON line that is broken as its error, and go on.
        remarks: what there is to say about a file, its encoding for one, is added here.

    Raises:
        BadInput: anything that is not rows of fields, with the place.
    """
    path = Path(source)
    if path.is_dir():
        yield from _folder_rows(path, tolerant, remarks)
        return
    if _HUB_ID.fullmatch(str(source)) and not path.exists() and Path(source).suffix.lower() not in SUFFIXES:
        yield from _hub_rows(str(source))
        return
    check_file(path)
    kind = kind_of(path)
    if kind in ("parquet", "arrow"):
        yield from _table_rows(path, kind)
    elif kind in ("csv", "tsv"):
        yield from _csv_rows(path, "\t" if kind == "tsv" else ",")
    else:
        yield from _json_rows(path, tolerant, remarks)


def _folder_rows(folder: Path, tolerant: bool, remarks: list[str] | None) -> Iterator[Any]:
    options: dict[str, Any] = {"tolerant": tolerant, "remarks": remarks}
    if (folder / "conversations.jsonl").is_file():
        yield from iter_rows(folder / "conversations.jsonl", **options)
    elif (folder / "state.json").is_file() and any(folder.glob("*.arrow")):
        for file in sorted(folder.glob("*.arrow")):
            yield from _table_rows(file, "arrow")
    else:
        for file in files_below(folder, SUFFIXES):
            if file.name not in ("dataset_info.json", "manifest.json", "dataset_dict.json", "state.json"):
                yield from iter_rows(file, **options)


def _as_row(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise BadInput(tr("应为 JSON 对象 {…}", "expected a JSON object {…}"), where=where)
    return value


def _json_rows(path: Path, tolerant: bool, remarks: list[str] | None) -> Iterator[tuple[str, Row | BadInput]]:
    encoding = detect_encoding(path)
    if not encoding.plain:
        remark = tr(f"{path}：编码是 {encoding}", f"{path}: encoded as {encoding}")
        if remarks is None:
            detail(remark)
        else:
            remarks.append(remark)
    first = next(((n, line) for n, line in text_lines(path, encoding) if line.strip()), None)
    if first is None:
        raise BadInput(tr("文件里只有空白", "the file holds nothing but blanks"), where=str(path))
    by_line = not first[1].lstrip().startswith("[")
    if by_line and kind_of(path) == "json":
        try:
            json.loads(first[1])
        except json.JSONDecodeError:
            by_line = False
    if not by_line:
        yield from _stream_rows(path, (line for _, line in text_lines(path, encoding)))
        return
    for number, line in text_lines(path, encoding):
        if line.strip():
            where = f"{path}:{number}"
            try:
                yield where, _as_row(parse_json(line, where), where)
            except BadInput as error:
                if not tolerant:
                    raise
                yield where, error


def parse_json(line: str, where: str) -> Any:
    """One JSON value from one line.

    Raises:
        BadInput: broken JSON, with the column; or half of a surrogate pair, which no file can hold.
    """
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            value = json.loads(line)
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except json.JSONDecodeError as exact:
            reason = f"{exact.msg}, {tr('第', 'column ')}{exact.colno}{tr(' 列', '')}"
        except UnicodeEncodeError:
            reason = tr("半个代理对 \\ud8xx", "half a surrogate pair \\ud8xx")
        else:
            reason = str(error).split(":")[0]
        raise BadInput(tr(f"不是有效的 JSON（{reason}）", f"not valid JSON ({reason})"), where=where) from None


def _stream_rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[str, Row]]:
    """The elements of one JSON array, or objects one after the other over several lines, a few at a time in memory."""
    decoder = json.JSONDecoder()
    source = iter(lines)
    text, number, in_array, at = "", 1, None, 0
    ended = False
    while True:
        if not ended and len(text) - at < _CHUNK:
            number += text.count("\n", 0, at)
            piece = "".join(line for line, _ in zip(source, range(4096), strict=False))
            ended, text, at = not piece, text[at:] + piece, 0
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        mark = text[at : at + 1]
        where = f"{path}:{number + text.count(chr(10), 0, at)}"
        if in_array is None and mark == "[":
            in_array, at = True, at + 1
        elif mark == "," and in_array:
            at += 1
        elif mark == "]" and in_array:
            if text[at + 1 :].strip() or (not ended and "".join(source).strip()):
                raise BadInput(tr("] 之后还有内容", "something follows the closing ]"), where=where)
            return
        elif not mark:
            if in_array:
                raise BadInput(tr("JSON 在中途断了，缺少 ]", "the JSON breaks off, ] is missing"), where=where)
            return
        else:
            in_array = bool(in_array)
            try:
                value, at = decoder.raw_decode(text, at)
            except json.JSONDecodeError as error:
                rest = "" if ended else "".join(line for line, _ in zip(source, range(65536), strict=False))
                if rest:
                    text += rest
                    continue
                place = f"{path}:{number + text.count(chr(10), 0, error.pos)}"
                raise BadInput(
                    tr(f"不是有效的 JSON（{error.msg}）", f"not valid JSON ({error.msg})"), where=place
                ) from None
            yield where, _as_row(value, where)


def _csv_rows(path: Path, separator: str) -> Iterator[tuple[str, Row]]:
    encoding = detect_encoding(path)
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader((line for _, line in text_lines(path, encoding)), delimiter=separator, strict=True)
    header: list[str] | None = None
    started = 1
    try:
        for cells in reader:
            where = f"{path}:{started}"
            started = reader.line_num + 1
            if not any(cells):
                continue
            if header is None:
                header = [name.strip() for name in cells]
                continue
            if len(cells) != len(header):
                raise BadInput(
                    tr(
                        f"有 {len(cells)} 列，表头有 {len(header)} 列",
                        f"{len(cells)} cells, the header has {len(header)}",
                    ),
                    where=where,
                )
            yield where, {name: _cell(name, value) for name, value in zip(header, cells, strict=True)}
    except csv.Error as error:
        raise BadInput(tr(f"CSV 有错：{error}", f"broken CSV: {error}"), where=f"{path}:{reader.line_num}") from None


def _cell(name: str, value: str) -> Any:
    if name in _LISTS and value[:1] in "[{" and value:
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    if name == "label" and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return value


def _table_rows(path: Path, kind: str) -> Iterator[tuple[str, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if kind == "parquet":
            batches = pq.ParquetFile(path).iter_batches(batch_size=1024)
        else:
            batches = _arrow_batches(path)
        number = 0
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                where = f"{path}: {tr('第', 'row ')}{number}{tr(' 行', '')}"
                yield where, _without_nulls(row)
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(tr(f"读不了：{reason}", f"cannot be read: {reason}"), where=str(path)) from None


def _arrow_batches(path: Path) -> Iterator[Any]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        try:
            yield from pa.ipc.open_stream(source)
        except pa.ArrowInvalid:
            reader = pa.ipc.open_file(source)
            for i in range(reader.num_record_batches):
                yield reader.get_batch(i)


def _without_nulls(value: Any) -> Any:
    """A table gives every row every column; what a row did not have comes back as null."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _hub_rows(name: str) -> Iterator[tuple[str, Row]]:
    from datasets import load_dataset

    try:
        rows = load_dataset(name, split="train", streaming=True)
        for number, row in enumerate(rows, start=1):
            yield f"{name}: {number}", _without_nulls(dict(row))
    except BadInput:
        raise
    except Exception as error:  # the hub client has no common error type
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(
            tr(f"既不是文件，也无法从数据集站点读取：{reason}", f"neither a file nor a data set to be had: {reason}"),
            where=name,
            fix=tr("检查路径，或先下载到本地", "check the path, or download it first"),
        ) from None


class RowWriter:
    """Writes rows into one file of the kind that its name promises; use through `open_rows`."""

    def __init__(self, stream: IO[bytes], kind: str) -> None:
        self.stream, self.kind, self.count = stream, kind, 0
        self._table: Any = None
        self._batch: list[Row] = []
        self._columns: list[str] = []

    def write(self, row: Row) -> None:
        """Add one row.

        Raises:
            Unheld: the container has no place for a field.
        """
        if self.kind == "jsonl":
            self.stream.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        elif self.kind == "json":
            self.stream.write(b",\n" if self.count else b"[\n")
            self.stream.write(orjson.dumps(row, option=orjson.OPT_INDENT_2))
        elif self.kind in ("csv", "tsv"):
            self._write_cells(row)
        else:
            self._batch.append(row)
            if len(self._batch) >= 1024:
                self._flush_table()
        self.count += 1

    def _write_cells(self, row: Row) -> None:
        flat = {key: value for key, value in row.items() if not (key == "history" and not value)}
        nested = next((key for key, value in flat.items() if isinstance(value, dict | list)), None)
        if nested:
            raise Unheld(tr(f"CSV 里放不下的列表 “{nested}”", f'a list "{nested}", which CSV cannot hold'))
        text = io.StringIO()
        writer = csv.writer(text, delimiter="\t" if self.kind == "tsv" else ",", lineterminator="\n")
        if not self.count:
            self._columns = list(flat)
            writer.writerow(self._columns)
        writer.writerow([flat.get(name, "") for name in self._columns])
        self.stream.write(text.getvalue().encode("utf-8"))

    def _flush_table(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = [
            {**row, "meta": json.dumps(row["meta"], ensure_ascii=False)} if "meta" in row else row
            for row in self._batch
        ]
        if self._table is None:
            schema = table_schema(rows)
            self._table = (
                pq.ParquetWriter(self.stream, schema)
                if self.kind == "parquet"
                else pa.ipc.new_stream(self.stream, schema)
            )
        table = pa.Table.from_pylist(rows, schema=self._table.schema if self.kind == "parquet" else table_schema(rows))
        self._table.write_table(table)
        self._batch = []

    def close(self) -> None:
        """Write what is still held."""
        if self.kind == "json":
            self.stream.write(b"\n]\n" if self.count else b"[]\n")
        if self.kind in ("parquet", "arrow"):
            if self._batch or self._table is None:
                self._flush_table()
            self._table.close()


def table_schema(rows: list[Row]) -> Any:
    """The Arrow schema of our rows: the same for every batch, whichever optional fields it has."""
    import pyarrow as pa

    text = pa.string()
    first = rows[0] if rows else {"messages": []}
    tagged: Row = next((row["conversations"][0] for row in rows if row.get("conversations")), {})
    message = pa.list_(pa.struct(dict.fromkeys(tagged, text) if tagged else {"role": text, "content": text}))
    turn = pa.list_(pa.struct({"system": text, "input": text, "output": text}))
    types = {"messages": message, "conversations": message, "conversation": turn, "history": pa.list_(pa.list_(text))}
    types |= dict.fromkeys(("prompt", "completion"), message) | {"label": pa.bool_()}
    for key in ("chosen", "rejected"):
        value = first.get(key)
        if isinstance(value, list):
            types[key] = message
        elif isinstance(value, dict):
            types[key] = pa.struct(dict.fromkeys(value, text))
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["messages"]
    if "messages" in names:
        names += [name for name in ("meta", "rejected") if name not in names and "rejected_response" not in names]
    return pa.schema([(name, types.get(name, text)) for name in names])


@contextmanager
def open_rows(path: Path) -> Iterator[RowWriter]:
    """A writer for a file that takes its name only when all is written. `.gz` packs it.

    Raises:
        BadInput: the name promises no kind of file that we write, or it is a folder.
        Stopped: the disk is full.
    """
    kind = kind_of(path)
    if path.is_dir():
        raise BadInput(tr("是目录，应为文件名", "is a folder, expected a file name"), where=str(path))
    with atomic_open(path, "wb") as stream:
        if path.suffix == ".gz":
            with gzip.GzipFile(fileobj=stream, mode="wb", mtime=0) as packed:
                writer = RowWriter(packed, kind)  # type: ignore[arg-type]
                yield writer
                writer.close()
        else:
            writer = RowWriter(stream, kind)
            yield writer
            writer.close()
