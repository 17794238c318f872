"""`idkit export`: a run as a folder that other programs run."""

from __future__ import annotations

import argparse
from pathlib import Path

from identity_kit.cli.options import add_persona_arguments, persona_from
from identity_kit.ui import tr

SUMMARY = ("把训练结果导出为各处可用的模型", "export a run as a model that runs elsewhere")
EXAMPLES = (
    "idkit export RUN -o my-model",
    "idkit export RUN -o my-gguf --format gguf --quantize Q4_K_M",
    "idkit export RUN -o my-ollama --format ollama",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run_folder",
        metavar="RUN",
        type=Path,
        help=tr("运行目录，或合并好的模型目录", "a run folder, or a merged model's folder"),
    )
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help=tr("新目录", "the new folder"))
    parser.add_argument(
        "--format", choices=("hf", "adapter", "gguf", "ollama"), default="hf", help=tr("格式（默认 hf）", "format (hf)")
    )
    parser.add_argument(
        "--base", metavar="MODEL", help=tr("训练时的底模，换了地方时用", "the base it was trained on, if it has moved")
    )
    parser.add_argument(
        "--system",
        metavar="none|persona|TEXT",
        default="none",
        help=tr(
            "没有系统提示时模板用什么（默认 none：什么也不加）",
            "what the template says when no system message is given (none)",
        ),
    )
    parser.add_argument("--json", action="store_true", help=tr("结果写成 JSON", "the result as JSON"))
    add_persona_arguments(parser)


def run(args: argparse.Namespace) -> int | None:
    import json

    from identity_kit import ui
    from identity_kit.export.identity import persona_system
    from identity_kit.export.make import export_run
    from identity_kit.export.source import find_source
    from identity_kit.models.resolve import hf_folder

    persona = persona_from(args) if args.owner or args.persona else None
    system = {"none": None, "persona": ""}.get(args.system, args.system)
    if system == "":
        system = persona_system(find_source(args.run_folder, persona).persona)
    base = hf_folder(args.base) if args.base else None
    out = export_run(
        args.run_folder, args.output, format=args.format, persona=persona, base=base, default_system=system
    )
    ui.say(tr(f"已导出到 {out}", f"exported to {out}"))
    print(json.dumps({"folder": str(out), "format": args.format}, ensure_ascii=False) if args.json else out)
    return None
