"""Rename in Parquet and Arrow files, batch by batch, with the schema as it was."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

from identity_kit.errors import BadInput
from identity_kit.rename.cells import json_findings, left_alone
from identity_kit.rename.match import Findings, Note, apply, find
from identity_kit.rename.report import Report
from identity_kit.rename.rules import Rules
from identity_kit.ui import tr


def rewrite_table(source: Path, kind: str, rules: Rules, out: IO[bytes] | None) -> Report:
    """Rename in the text columns of a table, nested ones included; rows count as lines.

    Raises:
        BadInput: the file is not such a table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    report = Report()
    try:
        if kind == "parquet":
            file = pq.ParquetFile(source)
            schema, batches = file.schema_arrow, file.iter_batches(batch_size=1024)
            writer = pq.ParquetWriter(out, schema) if out is not None else None
        else:
            with source.open("rb") as head:
                packed = head.read(6) == b"ARROW1"
            reader = pa.ipc.open_file(source) if packed else pa.ipc.open_stream(source)
            schema = reader.schema
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches)) if packed else iter(reader)
            new = pa.ipc.new_file if packed else pa.ipc.new_stream
            writer = new(out, schema) if out is not None else None
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(tr(f"读不了：{reason}", f"cannot be read: {reason}"), where=str(source)) from None
    for batch in batches:
        rows = []
        for row in batch.to_pylist():
            report.lines += 1
            before = report.total
            rows.append({name: _value(value, name, rules, report) for name, value in row.items()})
            if report.total > before:
                report.changed_lines += 1
                report.show(report.lines, str(row), str(rows[-1]))
        if writer is not None:
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
    if writer is not None:
        writer.close()
    return report


def _value(value: Any, field: str, rules: Rules, report: Report) -> Any:
    if isinstance(value, str):
        return _text(value, field, rules, report)
    if isinstance(value, dict):
        return {key: _value(item, key, rules, report) for key, item in value.items()}
    if isinstance(value, list):
        return [_value(item, field, rules, report) for item in value]
    return value


def _text(text: str, field: str, rules: Rules, report: Report) -> str:
    if text[:1] in ("{", "[") and text[-1:] in ("}", "]"):
        parts = list(json_findings(f"[{_quoted(text)}]", rules, f"row {report.lines}"))
        if any(part.field for part in parts):
            import json

            for part in parts:
                report.note(f"{field}.{part.field}", part.findings, report.lines)
            edits = [edit for part in parts for edit in part.findings.edits]
            changed: str = json.loads(apply(f"[{_quoted(text)}]", edits))[0]
            return changed
    found = find(text, rules)
    if left_alone(field):
        found = Findings([], [Note(e.start, e.end, "field", text[e.start : e.end]) for e in found.edits], [])
    report.note(field, found, report.lines)
    return apply(text, found.edits)


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)
