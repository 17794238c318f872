"""What a run would do: the plan's counts, three of its prompts, and what it would ask, read and cost. Asks nothing."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

from identity_kit.generate.plan import PlannedRow, planned, targets
from identity_kit.generate.prompts import Prompts
from identity_kit.generate.settings import GenerateSettings
from identity_kit.generate.write import Workshop
from identity_kit.llm.cost import estimate_tokens, price
from identity_kit.llm.endpoint import Endpoint
from identity_kit.persona import Persona
from identity_kit.ui import tr

# Rows of each kind whose prompts are rendered for the guess at tokens.
_SAMPLE = 200
# Tokens of a written answer, JSON around it included, seen with several models.
_ANSWER = 90


def preview(
    persona: Persona,
    settings: GenerateSettings,
    *,
    writer: Endpoint | None = None,
    rehearsed: bool = False,
    prompts: Path | None = None,
) -> dict[str, Any]:
    """The plan of a run in figures.

    Returns a mapping: `rows` by kind, `counts` by axis over all planned rows, `prompts` (three, rendered),
    `requests` to the writer and to the model to be tuned, `tokens` (in and out, estimated, the writer's), `cost_usd`
    (None where no price is known). Rows that gates refuse are made again, so a run asks for somewhat more.
    """
    wanted = targets(persona, settings)
    shop = Workshop(persona, settings, Prompts(prompts))
    counts: dict[str, Counter[str]] = {axis: Counter() for axis in ("facet", "style", "language", "system", "turns")}
    shown: list[str] = []
    asked = {"writer": 0, "rehearser": 0}
    tokens_in = 0.0
    for kind, count in wanted.items():
        if kind in ("contrast", "rehearsal") and not rehearsed:
            continue
        sizes: list[int] = []
        before = asked["writer"]
        rows = itertools.islice(planned(kind, persona, settings, writer=writer is not None), count)
        for number, row in enumerate(rows):
            _count(counts, row)
            asked["rehearser"] += kind in ("contrast", "rehearsal")
            if not (row.written or row.varied):
                continue
            asked["writer"] += 1
            if len(sizes) < _SAMPLE:
                prompt = shop.prompt_of(row)
                sizes.append(estimate_tokens(prompt))
                if len(shown) < 3 and number % 7 == len(shown):
                    shown.append(prompt)
        if sizes:
            tokens_in += sum(sizes) / len(sizes) * (asked["writer"] - before)
    tokens_out = asked["writer"] * _ANSWER
    known = writer is not None and writer.price_in is not None
    return {
        "rows": dict(wanted),
        "counts": {axis: dict(sorted(values.items())) for axis, values in counts.items()},
        "prompts": shown,
        "requests": asked,
        "tokens": {"in": int(tokens_in), "out": tokens_out},
        "cost_usd": round(price(writer, int(tokens_in), tokens_out), 4)
        if known and writer
        else (0.0 if writer is None else None),
    }


def _count(counts: dict[str, Counter[str]], row: PlannedRow) -> None:
    counts["facet"][row.facet] += 1
    counts["style"][row.asks[-1].style or "-"] += 1
    counts["language"][row.language] += 1
    counts["system"][row.system] += 1
    counts["turns"][str(len(row.asks))] += 1


def show(found: dict[str, Any]) -> str:
    """The preview as text."""
    lines = [tr("计划（什么都没有写）", "the plan (nothing was written)")]
    lines.append("  " + ", ".join(f"{kind} {count}" for kind, count in found["rows"].items()))
    for axis, values in found["counts"].items():
        if values:
            lines.append(f"{axis}: " + ", ".join(f"{key} {count}" for key, count in values.items()))
    for number, prompt in enumerate(found["prompts"], start=1):
        lines.append("\n" + tr(f"提示词示例 {number}", f"prompt {number}") + "\n" + "-" * 40 + f"\n{prompt}")
    asked, tokens, cost = found["requests"], found["tokens"], found["cost_usd"]
    lines.append("")
    lines.append(
        tr(
            f"请求：写作 {asked['writer']} 次，待训练模型 {asked['rehearser']} 次（被拒绝的行会补做）",
            f"requests: {asked['writer']} to the writer, {asked['rehearser']} to the model to be tuned (refused rows are made again)",
        )
    )
    told = tr("价格未知", "price unknown") if cost is None else f"{cost:.4f} USD"
    lines.append(
        tr(
            f"token 估计：输入 {tokens['in']}，输出 {tokens['out']}；费用 {told}",
            f"tokens, estimated: {tokens['in']} in, {tokens['out']} out; cost {told}",
        )
    )
    return "\n".join(lines)
