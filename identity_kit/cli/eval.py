"""`idkit eval`: the report card of a model, on probes that training never saw."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from identity_kit.cli.options import add_hub_argument, add_persona_arguments, persona_from
from identity_kit.errors import DONE, WANTING, BadInput
from identity_kit.ui import say, tr

if TYPE_CHECKING:
    from identity_kit.evaluate.ask import Answerer
    from identity_kit.evaluate.card import Card
    from identity_kit.evaluate.probes import Probe
    from identity_kit.persona import Persona

SUMMARY = ("测身份是否记住：成绩单", "measure whether the identity took: the report card")
EXAMPLES = (
    "idkit eval runs/wenxin",
    "idkit eval embedded:qwen2.5-coder-0.5b --owner 文心大佬",
    "idkit eval runs/wenxin --fail-under recall=0.95,bleed=0.99",
    "idkit eval my-model --base-url http://127.0.0.1:8000/v1 --owner Acme --probes mine.jsonl",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        help=tr(
            "运行目录、模型目录、适配器、.gguf、hub id 或 embedded:名称",
            "a run, a model folder, an adapter, a .gguf, a hub id or embedded:NAME",
        ),
    )
    add_persona_arguments(parser)
    parser.add_argument(
        "--base",
        metavar="MODEL",
        help=tr("拿来比较的原模型（运行目录自己知道）", "the model to compare with (a run knows its own)"),
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="DIR",
        help=tr("报告目录（默认：RUN/report 或 ./report）", "report folder (default: RUN/report or ./report)"),
    )
    add_hub_argument(parser)
    _add_measures(parser.add_argument_group(tr("测什么", "what to measure")))
    _add_endpoints(parser.add_argument_group(tr("端点", "endpoints")))
    parser.add_argument("--json", action="store_true", help=tr("成绩以 JSON 打到标准输出", "print the figures as JSON"))
    parser.add_argument("--dry-run", action="store_true", help=tr("只说要问多少", "only say how much would be asked"))


def _add_measures(what: argparse._ArgumentGroup) -> None:
    what.add_argument(
        "--split",
        choices=("test", "dev", "all"),
        default="test",
        help=tr("dev 供调参，test 供最终成绩", "dev is for tuning, test for the final card"),
    )
    what.add_argument("--suites", metavar="A,B", help=tr("只测这些套件", "these suites only"))
    what.add_argument(
        "--quick", action="store_true", help=tr("只测主要套件，base 与 tuned", "the main suites, base and tuned")
    )
    what.add_argument(
        "--probes",
        type=Path,
        action="append",
        metavar="FILE",
        default=[],
        help=tr("换成自己的探针（JSONL，可重复）", "your own probes instead (JSONL, repeatable)"),
    )
    what.add_argument(
        "--conditions",
        metavar="A,B",
        help=tr("base,base+system,tuned,tuned+system 中的几个", "some of base,base+system,tuned,tuned+system"),
    )
    what.add_argument(
        "--system",
        metavar="FILE",
        type=Path,
        help=tr("带系统提示的条件用这个文本", "the text of the conditions with a system prompt"),
    )
    what.add_argument(
        "--samples", type=int, default=0, metavar="N", help=tr("另外每题抽样 N 次", "also draw N answers to each probe")
    )
    what.add_argument(
        "--temperature", type=float, default=0.7, help=tr("抽样温度（默认 0.7）", "of the draws (default 0.7)")
    )
    what.add_argument(
        "--max-new-tokens",
        type=int,
        default=64,
        help=tr("每个回答的词元上限（默认 64）", "cap on an answer (default 64)"),
    )
    what.add_argument(
        "--harness",
        metavar="TASKS",
        help=tr("另用 lm-evaluation-harness 跑这些任务", "also run these lm-evaluation-harness tasks"),
    )
    what.add_argument(
        "--harness-limit", type=int, metavar="N", help=tr("每个任务只取 N 题", "only N items of each task")
    )
    what.add_argument(
        "--fail-under",
        metavar="A=X,B=Y",
        default="",
        help=tr("低于即退出码 1，如 recall=0.95", "exit 1 below, such as recall=0.95"),
    )


def _add_endpoints(api: argparse._ArgumentGroup) -> None:
    api.add_argument(
        "--base-url",
        metavar="URL",
        default="",
        help=tr("MODEL 在这个 OpenAI 兼容端点上", "MODEL is on this OpenAI-compatible endpoint"),
    )
    api.add_argument(
        "--api-key-env",
        metavar="VAR",
        default="OPENAI_API_KEY",
        help=tr("放密钥的环境变量", "the variable that holds the key"),
    )
    api.add_argument(
        "--judge-model",
        metavar="NAME",
        help=tr("第二判官：这个模型再看一遍（不改判）", "a second judge, which changes no verdict"),
    )
    api.add_argument("--judge-url", metavar="URL", default="", help=tr("第二判官的端点", "the second judge's endpoint"))
    api.add_argument(
        "--judge-key-env",
        metavar="VAR",
        default="OPENAI_API_KEY",
        help=tr("第二判官的密钥变量", "and its key's variable"),
    )


def run(args: argparse.Namespace) -> int:
    from identity_kit.evaluate.conditions import parse_suites, parse_targets
    from identity_kit.evaluate.probes import CORE_SUITES, SUITES, applicable, load_probes
    from identity_kit.evaluate.report import side_by_side_table, table

    persona = _persona(args)
    suites = parse_suites(args.suites) if args.suites else CORE_SUITES if args.quick else SUITES
    probes = load_probes(args.probes, split=None if args.split == "all" else args.split, suites=suites)
    measured = dict.fromkeys(probe.suite for probe in probes if not applicable(probe, persona))
    targets = parse_targets(args.fail_under, tuple(measured))
    card = _evaluate(args, persona, probes)
    if card is None:
        return DONE
    shortfalls = card.shortfalls(targets)
    if args.json:
        print(json.dumps(card.model_dump(mode="json", exclude={"results"}), ensure_ascii=False))
    else:
        from rich.console import Console

        # Off a terminal rich would squeeze the table into 80 columns.
        console = Console() if os.isatty(1) else Console(width=160)
        console.print(table(card))
        console.print(side_by_side_table(card))
    say(tr(f"报告：{_out(args) / 'report.md'}", f"report: {_out(args) / 'report.md'}"))
    for line in shortfalls:
        say(tr(f"未达标：{line}", f"below target: {line}"), style="red")
    return WANTING if shortfalls else DONE


def _evaluate(args: argparse.Namespace, persona: Persona, probes: list[Probe]) -> Card | None:
    from contextlib import ExitStack

    from identity_kit.evaluate import evaluate
    from identity_kit.evaluate.ask import count_answers
    from identity_kit.evaluate.conditions import NAMES, make_conditions, provenance, short_system
    from identity_kit.evaluate.harness import run_harness
    from identity_kit.evaluate.held_out import training_questions
    from identity_kit.evaluate.labels import BASE, TUNED
    from identity_kit.evaluate.models import open_subject
    from identity_kit.evaluate.probes import applicable
    from identity_kit.evaluate.retention import retention_texts
    from identity_kit.evaluate.second import llm_judge

    names = _condition_names(args, tuple(NAMES))
    system = _system(args, short_system(persona))
    base_name = args.base or _run_base(args)
    with ExitStack() as stack:
        tuned = stack.enter_context(
            open_subject(
                args.model, hub=args.hub, base_url=args.base_url, api_key=_key(args.api_key_env), base=base_name
            )
        )
        wants_base = any(name.startswith("base") for name in names)
        base = stack.enter_context(open_subject(base_name, hub=args.hub)) if base_name and wants_base else None
        conditions = make_conditions(
            tuned, base, system, names=names, samples=args.samples, temperature=args.temperature
        )
        if args.dry_run:
            fitting = [probe for probe in probes if not applicable(probe, persona)]
            for condition in conditions:
                say(f"{condition.label}: {count_answers(condition, fitting)} " + tr("个回答", "answers"))
            return None
        harness = {}
        for label, subject in ((BASE, base), (TUNED, tuned)):
            if args.harness and subject is not None:
                harness[label] = run_harness(subject, args.harness.split(","), limit=args.harness_limit)
        return evaluate(
            conditions,
            persona,
            probes=probes,
            out=_out(args),
            subject=TUNED if "tuned" in names else "",
            max_new_tokens=args.max_new_tokens,
            hashes=dict(provenance(tuned, base, system, _run_folder(args))),
            settings={"model": args.model, "base": base_name or None},
            texts=retention_texts(),
            harness=harness,
            trained_on=training_questions(folder) if (folder := _run_folder(args)) else (),
            second_judge=llm_judge(_judge(args), persona) if args.judge_model else None,
        )


def _condition_names(args: argparse.Namespace, known: tuple[str, ...]) -> tuple[str, ...]:
    if not args.conditions:
        return ("base", "tuned") if args.quick else known
    names = tuple(name.strip() for name in args.conditions.split(","))
    for name in names:
        if name not in known:
            raise BadInput(tr(f"没有条件 {name}", f"no condition {name}"), where="--conditions", fix=", ".join(known))
    return names


def _run_folder(args: argparse.Namespace) -> Path | None:
    path = Path(args.model)
    return path if (path / "run.json").is_file() else None


def _persona(args: argparse.Namespace) -> Persona:
    run = _run_folder(args)
    if run and args.persona is None and not args.owner and (run / "persona.yaml").is_file():
        args.persona = run / "persona.yaml"
    return persona_from(args)


def _run_base(args: argparse.Namespace) -> str:
    from identity_kit.files import read_json

    run = _run_folder(args)
    if run is None:
        return ""
    named = read_json(run / "run.json").get("base", {}).get("name", "")
    config = run / "adapter" / "adapter_config.json"
    if not named and config.is_file():  # of a run that was trained only
        named = read_json(config).get("base_model_name_or_path", "")
    return str(named)


def _out(args: argparse.Namespace) -> Path:
    run = _run_folder(args)
    return args.out or (run / "report" if run else Path("report"))


def _system(args: argparse.Namespace, default: dict[str, str]) -> dict[str, str]:
    if args.system is None:
        return default
    try:
        text = args.system.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise BadInput(tr("没有这个文件", "no such file"), where=str(args.system)) from None
    return {"zh": text, "en": text}


def _judge(args: argparse.Namespace) -> Answerer:
    from identity_kit.evaluate.answerers import endpoint_answerer

    if not args.judge_url:
        raise BadInput(tr("缺少 --judge-url", "--judge-url is missing"), where="--judge-model")
    return endpoint_answerer(args.judge_url, args.judge_model, api_key=_key(args.judge_key_env))


def _key(variable: str) -> str:
    return os.environ.get(variable, "none") or "none"
