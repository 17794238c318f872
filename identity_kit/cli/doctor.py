"""`idkit doctor`: what this machine can train, what is missing, and the fix."""

from __future__ import annotations

import argparse
import json

from identity_kit.errors import WANTING
from identity_kit.ui import tr

SUMMARY = (
    "检查这台机器：能训练什么、缺什么、怎么补",
    "check this machine: what it can train, what is missing, the fix",
)
EXAMPLES = (
    "idkit doctor",
    "idkit doctor --json",
    "idkit doctor --endpoint deepseek",
    "idkit doctor --endpoint http://127.0.0.1:8000/v1",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help=tr("输出 JSON", "print JSON"))
    parser.add_argument(
        "--endpoint",
        metavar="URL|PROVIDER",
        help=tr("看看一个模型接口：发三个很小的请求", "look at a model endpoint instead: three tiny requests"),
    )
    parser.add_argument("--llm", metavar="NAME", help=tr("接口上的模型名", "the model's name there"))
    parser.add_argument(
        "--api-key-env", metavar="VAR", help=tr("存放密钥的环境变量", "environment variable with the key")
    )


def run(args: argparse.Namespace) -> int | None:
    if args.endpoint:
        return _endpoint(args)
    from identity_kit.doctor import examine

    findings = examine()
    if args.json:
        print(json.dumps([finding.__dict__ for finding in findings], ensure_ascii=False, indent=2))
    else:
        from rich.console import Console

        console = Console(highlight=False)
        marks = {"ok": "[green]✓[/]", "note": "[yellow]•[/]", "bad": "[red]✗[/]"}
        for finding in findings:
            console.print(marks[finding.state] + " ", end="")
            console.print(f"{finding.what}: {finding.found}", markup=False, soft_wrap=True)
            if finding.fix:
                console.print(f"    → {finding.fix}", markup=False, soft_wrap=True)
    return WANTING if any(finding.state == "bad" for finding in findings) else None


def _endpoint(args: argparse.Namespace) -> int | None:
    from dataclasses import asdict

    from identity_kit.llm.endpoint import make_endpoint
    from identity_kit.llm.probe import probe_endpoint

    address = args.endpoint if "://" in args.endpoint else None
    report = probe_endpoint(
        make_endpoint(
            provider=None if address else args.endpoint, base_url=address, model=args.llm, key_variable=args.api_key_env
        )
    )
    if args.json:
        print(json.dumps(asdict(report), ensure_ascii=False, indent=2))
        return None if report.works else WANTING
    shown = ", ".join(report.models[:8]) + (f" … ({len(report.models)})" if len(report.models) > 8 else "")
    rows = (
        (tr("地址", "address"), report.base_url),
        (tr("模型", "models"), shown or tr("没有列表", "no list")),
        (tr("回答", "answer"), f"{report.model}: {report.answer[:80]} ({report.seconds:.2f} s)"),
        (tr("输出格式", "answer formats"), ", ".join(report.structured)),
        (tr("限额", "limits told"), ", ".join(f"{name}={value}" for name, value in report.limits.items()) or "-"),
        *((tr("备注", "remark"), remark) for remark in report.remarks),
    )
    for what, found in rows:
        print(f"{what}: {found}")
    return None if report.works else WANTING
