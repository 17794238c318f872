"""`idkit convert`: one data format to another."""

from __future__ import annotations

import argparse
from pathlib import Path

from identity_kit.cli.options import add_hub_argument
from identity_kit.ui import say, tr

SUMMARY = ("在各种数据格式之间转换", "convert between data formats")
EXAMPLES = (
    "idkit convert data.xtuner.jsonl -o messages.jsonl --to messages",
    "idkit convert DIR -o lf/ --to llamafactory",
    "idkit convert DIR -o pairs.jsonl --to dpo --rejected-by embedded:qwen2.5-coder-0.5b",
    "idkit convert DIR -o pairs.jsonl --to dpo --rejected base_answers.jsonl",
)
_FORMATS = ("messages", "xtuner", "alpaca", "sharegpt", "swift", "openai", "llamafactory", "dpo", "kto")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """IN, -o, --to, --from and how strict to be."""
    parser.add_argument(
        "source",
        metavar="IN",
        help=tr("文件、目录，或数据集站点的 名称/名称", "a file, a folder, or a data set's hub id OWNER/NAME"),
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Path, required=True, help=tr("输出文件或目录", "where to write")
    )
    parser.add_argument("--to", choices=_FORMATS, required=True, help=tr("目标格式", "the format to write"))
    parser.add_argument(
        "--from", dest="format", choices=_FORMATS, help=tr("输入格式（默认自动识别）", "the format of IN (found)")
    )
    parser.add_argument(
        "--style",
        choices=("from", "role", "old", "new"),
        help=tr("sharegpt 的标签 from|role；swift 的 old|new", "sharegpt's tags from|role; swift's old|new"),
    )
    others = parser.add_mutually_exclusive_group()
    others.add_argument(
        "--rejected-by",
        metavar="MODEL",
        help=tr(
            "让未调的模型回答同样的问题，作为 dpo/kto 的 rejected；存在 OUT.rejected.jsonl，中断后接着问",
            "let the untuned model answer the same questions, to be the rejected ones; kept in OUT.rejected.jsonl",
        ),
    )
    others.add_argument(
        "--rejected",
        metavar="FILE",
        type=Path,
        help=tr(
            "同样问题的另一份回答，作为 dpo/kto 的 rejected",
            "other answers to the same questions, to be the rejected ones",
        ),
    )
    add_hub_argument(parser)
    parser.add_argument(
        "--lossy", action="store_true", help=tr("略去放不下的内容并计数", "leave out what has no place, and count it")
    )
    parser.add_argument("--json", action="store_true", help=tr("在标准输出给出 JSON 结果", "print the result as JSON"))


def run(args: argparse.Namespace) -> int | None:
    """Convert, and say what was left out."""
    import json

    from identity_kit.formats import convert

    rejected = args.rejected
    if args.rejected_by:
        rejected = _ask(args)
    result = convert(
        args.source,
        args.output,
        args.to,
        source_format=args.format,
        style=args.style,
        rejected=rejected,
        lossy=args.lossy,
    )
    if args.json:
        print(
            json.dumps(
                {
                    "path": str(result.path),
                    "records": result.records,
                    "rows": result.rows,
                    "dropped": dict(result.dropped),
                    "left_out": dict(result.left_out),
                },
                ensure_ascii=False,
            )
        )
        return None
    say(tr(f"{result.records} 条记录 → {result.path}", f"{result.records} records → {result.path}"))
    if result.left_out:
        names = ", ".join(f"{name} {count}" for name, count in sorted(result.left_out.items()))
        say(
            tr(
                f"来源信息在 {args.to} 里没有位置，已略去：{names}",
                f"provenance has no place in {args.to}, left out: {names}",
            )
        )
    for what, count in result.dropped.most_common():
        say(tr(f"略去 {count} 处：{what}", f"left out {count}: {what}"), style="yellow")
    return None


def _ask(args: argparse.Namespace) -> Path:
    from identity_kit.errors import BadInput
    from identity_kit.generate.rejected import model_asker, write_rejected

    if args.to not in ("dpo", "kto", "swift", "llamafactory", "messages"):
        raise BadInput(
            tr(f"{args.to} 放不下 rejected 回答", f"{args.to} has no place for rejected answers"),
            where="--rejected-by",
            fix="--to dpo",
        )
    path = args.output.with_name(args.output.name + ".rejected.jsonl")
    count = write_rejected(args.source, path, model_asker(args.rejected_by, hub=args.hub), format=args.format)
    say(tr(f"{count} 个回答 → {path}", f"{count} answers → {path}"))
    return path
