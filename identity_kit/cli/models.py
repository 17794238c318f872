"""`idkit models`: list the embedded models, fetch one, print its path."""

from __future__ import annotations

import argparse
import json

from identity_kit.ui import say, tr

SUMMARY = ("内置模型：列出、获取、打印路径", "embedded models: list, fetch, print a path")
EXAMPLES = (
    "idkit models list",
    "idkit models fetch qwen2.5-coder-0.5b",
    "idkit models path qwen2.5-coder-0.5b --format hf",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|fetch|path")
    listing = actions.add_parser("list", help=tr("列出内置模型及是否已取到", "what there is, and what is here already"))
    listing.add_argument("--json", action="store_true", help=tr("输出 JSON", "print JSON"))
    fetching = actions.add_parser("fetch", help=tr("取到用户缓存并校验", "fetch into the user cache and verify"))
    fetching.add_argument("name")
    path = actions.add_parser("path", help=tr("打印本地路径，没有就先取", "print the local path, fetched if need be"))
    path.add_argument("name")
    path.add_argument(
        "--format",
        choices=("gguf", "hf"),
        default="gguf",
        help=tr("gguf 原文件，或 16 位 Hugging Face 目录", "the GGUF file, or a 16-bit Hugging Face folder"),
    )


def run(args: argparse.Namespace) -> None:
    from identity_kit.models.embedded import embedded_model, fetch
    from identity_kit.models.resolve import hf_folder

    if args.action == "list":
        _list(args.json)
    elif args.action == "fetch":
        say(str(fetch(embedded_model(args.name))))
    elif args.format == "hf":
        print(hf_folder(args.name if "/" in args.name else f"embedded:{embedded_model(args.name).name}"))
    else:
        print(fetch(embedded_model(args.name)))


def _list(as_json: bool) -> None:
    from identity_kit.models.embedded import EMBEDDED, cache_folder

    here = {model.name: (cache_folder() / "gguf" / model.file_name).is_file() for model in EMBEDDED}
    if as_json:
        rows = [
            {"name": m.name, "what": m.publisher, "bytes": m.bytes, "sha256": m.sha256, "fetched": here[m.name]}
            for m in EMBEDDED
        ]
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in (tr("名称", "name"), tr("内容", "what"), "MB", tr("已取到", "here"), tr("说明", "note")):
        table.add_column(title, no_wrap=title == "MB")
    for model in EMBEDDED:
        mark = tr("是", "yes") if here[model.name] else tr("否", "no")
        table.add_row(f"embedded:{model.name}", model.publisher, f"{model.bytes / 1e6:.0f}", mark, tr(*model.summary))
    Console().print(table)
