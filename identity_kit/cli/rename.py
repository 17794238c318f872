"""`idkit rename`: swap the identity in a data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from identity_kit.cli.options import add_persona_arguments, persona_from
from identity_kit.errors import WANTING, BadInput
from identity_kit.ui import say, tr

if TYPE_CHECKING:
    from identity_kit.persona import Persona
    from identity_kit.rename import Report, Rules

SUMMARY = ("替换数据里的身份", "swap the identity in a data set")
EXAMPLES = (
    "idkit rename data/samples/jianmi.xtuner.jsonl -o mine.jsonl --from 尖米 --to 文心大佬 --from Jianmi --to 文心大佬",
    "idkit rename IN.json -o OUT.json --from 尖米 --to 文心大佬 --to-en Wenxin --protect 尖米粉",
    "idkit rename self_cognition.jsonl -o OUT.jsonl --owner 文心大佬 --name 小文",
    "idkit rename IN.jsonl --from 尖米 --to 文心大佬 --dry-run",
)


class _Pairs(argparse.Action):
    """Collects --from, --to, --to-en and the typed ones in the order in which they were given."""

    def __call__(self, parser, namespace, value, option_string=None):  # type: ignore[no-untyped-def]
        given = getattr(namespace, "given", None) or []
        namespace.given = [*given, ((option_string or "").lstrip("-"), value)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """IN, -o, the pairs, what stays, and how the result is shown."""
    parser.add_argument("source", metavar="IN", type=Path, help=tr("文件或目录", "a file or a folder"))
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, help=tr("输出文件或目录", "where to write"))
    parser.add_argument(
        "--from", metavar="OLD", action=_Pairs, dest="given", help=tr("旧名称，可多次", "an old name; repeat for more")
    )
    parser.add_argument(
        "--to", metavar="NEW", action=_Pairs, dest="given", help=tr("新名称，对应前面的 --from", "its new name")
    )
    parser.add_argument(
        "--to-en",
        metavar="NEW",
        action=_Pairs,
        dest="given",
        help=tr("英文句子里的新名称", "its new name in English sentences"),
    )
    typed = tr("旧的{}，改为身份中的{}", "old {}, to become the persona's")
    for option, zh, en in (
        ("assistant", "助手名", "assistant's name"),
        ("owner", "所有者", "owner"),
        ("developer", "开发者", "developer"),
        ("base-model", "基础模型名", "base model's name"),
    ):
        text = typed.format(tr(zh, en), zh) if "{}" in typed else typed
        parser.add_argument(f"--from-{option}", metavar="OLD", action=_Pairs, dest="given", help=text)
    parser.add_argument(
        "--protect",
        metavar="WORD",
        action="append",
        default=[],
        help=tr("含旧名但不改的词，可多次", "a word that holds an old name and stays; repeat for more"),
    )
    parser.add_argument(
        "--match-case", action="store_true", help=tr("拉丁字母区分大小写", "match Latin names in the given case only")
    )
    parser.add_argument(
        "--in-place",
        action="store_true",
        help=tr(
            "直接修改 IN，改动过的留下 .bak 备份（.bak.1 …）",
            "change IN itself, a copy of what is changed kept as .bak (.bak.1, …)",
        ),
    )
    parser.add_argument(
        "--processes",
        metavar="N",
        type=int,
        default=0,
        help=tr("进程数（默认按大小和核数）", "processes (by size and cores)"),
    )
    parser.add_argument(
        "--dry-run", action="store_true", help=tr("只显示前几处改动，不写文件", "show the first changes, write nothing")
    )
    parser.add_argument(
        "--report", metavar="F.json", type=Path, help=tr("把统计写到文件", "write the counts to a file")
    )
    parser.add_argument("--json", action="store_true", help=tr("在标准输出给出 JSON 统计", "print the counts as JSON"))
    add_persona_arguments(parser)


def run(args: argparse.Namespace) -> int | None:
    """Rename, show what was done; 1 when an old name or a placeholder is left to look at."""
    import json

    from identity_kit.files import write_json
    from identity_kit.rename import rename

    if not (args.output or args.in_place or args.dry_run):
        raise BadInput(
            tr("没有说写到哪里", "no place to write to"),
            fix=tr("加上 -o 文件，或 --in-place、--dry-run", "give -o FILE, --in-place or --dry-run"),
        )
    if args.output and args.in_place:
        raise BadInput(tr("-o 与 --in-place 不能同时用", "-o and --in-place exclude each other"))
    report = rename(
        args.source,
        args.output,
        _rules(args),
        in_place=args.in_place,
        dry_run=args.dry_run,
        processes=args.processes,
    )
    if args.report:
        write_json(args.report, report.as_json())
    if args.json:
        print(json.dumps(report.as_json(), ensure_ascii=False))
    _show(report, args)
    return WANTING if report.left else None


def _rules(args: argparse.Namespace) -> Rules:
    from identity_kit.rename import rules_from

    persona = persona_from(args) if args.owner or args.persona else None
    pairs: list[tuple[str, str, str | None]] = []
    kinds: list[str] = []
    waiting: str | None = None
    for option, value in getattr(args, "given", None) or []:
        if option == "from":
            if waiting is not None:
                raise _no_target(waiting)
            waiting = value
        elif option == "to":
            if waiting is None:
                raise BadInput(tr(f"--to {value} 前面没有 --from", f"--to {value} without a --from before it"))
            pairs.append((waiting, value, None))
            kinds.append("name")
            waiting = None
        elif option == "to-en":
            if not pairs or waiting is not None:
                raise BadInput(tr(f"--to-en {value} 前面没有 --to", f"--to-en {value} without a --to before it"))
            pairs[-1] = (pairs[-1][0], pairs[-1][1], value)
        else:
            pairs.append((value, *_typed(option.removeprefix("from-"), persona)))
            kinds.append(option.removeprefix("from-"))
    if waiting is not None:
        raise _no_target(waiting)
    return rules_from(pairs, persona, protect=args.protect, match_case=args.match_case, kinds=kinds)


def _no_target(old: str) -> BadInput:
    return BadInput(tr(f"--from {old} 后面没有 --to", f"--from {old} without a --to after it"))


def _typed(part: str, persona: Persona | None) -> tuple[str, str]:
    if persona is None:
        raise BadInput(
            tr(f"--from-{part} 需要知道新身份", f"--from-{part} needs the new identity"),
            fix=tr("加上 --owner 名称 或 --persona persona.yaml", "give --owner NAME or --persona persona.yaml"),
        )
    if part == "base-model":
        names = persona.base_model.names
        if not names:
            raise BadInput(
                tr("persona 里没有 base_model.names", "the persona has no base_model.names"), where="--from-base-model"
            )
        return names[0], names[0]
    text = {"assistant": persona.name, "owner": persona.owner, "developer": persona.developer}[part]
    return text.get("zh"), text.get("en")


_REASONS = {
    "protected": ("受保护的词", "protected word"),
    "url": ("网址", "URL"),
    "domain": ("域名", "domain"),
    "email": ("邮箱", "e-mail"),
    "code": ("代码", "code"),
    "file": ("文件名", "file name"),
    "handle": ("用户名", "handle"),
    "field": ("角色、编号等字段", "role, id and the like"),
    "key": ("JSON 键", "JSON key"),
    "placeholder": ("没有值的占位符", "placeholder without a value"),
    "spaced": ("可能是旧名，请人看", "perhaps the old name, please look"),
}


def _show(report: Report, args: argparse.Namespace) -> None:
    from identity_kit.rename.show import show_diffs

    for remark in report.remarks:
        say(remark)
    if args.dry_run:
        show_diffs(report)
    for name, fields in report.changed.items():
        by_field = ", ".join(f"{field or '·'} {count}" for field, count in fields.most_common())
        say(f"{name}: {sum(fields.values())}  ({by_field})")
    for counts, examples, style in (
        (report.skipped, report.skipped_examples, "dim"),
        (report.left, report.left_examples, "yellow"),
    ):
        for reason, count in counts.most_common():
            shown = next((e for e in examples if e.first == reason), None)
            place = f"  {shown.where}  {shown.second}" if shown else ""
            title = tr("未改", "left alone") if counts is report.skipped else tr("剩下", "LEFT")
            say(f"{title}: {tr(*_REASONS[reason])} {count}{place}", style=style)
    lines = tr(
        f"{report.changed_lines}/{report.lines} 行有改动", f"{report.changed_lines} of {report.lines} lines changed"
    )
    target = "" if args.dry_run else f" → {args.source if args.in_place else args.output}"
    say(lines + target)
