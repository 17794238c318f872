"""The audit on a terminal."""

from __future__ import annotations

from identity_kit.check.audit import ISSUES, Audit, quantiles, verdict_text
from identity_kit.ui import console, quiet, say, tr

_STYLE = {"pass": "bold green", "warn": "bold yellow", "fail": "bold red"}


def show_audit(audit: Audit) -> None:
    """Print the mix, the issues with their first places, the forecast and the verdict."""
    from rich.markup import escape
    from rich.table import Table

    for remark in audit.remarks:
        say(remark)
    if not quiet():
        say(tr(f"{audit.rows} 行，{audit.turns} 个回答", f"{audit.rows} rows, {audit.turns} answers"))
        for title, counts in (
            (tr("种类", "kinds"), audit.kinds),
            (tr("语言", "languages"), audit.languages),
            (tr("所有者", "owners named"), audit.owners),
            (tr("方面", "facets"), audit.facets),
        ):
            if counts:
                say(f"{title}: " + ", ".join(f"{name} {count}" for name, count in counts.most_common(8)))
        if audit.missing_facets:
            say(tr("没有覆盖的方面：", "facets not covered: ") + ", ".join(audit.missing_facets), style="yellow")
        about = "" if audit.exact_tokens else tr("（估计）", " (estimated)")
        spread = quantiles(audit.tokens)
        if spread:
            say(f"tokens{about}: " + ", ".join(f"{key} {value:g}" for key, value in spread.items()))
    if audit.issues and not quiet():
        table = Table(box=None, pad_edge=False)
        for title in (tr("问题", "issue"), tr("行数", "rows"), tr("例", "for example"), tr("怎么办", "what to do")):
            table.add_column(title, overflow="fold")
        order = sorted(audit.counts, key=lambda kind: (ISSUES[kind][0] != "error", -audit.counts[kind]))
        for kind in order:
            level, name, cure = ISSUES[kind]
            shown = "\n".join(f"{issue.where}  {issue.text}" for issue in audit.examples(kind, 2))
            style = "red" if level == "error" else "yellow"
            table.add_row(f"[{style}]{tr(*name)}[/]", str(audit.counts[kind]), escape(shown), tr(*cure))
        console().print(table)
    if audit.forecast:
        f = audit.forecast
        verdict = {"good": tr("合适", "good"), "too few": tr("太少", "too few"), "too many": tr("太多", "too many")}
        say(
            tr(
                f"预测：{f.steps} 步优化，身份出现 {f.exposures} 次（占 {f.share:.0%}）：{verdict[f.verdict]}",
                f"forecast: {f.steps} optimiser steps, identity seen {f.exposures} times "
                f"({f.share:.0%} of rows): {verdict[f.verdict]}",
            )
        )
        for advice in f.advice:
            say(f"  → {advice}", style="yellow")
    say(verdict_text(audit.verdict), style=_STYLE[audit.verdict])
