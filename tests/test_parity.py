"""A loss is a share below the merged model's interval, in the same setting."""

from __future__ import annotations

import pytest

from identity_kit.evaluate.card import Card, Cell, ConditionCard
from identity_kit.evaluate.statistics import wilson
from identity_kit.parity import Parity, find_losses, show_parity


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
    (loss,) = find_losses(card(condition("hf", 58), condition("Q4_K_M", 40)))
    assert loss.model == "Q4_K_M"
    assert "Q4_K_M keeps only 40/60 of recall" in loss.words
    assert "58/60" in loss.words


def test_with_a_system_message_the_reference_has_one_too() -> None:
    settings = [condition("hf", 58), condition("hf + system", 40), condition("F16", 57), condition("F16 + system", 38)]
    assert list(find_losses(card(*settings))) == []
    settings[3] = condition("F16 + system", 10)
    assert [loss.model for loss in find_losses(card(*settings))] == ["F16"]


def test_what_lost_and_what_kept_the_identity_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    measured = card(condition("hf", 58), condition("Q8_0", 57), condition("Q4_K_M", 20))
    show_parity(Parity(measured, tuple(find_losses(measured))))
    assert "Q4_K_M lost the identity, Q8_0 kept it: take a higher quantisation" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_model_that_never_had_the_identity_cannot_keep_it(capsys: pytest.CaptureFixture[str]) -> None:
    measured = card(condition("hf", 3), condition("Q8_0", 4))
    show_parity(Parity(measured, tuple(find_losses(measured))))
    said = " ".join(capsys.readouterr().err.split())
    assert "gives its identity only 3 times of 60" in said
    assert "survived" not in said
