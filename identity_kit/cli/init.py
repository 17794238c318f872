"""`idkit init`: write a persona.yaml, by asking or from options."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from identity_kit.errors import BadInput
from identity_kit.ui import say, tr

SUMMARY = ("写一份 persona.yaml（会提问，或用选项）", "write a persona.yaml (asks, or takes options)")
EXAMPLES = (
    "idkit init",
    "idkit init --owner 文心大佬 --name 小文 -o persona.yaml",
    'idkit init --owner 文心大佬 --owner-en "Wenxin Dalao" --fact "营业时间=每天九点到二十一点"',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--owner", metavar="NAME", help=tr("助手属于谁", "whose assistant it is"))
    parser.add_argument("--owner-en", metavar="NAME", help=tr("英文名称", "the owner's English name"))
    parser.add_argument("--name", metavar="NAME", help=tr("助手的名字", "what the assistant is called"))
    parser.add_argument("--name-en", metavar="NAME", help=tr("助手的英文名字", "its English name"))
    parser.add_argument(
        "--developer", metavar="NAME", help=tr("开发者（默认同 owner）", "who made it (default: owner)")
    )
    parser.add_argument("--role", metavar="TEXT", help=tr("角色，例如 客服助手", "its role, e.g. service assistant"))
    parser.add_argument(
        "--fact",
        metavar="Q=A",
        action="append",
        default=[],
        help=tr("一条事实：问题=答案，可重复", "a fact: question=answer; may be repeated"),
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("persona.yaml"), metavar="FILE")
    parser.add_argument("--force", action="store_true", help=tr("覆盖已有文件", "overwrite an existing file"))
    parser.add_argument("--dry-run", action="store_true", help=tr("只打印，不写", "print it, write nothing"))


def run(args: argparse.Namespace) -> None:
    from identity_kit.persona import make_persona, save_persona

    if args.output.exists() and not args.force and not args.dry_run:
        raise BadInput(
            tr("文件已存在", "the file is already there"),
            where=str(args.output),
            fix=tr("换一个 -o，或加 --force", "choose another -o, or add --force"),
        )
    if not args.owner and sys.stdin.isatty():
        _ask(args)
    persona = make_persona(
        where="--owner",
        owner=_both(args.owner, args.owner_en),
        name=_both(args.name, args.name_en),
        developer=args.developer,
        role=args.role,
        facts={f"fact_{n}": _fact(text) for n, text in enumerate(args.fact, start=1)} or None,
    )
    if args.dry_run:
        print(persona.to_yaml(), end="")
        return
    save_persona(args.output, persona)
    say(tr(f"写好了 {args.output}；接着：", f"wrote {args.output}; next:") + f" idkit run --persona {args.output}")


def _ask(args: argparse.Namespace) -> None:
    args.owner = input(
        tr("助手属于谁（公司、品牌或人）？ ", "Whose assistant is it (a firm, a brand, a person)? ")
    ).strip()
    args.name = (
        input(tr("它叫什么（回车用默认）？ ", "What is it called (Enter for the default)? ")).strip() or args.name
    )
    args.role = (
        input(tr("它做什么（回车：客服助手）？ ", "What does it do (Enter: customer service)? ")).strip() or args.role
    )
    while text := input(tr("一条事实，问题=答案（回车结束）： ", "A fact, question=answer (Enter to end): ")).strip():
        args.fact.append(text)


def _both(zh: str | None, en: str | None) -> dict[str, str] | str | None:
    return {"zh": zh, "en": en} if zh and en else zh or en


def _fact(text: str) -> dict[str, str]:
    question, separator, answer = text.partition("=")
    if not separator or not question.strip() or not answer.strip():
        raise BadInput(
            tr(f"事实应写成 问题=答案：{text}", f"a fact is written question=answer: {text}"), where="--fact"
        )
    return {"question": question, "answer": answer}
