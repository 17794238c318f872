"""`idkit eval`: the report card of a model, on probes that training never saw."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from identity_kit.cli.options import add_hub_argument, add_persona_arguments, persona_from
from identity_kit.errors import DONE, WANTING, BadInput, resumed_by
from identity_kit.ui import say, tr

if TYPE_CHECKING:
    from identity_kit.evaluate.ask import Condition
    from identity_kit.evaluate.card import Card
    from identity_kit.evaluate.models import Subject
    from identity_kit.evaluate.probes import Probe
    from identity_kit.evaluate.second import SecondJudge
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
    parser.add_argument(
        "--fresh",
        action="store_true",
        help=tr(
            "不用先前的回答，全部重新问（端点后面换了模型时）",
            "ask everything again, whatever was answered before (when an endpoint has another model behind it)",
        ),
    )
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
        metavar="N",
        help=tr("每个回答的词元上限（默认按套件，24 到 128）", "cap on every answer (default: by suite, 24 to 128)"),
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
    from identity_kit.evaluate.report import counted, side_by_side_table, table

    persona = _persona(args)
    _check_options(args)
    split = None if args.split == "all" else args.split
    if args.probes:
        probes = load_probes(args.probes, split=split)
        if args.suites is not None:
            chosen = parse_suites(args.suites, tuple(dict.fromkeys(probe.suite for probe in probes)))
            probes = [probe for probe in probes if probe.suite in chosen]
    else:
        default = CORE_SUITES if args.quick else SUITES
        probes = load_probes(split=split, suites=default if args.suites is None else parse_suites(args.suites))
    measured = dict.fromkeys(probe.suite for probe in probes if not applicable(probe, persona))
    targets = {} if args.fail_under is None else parse_targets(args.fail_under, tuple(measured))
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
        if (beside := side_by_side_table(card)).row_count:
            console.print(beside)
    for line in (counted(card), *card.notes):
        say(line)
    say(tr(f"报告：{_out(args) / 'report.md'}", f"report: {_out(args) / 'report.md'}"))
    for line in shortfalls:
        say(tr(f"未达标：{line}", f"below target: {line}"), style="red")
    return WANTING if shortfalls else DONE


def _check_options(args: argparse.Namespace) -> None:
    """Refuse options that would say nothing without another one, before any model is looked for."""
    if args.max_new_tokens is not None and args.max_new_tokens < 1:
        raise BadInput(
            tr(f"至少为 1，得到 {args.max_new_tokens}", f"at least 1, got {args.max_new_tokens}"),
            where="--max-new-tokens",
        )
    if args.judge_url and not args.judge_model:
        raise BadInput(tr("缺少 --judge-model", "--judge-model is missing"), where="--judge-url")
    if args.judge_model and not args.judge_url:
        raise BadInput(tr("缺少 --judge-url", "--judge-url is missing"), where="--judge-model")


def _evaluate(args: argparse.Namespace, persona: Persona, probes: list[Probe]) -> Card | None:
    from contextlib import ExitStack

    from identity_kit.evaluate import evaluate
    from identity_kit.evaluate.conditions import NAMES, make_conditions, provenance, short_system
    from identity_kit.evaluate.harness import run_harness
    from identity_kit.evaluate.held_out import training_questions
    from identity_kit.evaluate.labels import BASE, TUNED
    from identity_kit.evaluate.models import open_subject, unopened
    from identity_kit.evaluate.retention import retention_texts

    names = _condition_names(args, tuple(NAMES))
    system = _system(args, short_system(persona))
    second_judge = _second_judge(args, persona)
    key = _key(args.api_key_env, "--api-key-env") if args.base_url else ""
    base_name = args.base or _run_base(args)
    wants_base = any(name.startswith("base") for name in names)

    def conditions_of(tuned: Subject, base: Subject | None) -> list[Condition]:
        return make_conditions(tuned, base, system, names=names, samples=args.samples, temperature=args.temperature)

    without = unopened(args.model), unopened(base_name) if base_name and wants_base else None
    counted_with = conditions_of(*without)
    if args.conditions and wants_base and not base_name:
        say(tr("没有底模（--base），base 的条件不测", "there is no base (--base): its conditions are left out"))
    if args.dry_run:
        _say_counts(counted_with, probes, persona)
        return None
    with ExitStack() as stack:
        tuned = stack.enter_context(
            open_subject(
                args.model,
                hub=args.hub,
                base_url=args.base_url,
                api_key=key,
                key_variable=args.api_key_env,
                base=base_name,
            )
        )
        base = stack.enter_context(open_subject(base_name, hub=args.hub)) if base_name and wants_base else None
        harness = {}
        for label, subject in ((BASE, base), (TUNED, tuned)):
            if args.harness and subject is not None:
                harness[label] = run_harness(subject, args.harness.split(","), limit=args.harness_limit)
        if args.fresh:
            again = tr(
                "检查后重复同一条命令，去掉 --fresh，已有的回答不会再问",
                "check it and repeat the command without --fresh; answers so far are kept",
            )
            stack.enter_context(resumed_by(again))
        return evaluate(
            conditions_of(tuned, base),
            persona,
            probes=probes,
            out=_out(args),
            fresh=args.fresh,
            subject=TUNED if "tuned" in names else "",
            max_new_tokens=args.max_new_tokens,
            hashes=dict(provenance(tuned, base, system, _run_folder(args))),
            settings={"model": args.model, "base": base_name or None},
            texts=retention_texts(None if args.split == "all" else args.split),
            harness=harness,
            trained_on=training_questions(folder) if (folder := _run_folder(args)) else (),
            second_judge=second_judge,
        )


def _say_counts(conditions: list[Condition], probes: list[Probe], persona: Persona) -> None:
    from identity_kit.evaluate.ask import count_answers
    from identity_kit.evaluate.probes import applicable

    fitting = [probe for probe in probes if not applicable(probe, persona)]
    for condition in conditions:
        say(f"{condition.label}: {count_answers(condition, fitting)} " + tr("个回答", "answers"))


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
    from identity_kit.files import read_given

    text = read_given(args.system).strip()
    if not text:
        raise BadInput(tr("文件里没有字", "nothing stands in this file"), where=str(args.system))
    return {"zh": text, "en": text}


def _second_judge(args: argparse.Namespace, persona: Persona) -> SecondJudge | None:
    if not args.judge_model:
        return None
    from identity_kit.evaluate.endpoint import endpoint_answerer
    from identity_kit.evaluate.models import endpoint_fingerprint
    from identity_kit.evaluate.second import llm_judge
    from identity_kit.llm.endpoint import checked_address

    address = checked_address(args.judge_url, where="--judge-url")
    key = _key(args.judge_key_env, "--judge-key-env")
    answer = endpoint_answerer(address, args.judge_model, api_key=key, key_variable=args.judge_key_env)
    return llm_judge(answer, persona, fingerprint=endpoint_fingerprint(address, args.judge_model))


def _key(variable: str, option: str) -> str:
    from identity_kit.llm.endpoint import check_key

    value = os.environ.get(variable, "").strip()
    check_key(value, variable, where=option)
    return value
