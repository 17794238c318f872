"""`idkit generate`: write a data set for a persona, with an LLM or without one."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from identity_kit.cli.options import (
    add_hub_argument,
    add_mix_argument,
    add_persona_arguments,
    persona_from,
    read_mix,
)
from identity_kit.errors import WANTING, BadInput
from identity_kit.ui import say, tr

if TYPE_CHECKING:
    from identity_kit.generate import GenerateResult, GenerateSettings
    from identity_kit.llm.endpoint import Endpoint

SUMMARY = ("为新身份写训练数据", "write the training data for a new identity")
EXAMPLES = (
    "idkit generate --owner 文心大佬 -n 600 -o data/wenxin",
    "idkit generate --persona persona.yaml --provider deepseek -n 3000 --max-cost 2 -o data/shop",
    "idkit generate --owner Acme --base-url http://127.0.0.1:8000/v1 --llm qwen --rehearse-with embedded:qwen2.5-coder-0.5b -o data/acme",
    "idkit generate --owner Acme --provider openai -n 100000 --batch -o data/acme",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_persona_arguments(parser)
    _add_data(parser.add_argument_group(tr("写什么", "what to write")))
    _add_writer(
        parser.add_argument_group(
            tr("由谁来写（不填则由内置题库组合，无需密钥）", "who writes (without: composed from the banks, no key)")
        )
    )
    _add_limits(parser.add_argument_group(tr("快慢与花费", "pace and money")))
    add_hub_argument(parser)
    parser.add_argument(
        "--fresh", action="store_true", help=tr("忘掉以前的回答，从头再来", "forget earlier answers and start over")
    )
    parser.add_argument(
        "--dry-run", action="store_true", help=tr("只打印计划，不请求不写入", "print the plan; ask and write nothing")
    )
    parser.add_argument("--json", action="store_true", help=tr("输出 JSON", "print JSON"))


def _add_data(what: argparse._ArgumentGroup) -> None:
    what.add_argument(
        "-o", "--output", type=Path, metavar="DIR", required=True, help=tr("输出目录", "the output folder")
    )
    what.add_argument(
        "-n", "--rows", type=int, metavar="ROWS", help=tr("一共要多少行（约 1650）", "rows in all (about 1,650)")
    )
    add_mix_argument(what)
    what.add_argument("--lang", choices=("zh", "en", "both"), help=tr("数据的语言", "language of the data"))
    what.add_argument("--seed", type=int, default=0, help=tr("计划的种子（0）", "seed of the plan (0)"))
    what.add_argument(
        "--rehearse-with",
        metavar="MODEL|URL",
        help=tr(
            "回答对照和回放问题的模型（要训练的那个）",
            "the model to be tuned, which answers contrast and rehearsal questions",
        ),
    )
    what.add_argument(
        "--rehearse-llm", metavar="NAME", default="", help=tr("该 URL 上的模型名", "its name at that URL")
    )
    what.add_argument(
        "--prompts", type=Path, metavar="DIR", help=tr("自己的提示词目录", "a folder with your own prompts")
    )
    what.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=tr("改一项设置，可重复", "change a setting; repeatable"),
    )


def _add_writer(writer: argparse._ArgumentGroup) -> None:
    writer.add_argument(
        "--provider",
        metavar="NAME",
        help="openai|deepseek|zhipu|moonshot|dashscope|siliconflow|internlm|openrouter|ollama|vllm|local",
    )
    writer.add_argument("--base-url", metavar="URL", help=tr("任何 OpenAI 兼容接口", "any OpenAI-compatible address"))
    writer.add_argument("--llm", metavar="NAME", help=tr("模型名", "the model's name"))
    writer.add_argument(
        "--api-key-env", metavar="VAR", help=tr("存放密钥的环境变量", "environment variable with the key")
    )
    writer.add_argument("--judge-url", metavar="URL", help=tr("给文风打分的接口", "an endpoint that scores style"))
    writer.add_argument("--judge-llm", metavar="NAME", help=tr("打分的模型", "the scoring model"))
    writer.add_argument(
        "--judge-key-env", metavar="VAR", help=tr("打分接口的密钥变量", "environment variable with its key")
    )


def _add_limits(limits: argparse._ArgumentGroup) -> None:
    limits.add_argument(
        "--concurrency", type=int, metavar="C", help=tr("最多同时多少个请求", "most requests in flight")
    )
    limits.add_argument("--rpm", type=float, metavar="R", help=tr("每分钟请求数上限", "requests a minute"))
    limits.add_argument("--tpm", type=float, metavar="T", help=tr("每分钟 token 上限", "tokens a minute"))
    limits.add_argument(
        "--max-cost", type=float, metavar="USD", help=tr("花费的硬上限（美元）", "hard cap on spending, USD")
    )
    limits.add_argument(
        "--price-in", type=float, metavar="USD", help=tr("每百万输入 token 的价格", "price of a million tokens in")
    )
    limits.add_argument(
        "--price-out", type=float, metavar="USD", help=tr("每百万输出 token 的价格", "price of a million tokens out")
    )
    limits.add_argument(
        "--timeout", type=float, metavar="S", help=tr("单个请求的秒数上限（120）", "seconds for one request (120)")
    )
    limits.add_argument(
        "--patience",
        type=float,
        metavar="S",
        help=tr("一个回答含重试的秒数上限（600）", "seconds for one answer, retries included (600)"),
    )
    limits.add_argument(
        "--batch", action="store_true", help=tr("用批处理接口（便宜、慢）", "use the batch API (cheaper, slow)")
    )


def run(args: argparse.Namespace) -> int | None:
    from identity_kit.generate import generate

    persona = persona_from(args)
    settings = _settings(args, persona)
    writer, judge = _writer(args), _judge(args)
    if args.dry_run:
        from identity_kit.generate.preview import preview, show

        found = preview(persona, settings, writer=writer, rehearsed=bool(args.rehearse_with), prompts=args.prompts)
        print(json.dumps(found, ensure_ascii=False, indent=2) if args.json else show(found))
        return None
    with _rehearser(args, settings) as (rehearser, known):
        if rehearser is None and settings.contrast + settings.rehearsal:
            say(
                tr(
                    "没有 --rehearse-with，对照和回放数据不写；只有身份数据会让模型把别的也忘了",
                    "no --rehearse-with, so no contrast and rehearsal rows: identity rows alone harm other answers",
                ),
                style="yellow",
            )
        options: dict[str, Any] = {
            "judge": judge,
            "prompts": args.prompts,
            "known": known,
            "max_cost": args.max_cost,
            "fresh": args.fresh,
        }
        if args.batch:
            if writer is None:
                raise BadInput(tr("--batch 需要接口", "--batch needs an endpoint"), fix="--provider openai")
            from identity_kit.generate.batched import generate_in_batches

            result = generate_in_batches(persona, args.output, settings, writer=writer, rehearser=rehearser, **options)
        else:
            from identity_kit.generate.live import live

            with live() as progress:
                result = generate(
                    persona, args.output, settings, writer=writer, rehearser=rehearser, progress=progress, **options
                )
    _tell(result, as_json=args.json)
    return WANTING if result.accepted < result.asked else None


def _settings(args: argparse.Namespace, persona: Any) -> GenerateSettings:
    from pydantic import ValidationError

    from identity_kit.conversation import describe
    from identity_kit.generate import GenerateSettings, settings_for

    fields: dict[str, Any] = {"seed": args.seed}
    if args.lang:
        fields["languages"] = ("zh", "en") if args.lang == "both" else (args.lang,)
    for item in args.set:
        key, mark, value = item.partition("=")
        if not mark:
            raise BadInput(tr(f"应为 键=值：{item}", f"expected KEY=VALUE: {item}"), where="--set")
        try:
            fields[key.strip()] = json.loads(value)
        except json.JSONDecodeError:
            fields[key.strip()] = value
    try:
        mix = read_mix(args.mix)
        if args.rows is None and mix is None:
            return GenerateSettings.model_validate(fields)
        usual = GenerateSettings()
        rows = usual.identity + usual.contrast + usual.rehearsal if args.rows is None else args.rows
        if rows < 1:
            raise BadInput(tr("至少 1 行", "at least 1 row"), where="-n")
        settings = settings_for(rows, mix, facts=len(persona.facts), **fields)
    except ValidationError as error:
        key = ".".join(map(str, error.errors()[0]["loc"]))
        known = ", ".join(GenerateSettings.model_fields)
        raise BadInput(
            describe(error), where=f"--set {key}", fix=tr(f"可用的键：{known}", f"known keys: {known}")
        ) from None
    if not settings.identity and "identity" not in fields:
        raise BadInput(
            tr("没有一行身份数据", "not one row about the assistant"),
            where=f"-n {rows} --mix {args.mix}",
            fix=tr("加大 -n，减小 --mix，或写明 --set identity=0", "a larger -n, a smaller --mix, or --set identity=0"),
        )
    return settings


def _writer(args: argparse.Namespace) -> Endpoint | None:
    from identity_kit.llm.endpoint import make_endpoint

    if not (args.provider or args.base_url):
        for option in ("llm", "api_key_env", "max_cost", "rpm", "tpm"):
            if getattr(args, option) is not None:
                name = "--" + option.replace("_", "-")
                raise BadInput(
                    tr(f"{name} 需要接口", f"{name} needs an endpoint"),
                    fix=tr("加上 --provider 或 --base-url", "give --provider or --base-url"),
                )
        return None
    if args.concurrency is not None and args.concurrency < 1:
        raise BadInput(tr("至少为 1", "must be at least 1"), where="--concurrency")
    for option in ("rpm", "tpm", "timeout", "patience"):
        value = getattr(args, option)
        if value is not None and value <= 0:
            raise BadInput(tr("必须大于 0", "must be more than 0"), where=f"--{option}")
    endpoint = make_endpoint(
        provider=args.provider,
        base_url=args.base_url,
        model=args.llm,
        key_variable=args.api_key_env,
        rpm=args.rpm,
        tpm=args.tpm,
        concurrency=args.concurrency,
        price_in=args.price_in,
        price_out=args.price_out,
        timeout=args.timeout,
        patience=args.patience,
    )
    if not endpoint.model:
        raise BadInput(
            tr("没有模型名", "no model named"), where="--llm", fix=f"idkit doctor --endpoint {endpoint.base_url}"
        )
    return endpoint


def _judge(args: argparse.Namespace) -> Endpoint | None:
    from identity_kit.llm.endpoint import make_endpoint

    if not args.judge_url:
        return None
    if not args.judge_llm:
        raise BadInput(tr("没有打分模型的名字", "no scoring model named"), where="--judge-llm")
    return make_endpoint(base_url=args.judge_url, model=args.judge_llm, key_variable=args.judge_key_env)


@contextlib.contextmanager
def _rehearser(args: argparse.Namespace, settings: GenerateSettings) -> Any:
    """The endpoint of the model to be tuned, and the answers that are known of it.

    An address is taken as it is; a model is served here for the while.
    """
    from identity_kit.llm.endpoint import is_loopback, make_endpoint, own_endpoint

    target = args.rehearse_with
    if not target or not settings.contrast + settings.rehearsal:
        yield None, None
    elif target.startswith(("http://", "https://")):
        local = is_loopback(target)
        endpoint = make_endpoint(
            base_url=target,
            model=args.rehearse_llm or "local",
            key_variable=args.api_key_env,
            concurrency=args.concurrency,
            price_in=0.0 if local else args.price_in,
            price_out=0.0 if local else args.price_out,
        )
        yield endpoint, None
    else:
        from identity_kit.blank import known_answers
        from identity_kit.models.teacher import teacher

        known = None if args.fresh else known_answers(target, hub=args.hub)
        with teacher(target, hub=args.hub) as (server, name):
            yield own_endpoint(server.base_url, name, server.slots), known


def _tell(result: GenerateResult, *, as_json: bool) -> None:
    if as_json:
        value = {**result.__dict__, "path": str(result.path)}
        print(json.dumps(value, ensure_ascii=False, indent=2))
        return
    kinds = ", ".join(f"{kind} {count}" for kind, count in result.counts["kind"].items())
    say(
        tr(
            f"接受 {result.accepted}/{result.asked} 行（{kinds}），拒绝 {result.rejected} 行",
            f"accepted {result.accepted} of {result.asked} rows ({kinds}), rejected {result.rejected}",
        )
    )
    for reason, count in list(result.reasons.items())[:5]:
        say(f"  {count:>5}  {reason}")
    if sum(result.tokens):
        say(
            tr(
                f"token：输入 {result.tokens[0]}，输出 {result.tokens[1]}；花费 {result.cost:.4f} 美元",
                f"tokens: {result.tokens[0]} in, {result.tokens[1]} out; {result.cost:.4f} USD",
            )
        )
    if result.shortage:
        say(result.shortage, style="yellow")
    print(result.path)
