"""Swap the identity in a data set: find spans, resolve them, apply them in one pass over the original text."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO, Any

from identity_kit.errors import BadInput, Stopped
from identity_kit.files import atomic_open
from identity_kit.formats.encoding import (
    SUFFIXES,
    check_file,
    detect_encoding,
    files_below,
    kind_of,
    text_lines,
)
from identity_kit.rename.fast import FastRewriter
from identity_kit.rename.match import apply, find
from identity_kit.rename.parallel import rename_ranges
from identity_kit.rename.report import Report
from identity_kit.rename.rewrite import Rewriter, check_values, packed, rewrite_csv, text_blocks
from identity_kit.rename.rules import Rules, Target, make_rules, slots_for
from identity_kit.ui import tr

# Bytes of a JSON file that is parsed before it is renamed; of a larger one, which does not fit the memory, only strings
# with names are looked into.
_CHECKED_JSON = 8 << 20


def rename_text(text: str, rules: Rules) -> str:
    """One text, renamed."""
    return apply(text, find(text, rules).edits)


def rename(
    source: Path,
    target: Path | None,
    rules: Rules,
    *,
    in_place: bool = False,
    dry_run: bool = False,
    processes: int = 0,
) -> Report:
    """Rename in a file or in every file of a folder.

    Args:
        target: the output file or folder; None with `in_place` or `dry_run`.
        in_place: replace the source, a copy of it kept as `NAME.bak`, or `NAME.bak.1`, … where that is taken; a file in
            which nothing changes is left alone.
        dry_run: write nothing.
        processes: how many share a large JSONL file; 0 for one a core, or one where the file is small.

    Raises:
        BadInput: the target is the source, a file is broken (with the line), nothing to read; nothing is written.
        Stopped: the disk is full; what was there before is as it was.
    """
    if source.is_dir():
        where = None if dry_run else source if in_place else target
        return _rename_folder(source, where, rules, in_place=in_place, processes=processes)
    return rename_file(source, target, rules, in_place=in_place, dry_run=dry_run, processes=processes)


def _rename_folder(source: Path, target: Path | None, rules: Rules, *, in_place: bool, processes: int) -> Report:
    """Rename into a hidden folder first: its files take their places when the last of them is done."""
    files = files_below(source)
    known = [path for path in files if path.name.removesuffix(".gz").endswith(SUFFIXES)]
    if not known:
        raise BadInput(tr("目录中没有数据文件", "no data files in the folder"), where=str(source))
    if target is not None and target.exists() and not target.is_dir():
        raise BadInput(tr("是文件，应为目录", "is a file, expected a folder"), where=str(target))
    if target is not None and not in_place and target.resolve().is_relative_to(source.resolve()):
        raise BadInput(
            tr("输出目录在输入目录之内", "the output folder lies inside the input folder"),
            where=str(target),
            fix=tr("换一个 -o，或用 --in-place", "choose another -o, or use --in-place"),
        )
    total = Report()
    written: list[Path] = []
    with _staging(target) as staged:
        for path in files:
            output = staged / path.relative_to(source) if staged else None
            # an empty file has no name in it: a journal of which nothing was written yet, for one
            if path in known and path.name != "dataset_info.json" and path.stat().st_size:
                report = rename_file(path, output, rules, dry_run=staged is None, processes=processes)
                total.add_file(report)
                if in_place and _stays_as_it_is(path, kind_of(path), report):
                    continue
            elif output is not None and not in_place:
                output.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, output)
            if output is not None and output.exists():
                written.append(path.relative_to(source))
        for name in written:
            assert target is not None and staged is not None
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if in_place:
                _keep_copy(place, total)
            (staged / name).replace(place)
    return total


@contextmanager
def _staging(target: Path | None) -> Iterator[Path | None]:
    """A hidden folder in the target, or beside it, that is gone afterwards; None where nothing is to be written."""
    if target is None:
        yield None
        return
    try:
        base = target if target.is_dir() else target.parent
        base.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=".part", dir=base) as name:
            yield Path(name)
    except OSError as error:
        raise Stopped(
            tr(f"写不了文件：{error.strerror}", f"cannot write the file: {error.strerror}"),
            where=str(error.filename or target),
            fix=tr("腾出空间或换个 -o，再运行同一条命令", "free some space or choose another -o, then run it again"),
        ) from error


def rename_file(
    source: Path,
    target: Path | None,
    rules: Rules,
    *,
    in_place: bool = False,
    dry_run: bool = False,
    processes: int = 0,
) -> Report:
    """Rename in one file; see `rename`.

    Returns:
        Counts and examples, their lines those of the source.
    """
    check_file(source)
    kind = kind_of(source)
    if target is not None and target.exists() and target.samefile(source):
        raise BadInput(
            tr("输出就是输入", "the output is the input"),
            where=str(target),
            fix=tr("换一个 -o，或用 --in-place（会留备份）", "choose another -o, or use --in-place (keeps a copy)"),
        )
    if target is not None and target.is_dir():
        target = target / source.name
    if target is not None and kind_of(target) != kind:
        raise BadInput(
            tr(f"输出的类型与输入不同（{kind}）", f"the output is another kind of file than the input ({kind})"),
            where=str(target),
            fix=tr("先用 idkit convert 转换", "convert it first with: idkit convert"),
        )
    destination = None if dry_run else source if in_place else target
    rewriter = _rewriter(source, kind, rules)
    kept = Report()
    with suppress(_Untouched), _output(destination, kept if in_place else None) as out:
        if kind in ("parquet", "arrow"):
            from identity_kit.rename.tables import rewrite_table

            rewriter.report = rewrite_table(source, kind, rules, out)
        elif out is not None and source.suffix == ".gz":
            with packed(out) as stream:
                _rename_text(source, kind, rewriter, stream)  # type: ignore[arg-type]
        else:
            _rename_text(source, kind, rewriter, out, destination, processes)
        if in_place and _stays_as_it_is(source, kind, rewriter.report):
            raise _Untouched
    report = rewriter.report
    report.remarks += kept.remarks
    report.files = 1
    report.locate(str(source))
    return report


def _stays_as_it_is(source: Path, kind: str, report: Report) -> bool:
    """Whether nothing in a file is changed: no name, and not its encoding, which becomes UTF-8."""
    return not report.total and (kind in ("parquet", "arrow") or detect_encoding(source).name == "utf-8")


class _Untouched(Exception):
    """A file in which nothing is to be changed: it stays as it is, and needs no copy."""


@contextmanager
def _output(destination: Path | None, kept: Report | None) -> Iterator[IO[bytes] | None]:
    """The stream to write to. With `kept`, which is told of it, what is there is copied once all has been written."""
    if destination is None:
        yield None
        return
    with atomic_open(destination, "wb") as out:
        yield out
        if kept is not None:
            _keep_copy(destination, kept)


def _keep_copy(path: Path, report: Report) -> None:
    """A copy of a file under the first of NAME.bak, NAME.bak.1, … that is free; the report is told of a numbered one."""
    for number in count():
        copy = path.with_name(f"{path.name}.bak{f'.{number}' if number else ''}")
        try:
            copy.open("xb").close()
        except FileExistsError:
            continue
        break
    try:
        shutil.copy2(path, copy)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    if number:
        report.remarks.append(tr(f"原文件留在 {copy}", f"the file as it was is kept as {copy}"))


def _rewriter(source: Path, kind: str, rules: Rules) -> Rewriter:
    if kind == "jsonl":
        return FastRewriter(rules, str(source), rows=True)
    return Rewriter(rules, str(source), rows=False)


def _rename_text(
    source: Path,
    kind: str,
    rewriter: Rewriter,
    out: IO[bytes] | None,
    destination: Path | None = None,
    processes: int = 1,
) -> None:
    """Rename the text of a file into `out`, which keeps a UTF-8 mark; other encodings become UTF-8."""
    encoding = detect_encoding(source)
    if out is not None and encoding.name == "utf-8":
        out.write(encoding.mark)
    if kind == "json" and source.stat().st_size * (8 if source.suffix == ".gz" else 1) <= _CHECKED_JSON:
        check_values("".join(line for _, line in text_lines(source, encoding)), str(source))
    if kind in ("csv", "tsv"):
        lines = (line for _, line in text_lines(source, encoding))
        rewrite_csv(rewriter, lines, out, "\t" if kind == "tsv" else ",")
    elif encoding.plain and source.suffix != ".gz":
        rename_ranges(source, rewriter, out, destination, processes)
    else:
        for block in text_blocks(source, encoding):
            new = rewriter.block(block)
            if out is not None:
                out.write(new)
    if not encoding.plain:
        remark = tr(f"{source}：编码是 {encoding}", f"{source}: encoded as {encoding}")
        if encoding.name != "utf-8":
            remark += tr("，输出为 UTF-8", ", written as UTF-8")
        rewriter.report.remarks.append(remark)


def rules_from(pairs: Sequence[tuple[str, str, str | None]], persona: Any = None, **options: Any) -> Rules:
    """Rules from given pairs, with a persona's name, owner and developer for the slots of templates."""
    slots = {}
    if persona is not None:
        name, owner, developer = (
            Target(part.get("zh"), part.get("en")) for part in (persona.name, persona.owner, persona.developer)
        )
        slots = slots_for(name, owner, developer)
    return make_rules(pairs, slots=slots, **options)


__all__ = ["Report", "Rules", "Target", "make_rules", "rename", "rename_file", "rename_text", "rules_from", "slots_for"]
