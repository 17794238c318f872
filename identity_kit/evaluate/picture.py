"""The before/after picture: one group of bars a suite, one bar a condition, with intervals; fit for a slide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from identity_kit.evaluate.card import Card
from identity_kit.evaluate.labels import display
from identity_kit.files import atomic_open
from identity_kit.text import cjk_share
from identity_kit.ui import Language, language

# Greys for what is not the subject, one strong colour for what is; readable in print and by the colour-blind.
_GREYS = ("#b8bec6", "#8a929c", "#5f6770")
_STRONG = ("#0b6e99", "#58a6c7", "#9ccbe0")
_CJK_FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "PingFang SC", "Microsoft YaHei",
    "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "SimHei", "Heiti SC", "Hiragino Sans GB", "Droid Sans Fallback",
    "Noto Serif CJK SC", "AR PL UMing CN", "SimSun",
)  # fmt: skip


def chinese_font() -> str | None:
    """The name of an installed font with Chinese characters, or None."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in _CJK_FONTS if name in installed), None)


def draw(card: Card, path: Path) -> None:
    """Write the picture as a PNG of 1920 x 1080 pixels, atomically. Chinese only where a font for it is installed."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    font = chinese_font()
    words: Language = language() if font else "en"
    family = [font, "DejaVu Sans"] if font else ["DejaVu Sans"]
    style: dict[Any, Any] = {"font.family": family, "font.size": 15, "axes.unicode_minus": False}
    style["text.parse_math"] = False  # a name may hold a dollar sign
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(16, 9), dpi=120)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.06, 0.12, 0.91, 0.66))
        _bars(axes, card, words)
        figure.text(0.06, 0.92, _headline(card, words, bool(font)), fontsize=27, fontweight="bold", color="#1d2733")
        figure.text(0.06, 0.875, _subline(card, words), fontsize=15, color="#5f6770")
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.005, 1.01), ncols=len(card.labels), frameon=False, fontsize=15,
            handlelength=1.0, handleheight=1.0, columnspacing=1.6,
        )  # fmt: skip
        with atomic_open(path, "wb") as stream:
            figure.savefig(stream, format="png")


def _bars(axes, card: Card, words: Language) -> None:  # type: ignore[no-untyped-def]
    suites, labels = card.suites, card.labels
    width = 0.8 / len(labels)
    size = 13 if len(suites) * len(labels) <= 20 else 9 if len(suites) * len(labels) <= 36 else 7
    colours = _colours(card)
    for place, label in enumerate(labels):
        cells = [(i, cell) for i, suite in enumerate(suites) if (cell := card.cell(label, suite)) is not None]
        at = [i - 0.4 + width * (place + 0.5) for i, _ in cells]
        shares = [100 * cell.share for _, cell in cells]
        low = [max(0.0, share - 100 * cell.low) for share, (_, cell) in zip(shares, cells, strict=True)]
        high = [max(0.0, 100 * cell.high - share) for share, (_, cell) in zip(shares, cells, strict=True)]
        axes.bar(at, shares, width * 0.92, color=colours[label], label=display(label, words), zorder=2)
        axes.errorbar(at, shares, yerr=[low, high], fmt="none", ecolor="#2b3440", elinewidth=1.1, capsize=2.5, zorder=3)
        for x, share, (_, cell) in zip(at, shares, cells, strict=True):
            strong = label == card.subject
            axes.text(
                x, 100 * cell.high + 1.2, f"{share:.0f}", ha="center", va="bottom", fontsize=size,
                fontweight="bold" if strong else "normal", color=colours[label] if strong else "#5f6770", zorder=4,
            )  # fmt: skip
    axes.set_xticks(range(len(suites)), [_tick(card, suite, words) for suite in suites])
    axes.set_ylim(0, 110)
    axes.set_yticks(range(0, 101, 25), [f"{value} %" for value in range(0, 101, 25)])
    axes.grid(axis="y", color="#e3e7ec", linewidth=1, zorder=0)
    axes.tick_params(length=0, colors="#2b3440")
    axes.tick_params(axis="x", labelsize=15 if len(suites) <= 7 else 11)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#b8bec6")


def _colours(card: Card) -> dict[str, str]:
    """The subject in the strong colour, its other settings in lighter ones, everything else in grey."""
    colours = {card.subject: _STRONG[0]}
    kin = card.subject.split(" +")[0].split(",")[0]
    lighter, greys = iter(_STRONG[1:] * len(card.labels)), iter(_GREYS * len(card.labels))
    for label in card.labels:
        if label not in colours:
            colours[label] = next(lighter) if label.startswith(kin) else next(greys)
    return colours


def _tick(card: Card, suite: str, words: Language) -> str:
    cell = card.cell(card.subject, suite) or next(c for label in card.labels if (c := card.cell(label, suite)))
    return f"{display(suite, words)}\nn = {cell.total}"


def _headline(card: Card, words: Language, chinese: bool) -> str:
    if words == "zh":
        return f"{card.name}：调教前后"
    if cjk_share(card.name) == 0 or chinese:
        return f"Before and after: {card.name}"
    return "Did the new identity take? Before and after"


def _subline(card: Card, words: Language) -> str:
    if words == "zh":
        return "未参与训练的探针，通过的百分比；细线为 Wilson 95 % 区间"
    return "Per cent passed on probes held out from training; whiskers are Wilson 95 % intervals"
