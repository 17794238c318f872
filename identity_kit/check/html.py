"""The audit as one page that needs nothing else: verdict, issues, mix, histograms drawn as SVG."""

from __future__ import annotations

from collections import Counter
from html import escape
from pathlib import Path

from identity_kit.check.audit import ISSUES, Audit, verdict_text
from identity_kit.files import write_text
from identity_kit.ui import language, tr

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --paper: #fbfbf9; --line: #d9dbe0; --bar: #3b6ea8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ee; --paper: #15181f; --line: #333a46; --bar: #7aa9dd; } }
body { font: 16px/1.55 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif;
  color: var(--ink); background: var(--paper); max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.verdict { padding: .6rem 1rem; border-left: .4rem solid; font-weight: 600; }
.pass { border-color: #2e8b57; } .warn { border-color: #c98a00; } .fail { border-color: #c0392b; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top;
  padding: .35rem .6rem; border-bottom: 1px solid var(--line); } td.n { text-align: right; }
.error { color: #c0392b; } .warning { color: #b57a00; } code { font-size: .85em; word-break: break-all; }
.row { display: flex; flex-wrap: wrap; gap: 1.5rem; } figure { margin: 0; } figcaption { font-size: .85rem; }
svg text { fill: currentColor; font-size: 11px; } svg rect { fill: var(--bar); }
"""


def write_html(path: Path, audit: Audit) -> None:
    """Write the page, atomically."""
    write_text(path, page(audit))


def page(audit: Audit) -> str:
    """The page's text."""
    tokens = "tokens" if audit.exact_tokens else tr("tokens（估计）", "tokens (estimated)")
    parts = [
        f"<!doctype html><html lang='{'zh-CN' if language() == 'zh' else 'en'}'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{tr('数据检查', 'data check')}</title><style>{_STYLE}</style>",
        f"<h1>{tr('数据检查', 'Data check')} · <code>{escape(audit.source)}</code></h1>",
        f"<p class='verdict {audit.verdict}'>{escape(verdict_text(audit.verdict))}</p>",
        f"<p>{tr(f'{audit.rows} 行，{audit.turns} 个回答', f'{audit.rows} rows, {audit.turns} answers')}</p>",
        "".join(f"<p>{escape(remark)}</p>" for remark in audit.remarks),
        _forecast(audit),
        _issues(audit),
        f"<h2>{tr('组成', 'Mix')}</h2><div class='row'>",
        _bars(tr("种类", "kinds"), audit.kinds),
        _bars(tr("语言", "languages"), audit.languages),
        _bars(tr("方面", "facets"), audit.facets),
        _bars(tr("提到的所有者", "owners named"), audit.owners),
        f"</div><h2>{tr('长度', 'Lengths')}</h2><div class='row'>",
        histogram(tr("问题（字）", "questions (characters)"), audit.question_chars),
        histogram(tr("回答（字）", "answers (characters)"), audit.answer_chars),
        histogram(tokens, audit.tokens),
        "</div></html>\n",
    ]
    return "\n".join(parts)


def _forecast(audit: Audit) -> str:
    f = audit.forecast
    if f is None:
        return ""
    line = tr(
        f"{f.steps} 步优化，身份出现 {f.exposures} 次，占 {f.share:.0%}；每条身份配 {f.balance:g} 条其他问题",
        f"{f.steps} optimiser steps; the identity is seen {f.exposures} times, {f.share:.0%} of the rows; "
        f"{f.balance:g} other rows for each",
    )
    advice = "".join(f"<li>{escape(text)}</li>" for text in f.advice)
    return f"<h2>{tr('训练预测', 'Forecast')}</h2><p>{escape(line)}</p><ul>{advice}</ul>"


def _issues(audit: Audit) -> str:
    if not audit.issues:
        return f"<h2>{tr('问题', 'Issues')}</h2><p>{tr('没有', 'None')}</p>"
    rows = []
    for kind, count in sorted(audit.counts.items(), key=lambda item: (ISSUES[item[0]][0] != "error", -item[1])):
        level, name, cure = ISSUES[kind]
        shown = "<br>".join(f"<code>{escape(i.where)}</code> {escape(i.text)}" for i in audit.examples(kind, 5))
        rows.append(
            f"<tr><td class='{level}'>{escape(tr(*name))}</td><td class='n'>{count}</td>"
            f"<td>{shown}</td><td>{escape(tr(*cure))}</td></tr>"
        )
    heads = "".join(
        f"<th>{text}</th>"
        for text in (tr("问题", "issue"), tr("行数", "rows"), tr("例", "examples"), tr("怎么办", "what to do"))
    )
    return f"<h2>{tr('问题', 'Issues')}</h2><table><tr>{heads}</tr>{''.join(rows)}</table>"


def _bars(title: str, counts: Counter[str]) -> str:
    """A bar chart of the most common of some counts."""
    if not counts:
        return ""
    shown = counts.most_common(12)
    top = shown[0][1]
    lines = []
    for i, (name, count) in enumerate(shown):
        y = 18 * i
        lines.append(
            f"<text x='0' y='{y + 13}'>{escape(name[:18])}</text>"
            f"<rect x='130' y='{y + 3}' width='{max(1, round(140 * count / top))}' height='12'/>"
            f"<text x='{136 + round(140 * count / top)}' y='{y + 13}'>{count}</text>"
        )
    height = 18 * len(shown) + 4
    return f"<figure><svg width='320' height='{height}'>{''.join(lines)}</svg><figcaption>{title}</figcaption></figure>"


def histogram(title: str, values: list[int], *, bins: int = 20) -> str:
    """A histogram as SVG; the few values above the 99th percentile share the last bar."""
    if not values:
        return ""
    ordered = sorted(values)
    top = max(1, ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))])
    width = max(1, -(-(top + 1) // bins))
    counts = Counter(min(value // width, bins - 1) for value in values)
    highest = max(counts.values())
    bars = []
    for i in range(bins):
        tall = round(110 * counts[i] / highest)
        above = "+" if i == bins - 1 else f"–{(i + 1) * width - 1}"
        bars.append(
            f"<rect x='{i * 14}' y='{115 - tall}' width='12' height='{tall}'>"
            f"<title>{i * width}{above}: {counts[i]}</title></rect>"
        )
    axis = f"<text x='0' y='130'>0</text><text x='{bins * 14}' y='130' text-anchor='end'>{bins * width}</text>"
    return (
        f"<figure><svg width='{bins * 14}' height='134' role='img' aria-label='{escape(title)}'>{''.join(bars)}{axis}"
        f"</svg><figcaption>{escape(title)}</figcaption></figure>"
    )
