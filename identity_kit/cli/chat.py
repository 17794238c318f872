"""`idkit chat`: talk to a model in the terminal, alone or beside its base."""

from __future__ import annotations

import argparse
import sys

from identity_kit.cli.options import add_hub_argument
from identity_kit.ui import tr

SUMMARY = ("在终端里对话，可与底模并排", "talk to a model in the terminal, beside its base if you like")
EXAMPLES = (
    "idkit chat RUN",
    "idkit chat RUN --compare base",
    'idkit chat RUN -m "你是谁？"',
    'echo "Who made you?" | idkit chat embedded:qwen2.5-coder-0.5b',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        help=tr(
            "运行目录、HF 目录、.gguf、hub id、embedded:NAME 或 http 端点",
            "a run, a Hugging Face folder, a .gguf, a hub id, embedded:NAME or an http endpoint",
        ),
    )
    parser.add_argument(
        "--compare",
        metavar="BASE",
        help=tr(
            "并排比较的模型；base 表示训练前的底模", "a model to set beside it; `base` means the one it was trained on"
        ),
    )
    parser.add_argument(
        "-m",
        "--message",
        metavar="TEXT",
        help=tr("只问一句，答案写到标准输出", "ask this once; the answer goes to stdout"),
    )
    parser.add_argument("--system", metavar="TEXT", help=tr("系统提示", "system message"))
    parser.add_argument(
        "--max-tokens", type=int, default=512, metavar="N", help=tr("每个回答的长度上限", "limit of one answer")
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        metavar="T",
        help=tr("0 为确定的回答（默认）", "0, the default, answers the same each time"),
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help=tr("采样的种子", "seed of sampling"))
    add_hub_argument(parser)
    parser.add_argument("--json", action="store_true", help=tr("每个回答一行 JSON", "one JSON object an answer"))


def run(args: argparse.Namespace) -> int | None:
    import contextlib

    from identity_kit.chat.engine import Settings, open_pair
    from identity_kit.chat.terminal import ask_once, talk_in_terminal
    from identity_kit.errors import BadInput

    question = args.message
    if question is None and not sys.stdin.isatty():
        question = sys.stdin.read().strip()
    if question is not None and not question.strip():
        raise BadInput(tr("没有要问的话", "nothing to ask"), fix=tr('写 -m "你是谁？"', 'write -m "Who are you?"'))
    if args.max_tokens < 1 or not 0 <= args.temperature <= 2:
        raise BadInput(
            tr("--max-tokens 至少 1，--temperature 在 0 到 2 之间", "--max-tokens is at least 1, --temperature 0 to 2")
        )
    settings = Settings(max_tokens=args.max_tokens, temperature=args.temperature, seed=args.seed)
    with contextlib.ExitStack() as stack:
        engines = open_pair(stack, args.model, args.compare, hub=args.hub)
        if question is None:
            talk_in_terminal(engines, system=args.system, settings=settings)
        else:
            ask_once(engines, question, system=args.system, settings=settings, as_json=args.json)
    return None
