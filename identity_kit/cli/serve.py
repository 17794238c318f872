"""`idkit serve`: an OpenAI-compatible endpoint for a model, on loopback."""

from __future__ import annotations

import argparse

from identity_kit.cli.options import add_hub_argument
from identity_kit.ui import tr

SUMMARY = ("把模型开成兼容 OpenAI 的本机接口", "serve a model as an OpenAI-compatible endpoint on loopback")
EXAMPLES = ("idkit serve RUN", "idkit serve my-gguf/model-Q4_K_M.gguf --port 9000")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        help=tr(
            "运行目录、HF 目录、适配器、.gguf、hub id 或 embedded:NAME",
            "a run, a Hugging Face folder, an adapter, a .gguf, a hub id or embedded:NAME",
        ),
    )
    parser.add_argument(
        "--port",
        type=int,
        default=8080,
        metavar="P",
        help=tr("端口（默认 8080；0 自动选）", "port (8080; 0 takes a free one)"),
    )
    parser.add_argument(
        "--slots",
        type=int,
        default=4,
        metavar="N",
        help=tr("同时回答几个请求（默认 4）", "requests answered at once (4)"),
    )
    parser.add_argument(
        "--context",
        type=int,
        default=4096,
        metavar="N",
        help=tr("每个请求的词元数（默认 4096）", "tokens a request (4096)"),
    )
    parser.add_argument(
        "--quantize",
        metavar="Q",
        default="Q8_0",
        help=tr(
            "在 CPU 上跑 HF 目录时转成哪种 GGUF（默认 Q8_0）", "which GGUF a folder is turned into on a CPU (Q8_0)"
        ),
    )
    parser.add_argument(
        "--engine", choices=("auto", "llama.cpp", "vllm"), default="auto", help=tr("引擎（默认 auto）", "engine (auto)")
    )
    add_hub_argument(parser)
    parser.add_argument("--json", action="store_true", help=tr("就绪时打印一行 JSON", "print one JSON line when ready"))


def run(args: argparse.Namespace) -> int | None:
    import json

    from identity_kit import ui
    from identity_kit.errors import BadInput
    from identity_kit.export.gguf import quantisation_names
    from identity_kit.export.serve import curl_line, has_vllm, plan_serving, python_snippet, serving
    from identity_kit.models.resolve import resolve

    if not 0 <= args.port <= 65535 or args.slots < 1 or args.context < 64:
        raise BadInput(tr("--port、--slots 或 --context 超出范围", "--port, --slots or --context is out of range"))
    vllm = args.engine != "llama.cpp" and has_vllm()
    if args.engine == "vllm" and not vllm:
        raise BadInput(
            tr("这里没有 vLLM 或没有 GPU", "vLLM or a GPU is missing here"), fix="python -m pip install vllm"
        )
    plan = plan_serving(resolve(args.model, hub=args.hub), vllm=vllm)
    ui.say(tr(f"用 {plan.engine} 启动 …", f"starting {plan.engine} …"))
    quantisation = quantisation_names(args.quantize)[0]
    try:
        with serving(plan, port=args.port, slots=args.slots, context=args.context, quantisation=quantisation) as (
            url,
            name,
        ):
            question = tr("你是谁？", "Who are you?")
            if args.json:
                print(
                    json.dumps({"base_url": url, "model": name, "engine": plan.engine}, ensure_ascii=False), flush=True
                )
            ui.say(tr(f"就绪：{url}（Ctrl-C 停止）", f"ready: {url} (Ctrl-C stops it)"), style="bold")
            ui.say("\n" + curl_line(url, name, question))
            ui.say("\n" + python_snippet(url, name, question) + "\n")
            _wait()
    except KeyboardInterrupt:
        ui.say(tr("已停止", "stopped"))
    return None


def _wait() -> None:
    import threading

    threading.Event().wait()
