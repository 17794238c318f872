"""What training on a data set will come to: optimiser steps, exposures of the identity, and what to change."""

from __future__ import annotations

import math
from typing import Literal

from identity_kit.check.audit import Forecast, Schedule
from identity_kit.ui import tr

# Measured on a 0.5B model: 350 exposures of the identity beside one contrast or ordinary row each teach it without
# harm; 273 exposures alone make every 谁/who question be about itself. Below the low mark the identity does not hold.
EXPOSURES = (200, 4000)
STEPS = (30, 5000)
BALANCE = 0.7


def forecast(rows: int, identity: int, schedule: Schedule) -> Forecast:
    """The forecast for `rows` rows of which `identity` state the identity."""
    per_step = schedule.batch_size * schedule.gradient_accumulation
    trained = rows + min(schedule.anchors, rows - identity)
    steps = math.ceil(math.ceil(trained / per_step) * schedule.epochs)
    epochs = schedule.epochs
    if schedule.max_steps and steps > schedule.max_steps:
        epochs = epochs * schedule.max_steps / steps
        steps = schedule.max_steps
    exposures = round(identity * epochs)
    others = rows - identity
    balance = others / identity if identity else 0.0
    share = identity / rows if rows else 0.0
    verdict: Literal["good", "too few", "too many"] = "good"
    if exposures < EXPOSURES[0] or steps < STEPS[0]:
        verdict = "too few"
    elif exposures > EXPOSURES[1] or steps > STEPS[1]:
        verdict = "too many"
    advice = tuple(_advice(rows, identity, exposures, steps, balance, per_step, schedule))
    return Forecast(steps, exposures, round(share, 3), round(balance, 2), verdict, advice)


def _advice(
    rows: int, identity: int, exposures: int, steps: int, balance: float, per_step: int, schedule: Schedule
) -> list[str]:
    advice = []
    if not identity:
        return [
            tr("没有一行说明身份：用 idkit generate 生成", "no row states the identity: write some with idkit generate")
        ]
    if exposures < EXPOSURES[0]:
        needed = math.ceil(EXPOSURES[0] / schedule.epochs) - identity
        if schedule.epochs < 3 and identity * 3 >= EXPOSURES[0]:
            epochs = math.ceil(EXPOSURES[0] / identity)
            advice.append(
                tr(
                    f"身份只出现 {exposures} 次，太少：把 epochs 设为 {epochs}，或再加 {needed} 行",
                    f"the identity is seen only {exposures} times: set epochs to {epochs}, or add {needed} rows",
                )
            )
        else:
            advice.append(
                tr(
                    f"身份只出现 {exposures} 次，太少：再加约 {needed} 行身份数据",
                    f"the identity is seen only {exposures} times: add about {needed} identity rows",
                )
            )
    if exposures > EXPOSURES[1]:
        epochs = max(1, math.floor(EXPOSURES[1] / identity))
        advice.append(
            tr(
                f"身份出现 {exposures} 次，太多，模型会背诵：epochs 降到 {epochs}，或减到 {EXPOSURES[1] // epochs} 行",
                f"the identity is seen {exposures} times, the model will parrot: set epochs to {epochs}, or keep "
                f"{EXPOSURES[1] // epochs} identity rows",
            )
        )
    if balance < BALANCE:
        needed = math.ceil(BALANCE * identity) - (rows - identity)
        advice.append(
            tr(
                f"每条身份只配 {balance:.2f} 条其他问题，模型会把一切“谁”都当成问自己：再加 {needed} 行对比和日常问题",
                f"only {balance:.2f} other rows for each identity row, every “who” will be about itself: add {needed} "
                "contrast and ordinary rows",
            )
        )
    if steps < STEPS[0]:
        smaller = max(1, int(rows * schedule.epochs / STEPS[0]))
        advice.append(
            tr(
                f"只有 {steps} 步优化，太少：每步行数从 {per_step} 降到 {smaller}，或加数据",
                f"only {steps} optimiser steps: lower the rows a step from {per_step} to {smaller}, or add data",
            )
        )
    if steps > STEPS[1]:
        advice.append(
            tr(
                f"有 {steps} 步，太多：减少轮数或设 max_steps",
                f"{steps} steps are many: fewer epochs, or set max_steps",
            )
        )
    return advice
