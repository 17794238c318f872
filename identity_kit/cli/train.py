"""`idkit train`: tune a model on conversations."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from identity_kit.cli.options import add_hub_argument, add_persona_arguments, add_start_argument, persona_from
from identity_kit.ui import tr

if TYPE_CHECKING:
    from identity_kit.train.recipe import Recipe
    from identity_kit.train.watch import Watch

SUMMARY = (
    "训练：在对话数据上微调模型（LoRA、QLoRA、全量、DPO）",
    "tune a model on conversations (LoRA, QLoRA, full, DPO)",
)
EXAMPLES = (
    "idkit train --data RUN/data --model embedded:qwen2.5-coder-0.5b -o RUN",
    "idkit train --data rows.jsonl --model ./Qwen3-4B -o RUN --recipe qwen3-4b-8gb --set rank=32 --set epochs=3",
    "idkit train --data rows.jsonl --model ./model -o RUN --dry-run",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        metavar="IN",
        type=Path,
        required=True,
        help=tr("JSONL 文件或 generate 的目录", "a JSONL file or a generate DIR"),
    )
    parser.add_argument("--model", metavar="MODEL", required=True, help=tr("基座模型", "the base model"))
    parser.add_argument("-o", "--out", metavar="RUN", type=Path, required=True, help=tr("运行目录", "the run's folder"))
    parser.add_argument(
        "--recipe",
        metavar="R",
        default="cpu-0.5b",
        help=tr("配方名或 YAML 文件（默认 cpu-0.5b）", "a recipe's name or YAML file"),
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help=tr("改配方的一个键，可重复", "change one key of the recipe; may be repeated"),
    )
    parser.add_argument(
        "--resume", action="store_true", help=tr("从最新的检查点继续", "go on from the newest checkpoint")
    )
    add_hub_argument(parser)
    add_start_argument(parser, default="none")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help=tr("只算计划：行数、步数、内存、时间", "only plan: rows, steps, memory, time"),
    )
    parser.add_argument(
        "--track",
        action="append",
        default=[],
        choices=("tensorboard", "wandb", "swanlab", "mlflow"),
        help=tr("同时记录到实验跟踪工具，可重复", "also log to an experiment tracker; may be repeated"),
    )
    parser.add_argument(
        "--stop-when",
        choices=("identity",),
        help=tr(
            "身份记牢就停（需要 --owner 或 --persona；用开发集探针）",
            "stop once the identity holds on development probes (needs --owner or --persona)",
        ),
    )
    add_persona_arguments(parser)
    parser.add_argument("--json", action="store_true", help=tr("结果以 JSON 输出", "print the result as JSON"))


def run(args: argparse.Namespace) -> int | None:
    from dataclasses import asdict

    from identity_kit.blank import find_start
    from identity_kit.models.resolve import hf_folder
    from identity_kit.train import load_recipe, train

    recipe = load_recipe(args.recipe, args.overrides)
    model = hf_folder(args.model, hub=args.hub)
    if args.dry_run:
        return _dry_run(args, model, recipe)
    result = train(
        args.data,
        model,
        args.out,
        recipe,
        resume=args.resume,
        start=find_start(args.start, args.model, recipe),
        watch=_watch(args),
        trackers=args.track,
    )
    if os.environ.get("RANK", "0") != "0":  # of the processes that train together, one speaks
        return None
    if args.json:
        print(json.dumps({**asdict(result), "adapter": str(result.adapter)}, ensure_ascii=False))
    else:
        print(result.adapter)
    return None


def _dry_run(args: argparse.Namespace, model: Path, recipe: Recipe) -> int:
    """Print the plan; 1 if it does not fit this machine."""
    from dataclasses import asdict

    from identity_kit.errors import DONE, WANTING
    from identity_kit.train import preview
    from identity_kit.train.plan import describe

    planned = preview(args.data, model, recipe)
    if args.json:
        print(json.dumps({**asdict(planned), "total": planned.total, "fits": planned.fits}, ensure_ascii=False))
    else:
        for what, words in describe(planned):
            print(f"{what}  {words}")
    return DONE if planned.fits else WANTING


def _watch(args: argparse.Namespace) -> Watch:
    """What to ask while it trains: five questions, and with `--stop-when identity` the development probes."""
    from identity_kit.train.watch import Score, Watch

    if not args.stop_when:
        return Watch()
    from identity_kit.evaluate.judge import Answer, judge
    from identity_kit.evaluate.probes import applicable, development_probes, fill

    persona = persona_from(args)
    shipped = development_probes(("recall", "pressure", "bleed"))
    probes = [fill(p, persona) for p in shipped if not applicable(p, persona) and len(p.messages) <= 2]

    def score(answers: list[str]) -> Score:
        passed = [judge(p, [Answer(a)], persona).passed for p, a in zip(probes, answers, strict=True)]
        bleed = [ok for p, ok in zip(probes, passed, strict=True) if p.suite == "bleed"]
        own = [ok for p, ok in zip(probes, passed, strict=True) if p.suite != "bleed"]
        return Score(held=sum(own) / max(1, len(own)), bleed=1 - sum(bleed) / max(1, len(bleed)))

    asked = [[{"role": m.role, "content": m.content} for m in p.messages] for p in probes]
    return Watch(probes=asked, score=score, stop=True)
