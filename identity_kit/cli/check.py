"""`idkit check`: is a data set fit to train on?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from identity_kit.cli.options import add_persona_arguments, persona_from
from identity_kit.errors import WANTING, BadInput
from identity_kit.ui import say, tr

if TYPE_CHECKING:
    from identity_kit.check import Schedule

SUMMARY = ("检查数据能不能拿来训练", "tell whether a data set is fit to train on")
EXAMPLES = (
    "idkit check data.jsonl --owner 文心大佬",
    "idkit check DIR --persona persona.yaml --recipe recipe.yaml --html audit.html",
    "idkit check data.jsonl --owner 文心大佬 --fix clean.jsonl",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """IN, the persona, how it will be trained on, and what to write."""
    parser.add_argument("source", metavar="IN", help=tr("文件、目录或 generate 的输出目录", "a file or folder"))
    parser.add_argument("--format", metavar="FORMAT", help=tr("输入格式（默认自动识别）", "the format of IN (found)"))
    parser.add_argument(
        "--tokenizer", metavar="MODEL", help=tr("用它的分词器数 token", "count tokens with this model's tokenizer")
    )
    parser.add_argument(
        "--probes",
        metavar="FILE",
        action="append",
        type=Path,
        help=tr("评测题（默认自带的）", "evaluation questions (the shipped ones)"),
    )
    parser.add_argument(
        "--recipe",
        metavar="NAME|F.yaml",
        help=tr("用于预测的训练配方（默认 cpu-0.5b）", "the recipe that it will be trained with (cpu-0.5b)"),
    )
    parser.add_argument("--epochs", type=float, help=tr("轮数", "passes over the data"))
    parser.add_argument("--batch-size", type=int, help=tr("每步每卡的行数", "rows a step and device"))
    parser.add_argument(
        "--html", metavar="F.html", type=Path, help=tr("写一页带直方图的报告", "write a page with histograms")
    )
    parser.add_argument("--fix", metavar="OUT", type=Path, help=tr("写一份清理过的副本", "write a cleaned copy"))
    parser.add_argument("--json", action="store_true", help=tr("在标准输出给出 JSON", "print the audit as JSON"))
    add_persona_arguments(parser)


def run(args: argparse.Namespace) -> int | None:
    """Audit, show, and write what was asked for; 1 when the data are not fit to train on."""
    import json

    from identity_kit.check import check
    from identity_kit.check.probes import probe_questions
    from identity_kit.check.show import show_audit

    persona = persona_from(args) if args.owner or args.persona else None
    counter = None
    if args.tokenizer:
        from identity_kit.check.tokens import token_counter

        counter = token_counter(args.tokenizer)
    audit = check(
        args.source,
        persona,
        schedule=_schedule(args),
        count_tokens=counter,
        probes=probe_questions(args.probes),
        format=args.format,
    )
    if args.json:
        print(json.dumps(audit.as_json(), ensure_ascii=False))
    show_audit(audit)
    if args.html:
        from identity_kit.check.html import write_html

        write_html(args.html, audit)
        say(tr(f"报告：{args.html}", f"report: {args.html}"))
    if args.fix:
        from identity_kit.check.fix import fix

        fixed = fix(args.source, args.fix, audit)
        reasons = ", ".join(f"{reason} {count}" for reason, count in fixed.dropped.most_common())
        say(
            tr(
                f"留下 {fixed.kept} 行 → {args.fix}；去掉 {sum(fixed.dropped.values())} 行：{reasons or '无'}",
                f"kept {fixed.kept} rows → {args.fix}; dropped {sum(fixed.dropped.values())}: {reasons or 'none'}",
            )
        )
    return WANTING if audit.verdict == "fail" else None


def _schedule(args: argparse.Namespace) -> Schedule:
    from dataclasses import replace

    from identity_kit.pipeline import schedule_of
    from identity_kit.train.recipe import DEFAULT_RECIPE, load_recipe

    given = {key: value for key in ("epochs", "batch_size") if (value := getattr(args, key)) is not None}
    for key, value in given.items():
        if not 0 < value < float("inf"):
            option = f"--{key.replace('_', '-')}"
            raise BadInput(tr(f"{option} 应大于 0，给的是 {value:g}", f"{option} should be above 0, not {value:g}"))
    return replace(schedule_of(load_recipe(args.recipe or DEFAULT_RECIPE)), **given)
