"""The card for people: a terminal table, report.md, and the files of a report folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from identity_kit.evaluate.ask import FILTERED
from identity_kit.evaluate.card import Card, Cell, Result, Retention, side_by_side
from identity_kit.evaluate.labels import MEANING, display
from identity_kit.files import write_text
from identity_kit.text import shorten
from identity_kit.ui import tr

if TYPE_CHECKING:
    from rich.table import Table

SIGNIFICANT = 0.05
_SIDE_BY_SIDE = 3  # conditions that fit beside each other on a terminal of 80 columns


def write_report(card: Card, folder: Path) -> None:
    """Write report.json, report.md and before_after.png into a folder, each whole or not at all."""
    from identity_kit.evaluate.picture import draw

    card.save(folder / "report.json")
    write_text(folder / "report.md", markdown(card))
    draw(card, folder / "before_after.png")


def table(card: Card) -> Table:
    """The figures as a table for the terminal: a row for each suite and language, a column for each condition.

    More conditions than stand side by side get a row each, with both languages together.
    """
    from rich.markup import escape
    from rich.table import Table

    if len(card.labels) > _SIDE_BY_SIDE:
        return _table_by_condition(card)
    view = Table(title=escape(_title(card)), title_justify="left", header_style="bold")
    view.add_column(tr("套件", "suite"))
    view.add_column("")
    for label in card.labels:
        view.add_column(escape(display(label)), justify="right")
    for suite in card.suites:
        for spoken in _languages(card, suite):
            first = spoken == _languages(card, suite)[0]
            cells = [_terminal_cell(card, label, suite, spoken) for label in card.labels]
            view.add_row(escape(display(suite)) if first else "", spoken, *cells, end_section=spoken == "all")
    return view


def _table_by_condition(card: Card) -> Table:
    from rich.markup import escape
    from rich.table import Table

    view = Table(title=escape(_title(card)), title_justify="left", header_style="bold")
    view.add_column("")
    for suite in card.suites:
        view.add_column(escape(display(suite)), justify="right")
    for label in card.labels:
        cells = [card.cell(label, suite) for suite in card.suites]
        view.add_row(
            escape(display(label)),
            *(f"{cell.passed:g}/{cell.total} {cell.share:4.0%}" if cell else "–" for cell in cells),
        )
    return view


def side_by_side_table(card: Card) -> Table:
    """Five probes with the baseline's and the subject's answers next to each other, for the terminal."""
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    view = Table(header_style="bold", show_lines=True, expand=True)
    view.add_column(tr("问题", "question"), ratio=3)
    shown = tuple(dict.fromkeys((card.baseline, card.subject)))
    for label in shown:
        view.add_column(escape(display(label)), ratio=4)
    for row in side_by_side(card):
        by_label = {result.condition: result for result in row}
        cells = [Text(shorten(row[0].messages[-1]["content"], 160))]
        for label in shown:
            result = by_label.get(label)
            if result is None:
                cells.append(Text("–"))
                continue
            mark = ("✓ ", "green") if result.passed else ("✗ ", "red")
            cells.append(Text.assemble(mark, shorten(result.answers[-1], 240)))
        view.add_row(*cells)
    return view


def markdown(card: Card) -> str:
    """The whole card as Markdown, failing transcripts included."""
    parts = [
        f"# {_title(card)}",
        tr(
            f"{card.created} · 探针：{card.split} · 用时 {card.seconds:.0f} 秒 · {counted(card)}",
            f"{card.created} · probes: {card.split} · {card.seconds:.0f} s · {counted(card)}",
        ),
        _leaks(card),
        "\n".join(f"- {line}" for line in card.notes),
        _figures(card),
        tr(
            "每格：通过/总数 = 比例 [Wilson 95 % 区间]。抽样的条件：通过数是每次抽样的平均，区间按探针数计，“每次都过”另列。",
            "A cell: passed/asked = share [Wilson 95 % interval]. Where answers were sampled, passed is the mean over draws, "
            "the interval counts probes, and “always” says how many passed in every draw.",
        ),
        "![](before_after.png)",
        _comparisons(card),
        _retention(card),
        _side_by_side(card),
        _not_measured(card),
        _failures(card),
        _provenance(card),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def counted(card: Card) -> str:
    """How many answers were asked for, and how many were at hand from before."""
    return tr(
        f"这次问了 {card.answers_asked} 个回答，{card.answers_kept} 个取自先前的记录",
        f"{card.answers_asked} answers asked for now, {card.answers_kept} from the journal",
    )


def _leaks(card: Card) -> str:
    if not card.leaks:
        return ""
    words = tr(
        "**注意：下列探针与训练问题措辞相同或相近，成绩偏高：**",
        "**Mind: these probes are worded like training questions, so the figures flatter:**",
    )
    return words + "\n\n" + "\n".join(f"- {line}" for line in card.leaks)


def _title(card: Card) -> str:
    return tr(f"身份评测：{card.name}", f"Identity report card: {card.name}")


def _languages(card: Card, suite: str) -> list[str]:
    spoken = {cell.language for condition in card.conditions for cell in condition.cells if cell.suite == suite}
    if spoken >= {"zh", "en"}:
        return ["zh", "en", "all"]
    return [one for one in ("zh", "en") if one in spoken]


def _terminal_cell(card: Card, label: str, suite: str, spoken: str) -> str:
    cell = card.cell(label, suite, spoken)  # type: ignore[arg-type]
    if cell is None:
        return "–"
    text = f"{cell.passed:g}/{cell.total}  {cell.share:4.0%}  [dim]{cell.low:3.0%}–{cell.high:3.0%}[/dim]"
    return f"[bold]{text}[/bold]" if spoken == "all" else text


def _cell_text(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    text = f"{cell.passed:g}/{cell.total} = {cell.share:.1%} [{cell.low:.1%}, {cell.high:.1%}]"
    if cell.always is not None:
        text += tr(f"，每次都过 {cell.always}", f", always {cell.always}")
    return text


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in lines
    )


def _figures(card: Card) -> str:
    rows = []
    for suite in card.suites:
        for spoken in _languages(card, suite):
            cells = [_cell_text(card.cell(label, suite, spoken)) for label in card.labels]  # type: ignore[arg-type]
            rows.append([display(suite), spoken, *cells])
    return _rows([tr("套件", "suite"), "", *(display(label) for label in card.labels)], rows)


def _comparisons(card: Card) -> str:
    rows = []
    for item in card.comparisons:
        if card.subject not in (item.first, item.second):
            continue
        verdict = tr("有差别", "differ") if item.p < SIGNIFICANT else tr("分不出", "no difference shown")
        rows.append(
            [
                display(item.suite), display(item.first), display(item.second), str(item.only_first),
                str(item.only_second), f"{item.p:.3g}", verdict,
            ]
        )  # fmt: skip
    if not rows:
        return ""
    head = [tr("套件", "suite"), "A", "B", tr("只有 A 过", "only A"), tr("只有 B 过", "only B"), "p", ""]
    title = tr("配对比较（McNemar 精确检验，同一批探针）", "Paired comparison (McNemar's exact test, same probes)")
    return f"## {title}\n\n" + _rows(head, rows)


def _retention(card: Card) -> str:
    parts = []
    if card.retention:
        spoken = list(dict.fromkeys(key for row in card.retention for key in row.bits_per_byte))
        rows = [[display(r.label), *(_bits(r, key) for key in spoken)] for r in card.retention]
        title = tr(
            "通用文本的每字节比特数（越低越好；括号里是比基线多多少，及其 95 % 区间）",
            "Bits per byte on general text (lower is better; in brackets how many more than the baseline's, and the 95 % interval)",
        )
        parts.append(f"## {title}\n\n" + _rows(["", *spoken], rows))
    if card.harness:
        tasks = list(dict.fromkeys(task for scores in card.harness.values() for task in scores))
        rows = [
            [display(label), *(f"{scores[task]:.4f}" if task in scores else "–" for task in tasks)]
            for label, scores in card.harness.items()
        ]
        parts.append("## lm-evaluation-harness\n\n" + _rows(["", *tasks], rows))
    if card.judge_agreement:
        agreed = ", ".join(f"{display(suite)} {share:.1%}" for suite, share in card.judge_agreement.items())
        parts.append(
            f"## {tr('第二判官（LLM）与规则的一致率', 'Agreement of the second judge (an LLM) with the rules')}\n\n{agreed}"
        )
    return "\n\n".join(parts)


def _bits(row: Retention, language: str) -> str:
    text = f"{row.bits_per_byte[language]:.3f}"
    if language not in row.more:
        return text
    more, low, high = row.more[language]
    return f"{text} ({more:+.3f}, {low:+.3f} … {high:+.3f})"


def _side_by_side(card: Card) -> str:
    rows = []
    for row in side_by_side(card):
        by_label = {result.condition: result for result in row}
        cells = []
        for label in card.labels:
            result = by_label.get(label)
            cells.append(f"{'✓' if result.passed else '✗'} {shorten(result.answers[-1], 300)}" if result else "–")
        rows.append([row[0].messages[-1]["content"], *cells])
    if not rows:
        return ""
    title = tr("并排看（每套件的第一个探针，不是挑的）", "Side by side (the first probe of each suite, not picked)")
    return f"## {title}\n\n" + _rows([tr("问题", "question"), *(display(label) for label in card.labels)], rows)


def _not_measured(card: Card) -> str:
    meaning = "\n".join(f"- **{display(s)}**: {tr(*MEANING[s])}" for s in card.suites if s in MEANING)
    missing = "\n".join(f"- {line}" for line in card.not_measured)
    return (
        f"## {tr('每个套件测什么', 'What each suite asks for')}\n\n{meaning}\n\n"
        f"## {tr('没有测的', 'What was not measured')}\n\n{missing}"
    )


def _failures(card: Card) -> str:
    failed = card.failures()
    title = tr(f"没通过的对话：{display(card.subject)}", f"Failing transcripts: {display(card.subject)}")
    if not failed:
        return f"## {title}\n\n" + tr("没有。", "None.")
    return f"## {title} ({len(failed)})\n\n" + "\n\n".join(_transcript(result) for result in failed)


def _transcript(result: Result) -> str:
    lines = [f"**{result.probe}** · {display(result.suite)} · {result.family} · {result.why}", ""]
    if result.system:
        lines.append(_quoted("system", result.system))
    if len(result.answers) > 1:
        users = [message["content"] for message in result.messages if message["role"] == "user"]
        for turn, said in enumerate(users[: len(result.answers)]):
            lines += [_quoted("user", said), *_answered(result, turn)]
    else:
        lines += [_quoted(message["role"], message["content"]) for message in result.messages]
        lines += _answered(result, len(result.answers) - 1)
    return "\n".join(lines)


def _answered(result: Result, turn: int) -> list[str]:
    """An answer, after the beginning of what was thought before it; why there is none, where that is known."""
    thought = result.thoughts[turn] if result.thoughts else ""
    lines = [_quoted(tr("思考", "thoughts"), shorten(thought, 300))] if thought else []
    answer = result.answers[turn]
    if not answer and result.finish_reasons[turn] == FILTERED:
        answer = tr("（被服务方的内容过滤拦下）", "(withheld by the provider's content filter)")
    elif not answer and thought:
        answer = tr("（只有思考，没有作答）", "(thoughts only, no answer)")
    return [*lines, _quoted("assistant", answer)]


def _quoted(role: str, text: str) -> str:
    body = text.strip().replace("\n", "  \n> ") or tr("（空）", "(empty)")
    return f"> *{role}*: {body}  "


def _provenance(card: Card) -> str:
    rows = [[key, value] for key, value in card.hashes.items()]
    rows += [
        [display(condition.label), condition.fingerprint] for condition in card.conditions if condition.fingerprint
    ]
    settings = ", ".join(f"{key}={value}" for key, value in card.settings.items())
    title = tr("出处（SHA-256）", "Provenance (SHA-256)")
    return f"## {title}\n\n" + _rows(["", "sha256"], rows) + f"\n\n{settings}"
