"""`idkit blank`: an adapter that knows when it is asked about itself, for runs of any owner to begin with."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from identity_kit.cli.options import add_hub_argument, add_mix_argument, add_start_argument, read_mix
from identity_kit.errors import BadInput
from identity_kit.ui import say, tr

SUMMARY = (
    "空白适配器：先学会何时是在问自己，之后每个归属者只需几分钟",
    "a blank: learn once when a question is about the assistant, then give it to any owner in minutes",
)
EXAMPLES = (
    "idkit blank --model ./Qwen3-4B -o blank-qwen3-4b --recipe qwen3-4b-8gb",
    "idkit run --owner 文心大佬 --model ./Qwen3-4B --recipe qwen3-4b-8gb --start blank-qwen3-4b -n 500",
    "idkit blank --model ./Qwen3-4B -o blank-2 --recipe qwen3-4b-8gb --start blank-qwen3-4b --seed 1 --whole-bank",
    "idkit blank --mean blank-qwen3-4b blank-2 -o blank-mean",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from identity_kit.blank import ROWS
    from identity_kit.models.resolve import DEFAULT_MODEL
    from identity_kit.train.recipe import DEFAULT_RECIPE

    parser.add_argument(
        "--model", default=DEFAULT_MODEL, help=tr("给哪个模型做", "the model it is for") + f" ({DEFAULT_MODEL})"
    )
    add_hub_argument(parser)
    parser.add_argument(
        "--recipe", metavar="R", default=DEFAULT_RECIPE, help=tr("训练配方", "training recipe") + f" ({DEFAULT_RECIPE})"
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help=tr("改配方里的一项，可重复", "override a recipe key; repeatable"),
    )
    parser.add_argument(
        "-n",
        "--rows",
        type=int,
        metavar="ROWS",
        default=ROWS,
        help=tr(f"要多少行数据（默认 {ROWS}；越多越准）", f"rows of data ({ROWS}; more are better)"),
    )
    add_mix_argument(parser)
    parser.add_argument(
        "--whole-bank",
        action="store_true",
        help=tr(
            "各类问题按题库里的多少来出，而不按用户问得多不多，备用的也不排在最后；行数多时整个题库都会问到",
            "each sort of question by how many the bank has of it, not by how often users ask it, and those in reserve as early as "
            "the others; with rows enough the whole bank is asked",
        ),
    )
    add_start_argument(parser, default="none")
    parser.add_argument(
        "--mean",
        metavar="DIR",
        type=Path,
        nargs="+",
        help=tr(
            "不训练，取这些空白适配器权重的平均：几遍相继训练的平均比最后一遍更保住一般语言",
            "train nothing, take the mean of these blanks' weights: the mean of passes in a row keeps general language better "
            "than the last of them",
        ),
    )
    parser.add_argument("--seed", type=int, default=0, help=tr("数据与名字的种子", "seed of the data and the names"))
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help=tr("输出目录", "the folder"))
    parser.add_argument(
        "--dry-run", action="store_true", help=tr("只说会做什么，不做", "say what would be done, do nothing")
    )
    parser.add_argument("--json", action="store_true", help=tr("结果以 JSON 输出", "print the result as JSON"))


def run(args: argparse.Namespace) -> None:
    if args.mean:
        _mean(args)
    else:
        _make(args)


def _make(args: argparse.Namespace) -> None:
    from identity_kit.blank import find_start, make_blank
    from identity_kit.generate.settings import settings_for
    from identity_kit.train import load_recipe

    if args.rows < 10:
        raise BadInput(tr("至少 10 行", "at least 10 rows"), where="--rows")
    settings = settings_for(args.rows, read_mix(args.mix), seed=args.seed, whole_bank=args.whole_bank)
    recipe = load_recipe(args.recipe, args.set)
    start = find_start(args.start, args.model, recipe)
    if args.dry_run:
        say(tr(f"起点：{start or '模型本身'}", f"start: {start or 'the model itself'}"))
        say(
            tr(
                f"{args.rows} 行，每行一个虚构的归属者；训练 {args.model}（{recipe.method}，秩 {recipe.rank}）；"
                f"目录 {args.output}（什么都没有写）",
                f"{args.rows} rows, an invented owner each; trains {args.model} ({recipe.method}, rank {recipe.rank}); "
                f"folder {args.output} (nothing was written)",
            )
        )
        return
    blank = make_blank(args.model, args.output, settings, recipe, hub=args.hub, seed=args.seed, start=start)
    if args.json:
        print(json.dumps({"adapter": str(blank.adapter), "rows": blank.rows, "owners": blank.owners}))
    else:
        print(blank.adapter)
    _next(args.output)


def _mean(args: argparse.Namespace) -> None:
    from identity_kit.blank import mean_blank, that_go_together

    if args.start != "none":
        raise BadInput(tr("--mean 与 --start 不能同时用", "--mean and --start exclude each other"))
    if args.dry_run:
        parts = "\n".join(f"  {part}" for part in that_go_together(args.mean))
        say(
            tr(
                f"取这些适配器的平均，写到 {args.output}（什么都没有写）：\n{parts}",
                f"takes the mean of these adapters into {args.output} (nothing was written):\n{parts}",
            )
        )
        return
    adapter = mean_blank(args.mean, args.output)
    print(json.dumps({"adapter": str(adapter), "mean_of": len(args.mean)}) if args.json else adapter)
    _next(args.output)


def _next(folder: Path) -> None:
    say(tr(f"接着：idkit run --owner 名称 --start {folder}", f"next: idkit run --owner NAME --start {folder}"))
