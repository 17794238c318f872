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
EXAMPLES = ("idkit doctor", "idkit doctor --json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help=tr("输出 JSON", "print JSON"))


def run(args: argparse.Namespace) -> int | None:
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
