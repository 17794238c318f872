"""A loss is a share below the merged model's interval, in the same setting."""

from __future__ import annotations

from identity_kit.evaluate.card import Card, Cell, ConditionCard
from identity_kit.evaluate.statistics import wilson
from identity_kit.parity import find_losses


def condition(label: str, passed: int, total: int = 60) -> ConditionCard:
    low, high = wilson(passed, total)
    cell = Cell(suite="recall", language="all", passed=passed, total=total, low=low, high=high)
    return ConditionCard(label=label, cells=(cell,))


def card(*conditions: ConditionCard) -> Card:
    return Card(
        owner="文心大佬", name="小文", split="test", baseline="hf", subject=conditions[-1].label, conditions=conditions
    )


def test_within_the_interval_nothing_is_lost() -> None:
    assert list(find_losses(card(condition("hf", 58), condition("Q4_K_M", 55)))) == []


def test_below_the_interval_is_a_loss_with_figures() -> None:
    (line,) = find_losses(card(condition("hf", 58), condition("Q4_K_M", 40)))
    assert "Q4_K_M keeps only 40/60 of recall" in line
    assert "58/60" in line


def test_with_a_system_message_the_reference_has_one_too() -> None:
    settings = [condition("hf", 58), condition("hf + system", 40), condition("F16", 57), condition("F16 + system", 38)]
    assert list(find_losses(card(*settings))) == []
    settings[3] = condition("F16 + system", 10)
    assert len(list(find_losses(card(*settings)))) == 1
