"""`idkit export`: a run as a folder that other programs run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from identity_kit.cli.options import add_persona_arguments, persona_from
from identity_kit.ui import tr

if TYPE_CHECKING:
    from identity_kit.persona import Persona

SUMMARY = ("把训练结果导出为各处可用的模型", "export a run as a model that runs elsewhere")
EXAMPLES = (
    "idkit export RUN -o my-model",
    "idkit export RUN -o my-gguf --format gguf --quantize F16,Q8_0",
    "idkit export RUN -o my-ollama --format ollama",
    "idkit export RUN -o my-model --push me/my-model --hub modelscope",
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
        "--quantize",
        metavar="Q",
        default="Q8_0",
        help=tr("GGUF 的量化，逗号分隔（默认 Q8_0）：", "GGUF types, comma-separated (Q8_0): ")
        + "F16, Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_K_S, Q3_K_M",
    )
    parser.add_argument(
        "--base", metavar="MODEL", help=tr("训练时的底模，换了地方时用", "the base it was trained on, if it has moved")
    )
    parser.add_argument(
        "--system",
        metavar="none|persona|TEXT",
        default="none",
        help=tr(
            "没有系统提示时模板说什么（默认 none：什么也不加；persona：一句话说明它是谁）",
            "what the template says when no system message is given (none; persona: one sentence that says who it is)",
        ),
    )
    parser.add_argument(
        "--parity",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=tr(
            "导出后在它自己的引擎里再测身份，与合并好的模型比较；丢了身份则以 1 退出（默认测）",
            "afterwards measure the identity in the export's own engine, beside the merged model's; "
            "exit with 1 when it was lost (on)",
        ),
    )
    parser.add_argument(
        "--parity-probes",
        type=int,
        metavar="N",
        default=12,
        help=tr("每个项目最多测几题（默认 12；0：全部）", "ask at most N probes a suite (12; 0: all)"),
    )
    parser.add_argument(
        "--push",
        metavar="OWNER/NAME",
        help=tr("再推到 hub，用您自己的登录", "then push it to the hub with your own login"),
    )
    parser.add_argument(
        "--hub", choices=("hf", "modelscope"), default="hf", help=tr("推到哪个 hub", "which hub to push to")
    )
    parser.add_argument(
        "--public", action="store_true", help=tr("推送为公开（默认私有）", "push it as public (private)")
    )
    parser.add_argument(
        "--dry-run", action="store_true", help=tr("只说会做什么，不做", "say what would be done, do nothing")
    )
    parser.add_argument("--json", action="store_true", help=tr("结果写成 JSON", "the result as JSON"))
    add_persona_arguments(parser)


def run(args: argparse.Namespace) -> int | None:
    from identity_kit import ui
    from identity_kit.errors import BadInput
    from identity_kit.export.folder import check_replaceable
    from identity_kit.export.gguf import quantisation_names
    from identity_kit.export.make import export_run
    from identity_kit.export.source import find_source

    if args.parity_probes < 0:
        raise BadInput(tr("不能是负数", "a number below 0"), where="--parity-probes", fix=tr("0 是全部", "0 asks all"))
    quantisations = quantisation_names(args.quantize)
    source = find_source(args.run_folder, persona_from(args) if args.owner or args.persona else None)
    check_replaceable(args.output)
    if args.dry_run:
        files = f" ({', '.join(quantisations)})" if args.format in ("gguf", "ollama") else ""
        ui.say(
            tr(
                f"会把 {args.run_folder} 导出为 {args.format}{files} 到 {args.output}",
                f"would export {args.run_folder} as {args.format}{files} to {args.output}",
            )
        )
        return None
    out = export_run(
        args.run_folder,
        args.output,
        format=args.format,
        persona=source.persona,
        base=_base(args.base),
        default_system=_system(args.system, source.persona),
        quantisations=quantisations,
    )
    ui.say(tr(f"已导出到 {out}", f"exported to {out}"))
    code = _parity(args, out, source.persona) if args.parity else None
    address = None
    if args.push and not code:
        from identity_kit.export.push import push_folder

        address = push_folder(out, args.push, hub=args.hub, public=args.public)
        ui.say(tr(f"已推送：{address}", f"pushed: {address}"))
    _print(args, out, address)
    return code


def _base(name: str | None) -> Path | None:
    from identity_kit.models.resolve import hf_folder

    return hf_folder(name) if name else None


def _system(choice: str, persona: Persona) -> str | None:
    return {"none": None, "persona": persona.system_message()}.get(choice, choice)


def _parity(args: argparse.Namespace, out: Path, persona: Persona) -> int:
    """Measure, print the table on stderr; 1 when an export lost the identity."""
    from identity_kit.errors import DONE, WANTING
    from identity_kit.parity import measure_parity, show_parity

    parity = measure_parity(args.run_folder, out, persona, limit=args.parity_probes or None, base=_base(args.base))
    show_parity(parity)
    return WANTING if parity.losses else DONE


def _print(args: argparse.Namespace, out: Path, address: str | None) -> None:
    import json

    if not args.json:
        print(out)
        return
    files = sorted(path.name for path in out.iterdir() if path.is_file())
    result = {"folder": str(out), "format": args.format, "files": files, "pushed": address}
    print(json.dumps(result, ensure_ascii=False))
