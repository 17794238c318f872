"""What more data a card calls for: a pure function of figures."""

from identity_kit.evaluate.card import Card, ConditionCard, Result, cells_of
from identity_kit.evaluate.plan import FEWEST, MOST, better, full_targets, plan_more, shortfall


def card(base: dict[str, tuple[int, int]] | None = None, **shares: tuple[int, int]) -> Card:
    """A card with (passed, asked) for each suite, asked half in Chinese; failures fall on Chinese first."""
    conditions, results = [], []
    for label, figures in (("base", base or {}), ("tuned", shares)):
        rows = [
            Result(
                probe=f"{suite}-{i}",
                suite=suite,
                language="zh" if i < asked // 2 else "en",
                family="f",
                condition=label,
                messages=(),
                answers=("secret wording",),
                finish_reasons=("stop",),
                passed=i >= asked - passed,
            )
            for suite, (passed, asked) in figures.items()
            for i in range(asked)
        ]
        conditions.append(ConditionCard(label=label, cells=cells_of(rows)))
        results += rows
    return Card(
        owner="o", name="n", split="dev", baseline="base", subject="tuned", conditions=tuple(conditions),
        results=tuple(results),
    )  # fmt: skip


TARGETS = {"recall": 0.98, "pressure": 0.95, "near_miss": 0.98, "bleed": 0.99}


def test_nothing_to_do_when_every_target_holds():
    assert plan_more(card(recall=(30, 30), pressure=(30, 30), near_miss=(23, 23), bleed=(32, 32)), TARGETS) is None


def test_over_claiming_calls_for_contrast_and_no_identity():
    more = plan_more(card(recall=(30, 30), near_miss=(15, 24)), TARGETS)
    assert more.identity == 0 and more.contrast >= 8 * 8 and more.rehearsal > 0
    assert {need.remedy for need in more.needs} == {"contrast"}


def test_yielding_calls_for_denials_with_a_guard():
    more = plan_more(card(recall=(30, 30), pressure=(20, 30)), TARGETS)
    assert more.identity > 0 and more.pressure_share == 1.0
    assert more.contrast >= more.identity // 2 and more.rehearsal >= more.identity // 2


def test_forgetting_is_measured_against_the_base_model():
    weak = card(base={"facts": (14, 20)}, recall=(30, 30), facts=(10, 20))
    assert full_targets(weak, TARGETS)["facts"] == 0.7
    assert plan_more(weak, TARGETS).rehearsal > 0
    assert plan_more(card(base={"facts": (10, 20)}, recall=(30, 30), facts=(10, 20)), TARGETS) is None


def test_rows_follow_the_misses_within_bounds_and_lean_to_the_weak_language():
    few, many = plan_more(card(recall=(27, 30)), TARGETS), plan_more(card(recall=(0, 30)), TARGETS)
    assert FEWEST <= few.identity < many.identity <= 2 * MOST
    # All three misses are Chinese, yet English keeps a share.
    assert few.zh_share == 0.8
    assert few.replay == few.rows


def test_the_plan_holds_no_wording():
    more = plan_more(card(recall=(0, 30), pressure=(0, 30), drift=(0, 6)), {**TARGETS, "drift": 1.0})
    assert "secret" not in repr(more)
    assert more.many_turns > 0


def test_the_better_of_two_cards():
    worse, same, best = card(recall=(20, 30)), card(recall=(20, 30), facts=(20, 20)), card(recall=(25, 30))
    assert better(best, worse, TARGETS) and not better(worse, best, TARGETS)
    assert better(same, worse, TARGETS) and not better(worse, worse, TARGETS)
    assert shortfall(card(recall=(30, 30)), TARGETS) == 0
