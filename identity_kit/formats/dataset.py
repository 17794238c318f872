"""Detect, read, write and convert data sets; the formats themselves are the modules beside this one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from identity_kit.conversation import Conversation
from identity_kit.errors import BadInput
from identity_kit.formats import FORMATS, alpaca, llamafactory, messages, preference, sharegpt, swift, xtuner
from identity_kit.formats import pairs as pairing
from identity_kit.formats.containers import iter_rows, open_rows
from identity_kit.formats.encoding import kind_of
from identity_kit.formats.rows import Row, Unheld, message_fields, own_columns
from identity_kit.ui import tr

# Ways in which one format is written; the first is the default.
STYLES = {"sharegpt": ("from", "role"), "swift": ("old", "new")}


def _read_openai(row: Row, where: str) -> Conversation:
    """Messages, or a prompt and its completion."""
    return (preference.read_completion if "completion" in row else messages.read_row)(row, where)


# Keys of one message that a format documents beside role and text, and the list that they stand in.
_MESSAGE_KEYS = {
    ("openai", None): ("messages", ("name", "weight")),
    ("swift", "new"): ("messages", ("loss",)),
    ("xtuner", None): ("conversation", ("output_with_loss",)),
}

# In the order in which a row is tried; the first that fits names the format.
_MATCHES: tuple[tuple[str, Callable[[Row], bool]], ...] = (
    ("dpo", preference.matches_dpo),
    ("kto", preference.matches_kto),
    ("openai", preference.matches_completion),
    ("messages", messages.matches),
    ("xtuner", xtuner.matches),
    ("sharegpt", sharegpt.matches),
    ("alpaca", alpaca.matches),
    ("swift", swift.matches),
)
_READERS: dict[str, Callable[[Row, str], Conversation]] = {
    "messages": messages.read_row,
    "openai": _read_openai,
    "xtuner": xtuner.read_row,
    "alpaca": alpaca.read_row,
    "sharegpt": sharegpt.read_row,
    "swift": swift.read_row,
    "dpo": preference.read_dpo,
}
_WRITERS: dict[str, Callable[[Conversation], Row | list[Row]]] = {
    "messages": messages.write_row,
    "openai": messages.write_openai,
    "xtuner": xtuner.write_row,
    "alpaca": alpaca.write_row,
    "sharegpt": sharegpt.write_row,
    "swift": swift.write_row,
    "llamafactory": llamafactory.write_row,
    "dpo": preference.write_dpo,
    "kto": preference.write_kto,
}


@dataclass
class Written:
    """What `write` did: where, how many records and rows, what had no place (reason: count), provenance left out."""

    path: Path
    records: int = 0
    rows: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


def detect_row(row: Row) -> str | None:
    """The format of one row, or None."""
    return next((name for name, fits in _MATCHES if fits(row)), None)


def detect(path: Path | str) -> str:
    """The format of a file, folder or hub data set, from its first row.

    Raises:
        BadInput: no format fits; says which fields the row has.
    """
    if llamafactory.is_folder(Path(path)):
        return "llamafactory"
    where, row = next(iter_rows(path), ("", None))
    if row is None:
        raise BadInput(tr("没有数据行", "holds no rows"), where=str(path))
    found = detect_row(row)
    if found is None:
        raise _unknown(row, where)
    return found


def _unknown(row: Row, where: str) -> BadInput:
    keys = ", ".join(map(str, row)) or tr("（没有）", "(none)")
    return BadInput(
        tr(f"认不出格式，这一行的字段：{keys}", f"no known format has these fields: {keys}"),
        where=where,
        fix=tr(f"用 --from 指定：{'、'.join(FORMATS)}", f"name it with --from: {', '.join(FORMATS)}"),
    )


def check_format(name: str) -> None:
    """Refuse a name that is no format.

    Raises:
        BadInput: with the known names.
    """
    if name not in FORMATS:
        raise BadInput(
            tr(f"没有 “{name}” 这种格式", f'no format "{name}"'), fix=tr("可用：", "use ") + ", ".join(FORMATS)
        )


def read(path: Path | str, format: str | None = None) -> Iterator[Conversation]:
    """The records of a file, a folder or a hub data set, one at a time.

    Args:
        format: one of FORMATS; found from the first row when not given.

    Raises:
        BadInput: a row that is not in the format, with file and line; mixed formats are named.
    """
    for _, conversation in read_placed(path, format):
        yield conversation


def read_placed(path: Path | str, format: str | None = None) -> Iterator[tuple[str, Conversation]]:
    """As `read`, each record with its place, `file:line`."""
    if format:
        check_format(format)
    if _is_llamafactory(path, format):
        for where, row, described in llamafactory.read_folder(Path(path)):
            yield where, llamafactory.read_row(row, where, described)
        return
    rows = iter_rows(path)
    head = list(islice(rows, 1))
    if not head:
        raise BadInput(tr("没有数据行", "holds no rows"), where=str(path))
    name = format or detect_row(head[0][1])
    if name is None:
        raise _unknown(head[0][1], head[0][0])
    placed = _checked(_chain(head, rows), name, given=format is not None)
    if name == "kto":
        for conversation in preference.read_kto(placed):
            yield str(path), conversation
        return
    reader = _READERS[name]
    for where, row in placed:
        yield where, reader(row, where)


def _is_llamafactory(path: Path | str, format: str | None) -> bool:
    """Whether to read a folder by its list of data sets.

    Raises:
        BadInput: it is to be read so and has no such list.
    """
    listed = llamafactory.is_folder(Path(path))
    if format == "llamafactory" and not listed:
        raise BadInput(
            tr(f"目录里应有 {llamafactory.INFO}", f"expected a folder with {llamafactory.INFO}"), where=str(path)
        )
    return listed and format in (None, "llamafactory")


def raw_rows(
    path: Path | str, format: str | None = None, remarks: list[str] | None = None
) -> Iterator[tuple[str, Row | BadInput, Row | None]]:
    """The rows that `read_tolerant` makes records of, in its order, as the files have them.

    Returns:
        For each its place, the row or why it is broken, and the description that LLaMA-Factory's list has of its file.

    Raises:
        BadInput: the file as a whole cannot be read.
    """
    if _is_llamafactory(path, format):
        yield from llamafactory.read_folder(Path(path), tolerant=True, remarks=remarks)
        return
    for where, row in iter_rows(path, tolerant=True, remarks=remarks):
        yield where, row, None


def read_tolerant(
    path: Path | str, format: str | None = None, remarks: list[str] | None = None
) -> Iterator[tuple[str, Conversation | BadInput]]:
    """As `read_placed`, but a row that cannot be read is given as its error, and reading goes on.

    Args:
        remarks: what there is to say about the file itself, its encoding for one, is added here.

    Raises:
        BadInput: the file as a whole cannot be read.
    """
    if format:
        check_format(format)
    name = format
    for where, row, described in raw_rows(path, format, remarks):
        if isinstance(row, BadInput):
            yield where, row
            continue
        if described is not None:
            try:
                yield where, llamafactory.read_row(row, where, described)
            except BadInput as error:
                yield where, error
            continue
        name = name or detect_row(row)
        found = detect_row(row) or name
        if found is None:
            yield where, _unknown(row, where)
            continue
        try:
            if "kto" in (found, name):
                yield where, next(preference.read_kto([(where, row)]))
            else:
                yield where, _READERS[name if detect_row(row) is None and name else found](row, where)
        except BadInput as error:
            yield where, error


def _chain(head: list[tuple[str, Row]], rows: Iterator[tuple[str, Row]]) -> Iterator[tuple[str, Row]]:
    yield from head
    yield from rows


def _checked(rows: Iterable[tuple[str, Row]], name: str, *, given: bool) -> Iterator[tuple[str, Row]]:
    """The rows, refusing one that is in another format than the first."""
    for where, row in rows:
        found = detect_row(row)
        same = found == name or {found, name} <= {"messages", "openai"} or {found, name} <= {"messages", "swift"}
        if not same and not (given and found is None):
            other = found or ", ".join(map(str, row))
            raise BadInput(
                tr(f"这一行是 {other}，文件开头是 {name}", f"this row is {other}, the file began as {name}"),
                where=where,
                fix=tr("把不同格式分到不同文件", "put different formats into different files"),
            )
        yield where, row


def write(
    path: Path,
    rows: Iterable[Conversation],
    format: str,
    *,
    style: str | None = None,
    lossy: bool = False,
) -> Written:
    """Write records in a format, atomically.

    Provenance of ours (facet, kind, seed, …) has a place in `messages` only; elsewhere it is left out and counted.

    Args:
        path: the file; its suffix names the container. With `llamafactory` a folder or a file in one.
        style: how the format is written, one of STYLES[format].
        lossy: leave out what has no place in the format, and count it, rather than refuse.

    Raises:
        BadInput: the format has no place for something in a record (without `lossy`), or for any record at all; or an
            unknown format or style.
        Stopped: the disk is full.
    """
    check_format(format)
    if style is not None and style not in STYLES.get(format, ()):
        known = ", ".join(STYLES.get(format, ())) or tr("（没有）", "(none)")
        raise BadInput(
            tr(f"{format} 没有 “{style}” 这种写法", f'{format} has no style "{style}"'),
            fix=tr("可用：", "use: ") + known,
        )
    target, name = llamafactory.data_file(path) if format == "llamafactory" else (path, "")
    result = Written(target)
    pairs: bool | None = None
    with open_rows(target) as out:
        for number, conversation in enumerate(rows, start=1):
            try:
                if format == "llamafactory":
                    paired = conversation.rejected is not None
                    if pairs is not None and paired != pairs:
                        raise Unheld(tr("有的行有 rejected，有的没有", "pairs among rows that are none"))
                    pairs = paired
                for row in _to_rows(conversation, format, style, result, lossy=lossy):
                    out.write(row)
                result.records += 1
            except Unheld as problem:
                if not lossy:
                    raise _refused(number, format, problem.what) from None
                result.dropped[problem.what] += 1
        result.rows = out.count
        if result.dropped and not result.records:
            reasons = ", ".join(f"{what} {count}" for what, count in result.dropped.most_common(3))
            raise BadInput(
                tr(
                    f"没有一条记录能写成 {format}（略去：{reasons}）",
                    f"no record can be written as {format} (left out: {reasons})",
                ),
                where=str(path),
                fix=tr("加上 --rejected-by 或 --rejected", "give --rejected-by or --rejected")
                if format == "dpo"
                else "",
            )
    if format == "llamafactory":
        llamafactory.register(target.parent, name, llamafactory.entry(target.name, pairs=bool(pairs)))
    return result


def _refused(number: int, format: str, what: str) -> BadInput:
    return BadInput(
        tr(f"第 {number} 条记录有{what}，{format} 放不下", f"record {number} has {what}, which {format} cannot hold"),
        fix=tr("加 --lossy 略去并计数", "add --lossy to leave it out and count it"),
    )


def _to_rows(conversation: Conversation, format: str, style: str | None, result: Written, *, lossy: bool) -> list[Row]:
    """The record's rows in the format; what was left out is counted in `result`.

    Raises:
        Unheld: something has no place.
    """
    if format != "messages":
        for column in own_columns(conversation):
            what = tr(f"字段 “{column}”", f'a field "{column}"')
            if not lossy:
                raise Unheld(what)
            result.dropped[what] += 1
        provenance = conversation.meta.model_dump(exclude_none=True, include=set(type(conversation.meta).model_fields))
        result.left_out.update(provenance.keys())
    if lossy and format in ("xtuner", "alpaca", "sharegpt", "openai") and conversation.rejected is not None:
        result.dropped[tr("rejected 回答", "a rejected answer")] += 1
        conversation = conversation.model_copy(update={"rejected": None})
    if format == "sharegpt":
        rows: Row | list[Row] = sharegpt.write_row(conversation, style or "from")
    elif format == "swift":
        rows = swift.write_row(conversation, style or "old")
    else:
        rows = _WRITERS[format](conversation)
    rows = rows if isinstance(rows, list) else [rows]
    if format != "messages":
        _put_back(conversation, rows[0], _MESSAGE_KEYS.get((format, style)), result, lossy=lossy)
    return rows


def _put_back(
    conversation: Conversation, row: Row, known: tuple[str, tuple[str, ...]] | None, result: Written, *, lossy: bool
) -> None:
    """Give the messages of a row what they came with, where it has a place; what has none is counted.

    Raises:
        Unheld: something has no place, without `lossy`.
    """
    if kind_of(result.path) not in ("json", "jsonl"):  # the columns of a table are the same for every row
        known = None
    for (name, index, key), value in message_fields(conversation).items():
        if known and name == known[0] and key in known[1] and index < len(row[name]):
            row[name][index][key] = value
            continue
        what = tr(f"消息里的字段 “{name}.{key}”", f'a field "{name}.{key}" of a message')
        if not lossy:
            raise Unheld(what)
        result.dropped[what] += 1


def convert(
    source: Path | str,
    target: Path,
    format: str,
    *,
    source_format: str | None = None,
    style: str | None = None,
    rejected: Path | None = None,
    lossy: bool = False,
) -> Written:
    """Read one format and write another.

    Args:
        rejected: a data set with other answers to the same questions; they become the rejected answers of pairs, and
            rows without one are left out and counted.

    Raises:
        BadInput: as `read` and `write`; the target is the source; or no question has another answer.
    """
    if Path(source).exists() and target.exists() and Path(source).samefile(target):
        raise BadInput(
            tr("输出就是输入", "the output is the input"), where=str(target), fix=tr("换一个 -o", "choose another -o")
        )
    rows: Iterator[Conversation] = read(source, source_format)
    counts: Counter[str] = Counter()
    if rejected is not None:
        others = pairing.answers_by_prompt(read(rejected))
        rows = _all_paired(pairing.pair(rows, others, counts), counts, rejected)
    result = write(target, rows, format, style=style, lossy=lossy)
    for key, zh, en in (
        ("no_other", "没有另一份回答", "no other answer"),
        ("same", "两份回答相同", "the same answer twice"),
    ):
        if counts[key]:
            result.dropped[tr(f"行：{zh}", f"rows: {en}")] += counts[key]
    return result


def _all_paired(rows: Iterator[Conversation], counts: Counter[str], path: Path) -> Iterator[Conversation]:
    yield from rows
    pairing.require_pairs(counts, path)
