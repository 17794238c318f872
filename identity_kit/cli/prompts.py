"""`idkit prompts`: the prompt templates that `idkit generate` gives an LLM, and how to replace them."""

from __future__ import annotations

import argparse
import json

from identity_kit.ui import say, tr

SUMMARY = ("查看写数据用的提示词", "the prompts that write the data")
EXAMPLES = ("idkit prompts list", "idkit prompts show identity_pair --lang en > my/identity_pair.en.jinja")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "show"), help=tr("列出，或打印一个", "list them, or print one"))
    parser.add_argument("name", nargs="?", metavar="NAME", help=tr("提示词的名称", "the prompt's name"))
    parser.add_argument("--lang", choices=("zh", "en"), default="zh", help=tr("哪种语言（zh）", "which language (zh)"))
    parser.add_argument("--json", action="store_true", help=tr("输出 JSON", "print JSON"))


def run(args: argparse.Namespace) -> int | None:
    from identity_kit.errors import BadInput
    from identity_kit.generate.prompts import NAMES, Prompts, summary

    prompts = Prompts()
    if args.action == "list":
        rows = [
            {
                "name": name,
                "files": [str(prompts.path(name, "zh")), str(prompts.path(name, "en"))],
                "summary": summary(name, "zh" if tr("zh", "en") == "zh" else "en"),
            }
            for name in NAMES
        ]
        if args.json:
            print(json.dumps(rows, ensure_ascii=False, indent=2))
            return None
        for row in rows:
            print(f"{row['name']:<16} {row['summary']}")
        say(
            tr(
                "改动：把文件放进一个目录，idkit generate --prompts 目录",
                "to change one: put the file into a folder, then idkit generate --prompts DIR",
            )
        )
        return None
    if args.name not in NAMES:
        raise BadInput(
            tr(f"没有提示词 {args.name or ''}", f"no prompt {args.name or ''}".strip()),
            fix=tr(f"可用：{'、'.join(NAMES)}", f"known: {', '.join(NAMES)}"),
        )
    text = prompts.text(args.name, args.lang)
    if args.json:
        value = {"name": args.name, "language": args.lang, "hash": prompts.hash(args.name, args.lang), "text": text}
        print(json.dumps(value, ensure_ascii=False, indent=2))
    else:
        print(text, end="" if text.endswith("\n") else "\n")
    return None
