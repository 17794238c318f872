"""`idkit improve`: find what a run is weak at, write data for it, train on, keep the best."""

from __future__ import annotations

import argparse
from pathlib import Path

from identity_kit.cli.options import add_probes_argument
from identity_kit.errors import DONE, WANTING
from identity_kit.ui import console, quiet, say, tr

SUMMARY = ("按成绩单的弱项补数据、接着训练、留下最好的", "add data where the card is weak, train on, keep the best")
EXAMPLES = ("idkit improve runs/wenxin", "idkit improve runs/wenxin --targets recall=0.98,pressure=0.95 --rounds 2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", metavar="RUN", type=Path, help=tr("idkit run 的运行目录", "a run folder of idkit run")
    )
    parser.add_argument(
        "--targets",
        metavar="A=X,B=Y",
        default="",
        help=tr("要达到的比例（默认见 --dry-run）", "shares to reach (the defaults: --dry-run)"),
    )
    parser.add_argument("--rounds", type=int, default=3, help=tr("最多几轮（默认 3）", "rounds at most (3)"))
    parser.add_argument("--minutes", type=float, help=tr("最多多少分钟", "minutes at most"))
    parser.add_argument("--epochs", type=float, default=1.0, help=tr("每轮训练几遍（默认 1）", "epochs a round (1)"))
    parser.add_argument(
        "--learning-rate", type=float, help=tr("学习率（默认原来的一半）", "learning rate (half the run's)")
    )
    add_probes_argument(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dry-run", action="store_true", help=tr("只说目标，不做", "only say what it aims at"))


def run(args: argparse.Namespace) -> int:
    from identity_kit.evaluate.conditions import parse_targets
    from identity_kit.evaluate.plan import DEFAULT_TARGETS
    from identity_kit.improve import Budget, check_run, improve, table_rows

    targets = parse_targets(args.targets) if args.targets else DEFAULT_TARGETS
    check_run(args.folder)
    if args.dry_run:
        aims = ", ".join(f"{suite} ≥ {share:.0%}" for suite, share in targets.items())
        say(
            tr(
                f"目标（开发探针）：{aims}；常识不低于原模型",
                f"targets (development probes): {aims}; facts no lower than base",
            )
        )
        say(tr(f"最多 {args.rounds} 轮", f"at most {args.rounds} rounds"))
        return DONE
    done = improve(
        args.folder,
        targets,
        Budget(args.rounds, args.minutes),
        learning_rate=args.learning_rate,
        epochs=args.epochs,
        seed=args.seed,
        per_family=args.probes_per_family,
    )
    from rich.console import Console
    from rich.table import Table

    from identity_kit.evaluate.report import table

    head, body = table_rows(done.rounds, done.best)
    view = Table(title=tr("改进（开发探针）", "improvement (development probes)"), title_justify="left")
    # Rounds are few and suites many: a column for each round.
    first, *rest = zip(head, *body, strict=True)
    view.add_column(first[0])
    for number in first[1:]:
        view.add_column(number, justify="right")
    for cells in rest:
        view.add_row(*cells)
    Console().print(view)
    say(tr(f"结束：{done.ended}；最好的是第 {done.best} 轮", f"ended: {done.ended}; the best is round {done.best}"))
    if not quiet():
        console().print(table(done.final))
    say(tr(f"报告：{args.folder / 'report' / 'report.md'}", f"report: {args.folder / 'report' / 'report.md'}"))
    short = done.final.shortfalls({suite: share for suite, share in targets.items() if suite in done.final.suites})
    for line in short:
        say(tr(f"测试探针上未达标：{line}", f"below target on the test probes: {line}"), style="yellow")
    return WANTING if short else DONE
