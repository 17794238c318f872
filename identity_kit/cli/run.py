"""`idkit run`: from one name to a proven model, in one go; resumable."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from identity_kit.cli.options import (
    add_hub_argument,
    add_persona_arguments,
    add_probes_argument,
    add_start_argument,
    persona_from,
)
from identity_kit.errors import BadInput
from identity_kit.files import sha256_text
from identity_kit.ui import console, quiet, say, tr

if TYPE_CHECKING:
    from identity_kit.persona import Persona
    from identity_kit.pipeline import Job, Outcome

SUMMARY = (
    "一条命令走完全程：数据、训练、合并、前后对比",
    "the whole way in one command: data, training, merge, before and after",
)
EXAMPLES = (
    "idkit run --owner 文心大佬",
    "idkit run --owner 文心大佬 --name 小文 -o runs/xiaowen",
    "idkit run --owner 文心大佬 --start none -n 4000",
    "idkit run --persona persona.yaml --model ./Qwen3-8B --recipe qwen3-8b-24gb",
    "idkit run --owner 文心大佬 --base-url https://api.deepseek.com/v1 --llm deepseek-chat --api-key-env DEEPSEEK_API_KEY",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from identity_kit.models.resolve import DEFAULT_MODEL

    add_persona_arguments(parser)
    model = parser.add_argument_group(tr("模型与训练", "model and training"))
    model.add_argument(
        "--model", default=DEFAULT_MODEL, help=tr("要改身份的模型", "the model to tune") + f" ({DEFAULT_MODEL})"
    )
    add_hub_argument(model)
    model.add_argument("--recipe", metavar="R", help=tr("训练配方的名称或 YAML 文件", "a recipe's name or YAML file"))
    model.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help=tr("改配方里的一项，可重复", "override a recipe key; repeatable"),
    )
    add_start_argument(model, default="auto")
    data = parser.add_argument_group(tr("数据", "data"))
    data.add_argument(
        "-n",
        "--rows",
        type=int,
        metavar="ROWS",
        help=tr(
            "要多少行数据（从空白适配器开始约 1100，否则约 1650；越多越稳，也越久）",
            "rows of data (about 1,100 from a blank, else 1,650; more hold better and take longer)",
        ),
    )
    data.add_argument("--lang", choices=("zh", "en", "both"), help=tr("数据的语言", "language of the data"))
    data.add_argument("--seed", type=int, default=0, help=tr("数据计划的种子", "seed of the data plan"))
    data.add_argument(
        "--base-url",
        metavar="URL",
        help=tr("用这个接口来写和变换问答", "an API that writes and varies questions and answers"),
    )
    data.add_argument("--llm", metavar="NAME", help=tr("接口上的模型名", "the model's name there"))
    data.add_argument(
        "--api-key-env",
        metavar="VAR",
        default="OPENAI_API_KEY",
        help=tr("存放密钥的环境变量", "environment variable with the key"),
    )
    evaluation = parser.add_argument_group(tr("评测", "evaluation"))
    add_probes_argument(evaluation)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="RUN",
        help=tr("运行目录（默认 runs/归属者）", "the run folder (runs/OWNER)"),
    )
    parser.add_argument(
        "--dry-run", action="store_true", help=tr("只说会做什么，不做", "say what would be done, do nothing")
    )
    parser.add_argument(
        "--json", action="store_true", help=tr("结束时在标准输出打印 JSON", "print JSON on stdout at the end")
    )


def run(args: argparse.Namespace) -> None:
    persona = persona_from(args)
    out = args.output or _folder_for(persona)
    if args.lang in ("zh", "en"):
        persona = persona.model_copy(update={"languages": (args.lang,)})
    job = _job(args, persona)
    if args.dry_run:
        _show_plan(job, out)
        return
    from identity_kit.pipeline import run as run_pipeline

    outcome = run_pipeline(job, out)
    if args.json:
        print(json.dumps(_figures(outcome), ensure_ascii=False, indent=2))
    _show(outcome)


def _job(args: argparse.Namespace, persona: Persona) -> Job:
    from identity_kit.blank import ROWS_FROM_START, find_start
    from identity_kit.generate.settings import GenerateSettings, settings_for
    from identity_kit.models.device import best_device
    from identity_kit.pipeline import Job
    from identity_kit.train import load_recipe
    from identity_kit.train.recipe import DEFAULT_RECIPE

    # Where there is a GPU, the base is held in 4 bit; `--set method=lora` changes that.
    overrides = ["method=qlora"] if args.recipe is None and best_device().type == "cuda" else []
    recipe = load_recipe(args.recipe or DEFAULT_RECIPE, [*overrides, *args.set])
    start = find_start(args.start, args.model, recipe)
    languages: tuple[Literal["zh", "en"], ...] | None = ("zh", "en") if args.lang == "both" else None
    rows = args.rows if args.rows is not None or start is None else ROWS_FROM_START
    if rows is None:
        settings = GenerateSettings(seed=args.seed, languages=languages)
    else:
        if rows < 10:
            raise BadInput(tr("至少 10 行", "at least 10 rows"), where="--rows")
        settings = settings_for(rows, facts=len(persona.facts), seed=args.seed, languages=languages)
    return Job(
        persona=persona,
        model=args.model,
        settings=settings,
        recipe=recipe,
        start=start,
        writer=_writer(args),
        hub=args.hub,
        per_family=args.probes_per_family,
    )


def _writer(args: argparse.Namespace):  # type: ignore[no-untyped-def]
    if not args.base_url and not args.llm:
        return None
    if not args.base_url or not args.llm:
        raise BadInput(tr("--base-url 和 --llm 要一起给", "--base-url and --llm go together"))
    from identity_kit.llm.endpoint import make_endpoint

    return make_endpoint(base_url=args.base_url, model=args.llm, key_variable=args.api_key_env)


def _folder_for(persona: Persona) -> Path:
    """The default run folder: the owner's name as a file system takes it; with a mark where another owner's run has it."""
    from identity_kit.persona import load_persona

    owner = persona.owner.get("zh")
    slug = re.sub(r"[^\w\-]+", "-", owner, flags=re.UNICODE).strip("-")[:60] or "run"
    folder = Path("runs") / slug
    written = folder / "persona.yaml"
    if written.is_file() and load_persona(written).owner.get("zh") != owner:
        return folder.with_name(f"{slug}-{sha256_text(owner)[:6]}")
    return folder


def _show_plan(job: Job, out: Path) -> None:
    settings, recipe = job.settings, job.recipe
    persona = job.persona
    say(
        tr(
            f"身份：{persona.name.get('zh')}（归属 {persona.owner.get('zh')}）",
            f"persona: {persona.name.get('en')} (owner {persona.owner.get('en')})",
        )
    )
    say(tr(f"模型：{job.model}", f"model: {job.model}"))
    begins = tr("模型本身", "the model itself") if job.start is None else str(job.start)
    say(tr(f"起点：{begins}", f"start: {begins}"))
    say(
        tr(
            f"数据：身份 {settings.identity} 行，对照 {settings.contrast} 行，回放 {settings.rehearsal} 行",
            f"data: {settings.identity} identity, {settings.contrast} contrast, {settings.rehearsal} rehearsal rows",
        )
    )
    say(
        tr(
            f"训练：{recipe.method}，秩 {recipe.rank}，{recipe.epochs:g} 轮，学习率 {recipe.learning_rate:g}",
            f"training: {recipe.method}, rank {recipe.rank}, {recipe.epochs:g} epochs, learning rate {recipe.learning_rate:g}",
        )
    )
    say(tr(f"目录：{out}（什么都没有写）", f"folder: {out} (nothing was written)"))


def _figures(outcome: Outcome) -> dict[str, object]:
    return {
        "run": str(outcome.folder),
        "seconds": outcome.seconds,
        "skipped": outcome.skipped,
        "conditions": [condition.model_dump(mode="json") for condition in outcome.card.conditions],
    }


def _show(outcome: Outcome) -> None:
    from identity_kit.evaluate.report import side_by_side_table, table

    if not quiet():
        console().print(table(outcome.card))
        console().print(side_by_side_table(outcome.card))
    out = outcome.folder
    times = ", ".join(f"{name} {seconds:.0f}s" for name, seconds in outcome.seconds.items())
    say(tr(f"用时：{times}", f"time: {times}"))
    rows = (
        (tr("模型", "model"), out / "merged"),
        (tr("适配器", "adapter"), out / "adapter"),
        (tr("数据", "data"), out / "data" / "conversations.jsonl"),
        (tr("报告", "report"), out / "report" / "report.md"),
        (tr("前后对比图", "before and after"), out / "report" / "before_after.png"),
        (tr("损失曲线", "loss curve"), out / "report" / "loss.png"),
    )
    for what, path in rows:
        say(f"  {what}: {path}")
    say(tr("接着：", "next:"))
    for line in (
        f"idkit chat {out}",
        f"idkit eval {out} --persona {out / 'persona.yaml'}",
        f"idkit export {out} -o {out / 'export'} --format hf",
    ):
        say(f"  {line}")
