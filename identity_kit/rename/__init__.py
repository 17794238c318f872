"""Swap the identity in a data set: find spans, resolve them, apply them in one pass over the original text."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

from identity_kit.errors import BadInput
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
        in_place: replace the source, a copy of it kept as `NAME.bak`.
        dry_run: write nothing.
        processes: how many share a large JSONL file; 0 for one a core, or one where the file is small.

    Raises:
        BadInput: the target is the source, a file is broken (with the line), nothing to read.
        Stopped: the disk is full; what was there before is as it was.
    """
    if source.is_dir():
        return _rename_folder(source, target, rules, in_place=in_place, dry_run=dry_run, processes=processes)
    return rename_file(source, target, rules, in_place=in_place, dry_run=dry_run, processes=processes)


def _rename_folder(source: Path, target: Path | None, rules: Rules, **options: Any) -> Report:
    files = files_below(source)
    known = [path for path in files if path.name.removesuffix(".gz").endswith(SUFFIXES)]
    if not known:
        raise BadInput(tr("目录中没有数据文件", "no data files in the folder"), where=str(source))
    if target is not None and target.resolve().is_relative_to(source.resolve()):
        raise BadInput(
            tr("输出目录在输入目录之内", "the output folder lies inside the input folder"),
            where=str(target),
            fix=tr("换一个 -o，或用 --in-place", "choose another -o, or use --in-place"),
        )
    total = Report()
    for path in files:
        output = target / path.relative_to(source) if target else None
        if path not in known or path.name == "dataset_info.json":
            if output is not None and not options["dry_run"]:
                output.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, output)
            continue
        total.add_file(rename_file(path, output, rules, **options))
    return total


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
    with _output(destination, in_place) as out:
        if kind in ("parquet", "arrow"):
            from identity_kit.rename.tables import rewrite_table

            rewriter.report = rewrite_table(source, kind, rules, out)
        elif out is not None and source.suffix == ".gz":
            with packed(out) as stream:
                _rename_text(source, kind, rewriter, stream)  # type: ignore[arg-type]
        else:
            _rename_text(source, kind, rewriter, out, destination, processes)
    report = rewriter.report
    report.files = 1
    report.locate(str(source))
    return report


def _output(destination: Path | None, in_place: bool) -> Any:
    if destination is None:
        return nullcontext(None)
    if in_place:
        shutil.copy2(destination, destination.with_name(destination.name + ".bak"))
    return atomic_open(destination, "wb")


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
