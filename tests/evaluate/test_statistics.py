"""The formulas against values worked out elsewhere, and against what must hold for any input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity_kit.evaluate.statistics import mcnemar, mean_difference, wilson


@pytest.mark.parametrize(
    ("passed", "total", "low", "high"),
    [
        # Computed by hand from Wilson's formula with z = 1.95996.
        (0, 10, 0.0, 0.27753),
        (10, 10, 0.72247, 1.0),
        (9, 10, 0.59585, 0.98213),
        (50, 100, 0.40383, 0.59617),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_interval(passed, total, low, high):
    assert wilson(passed, total) == pytest.approx((low, high), abs=2e-5)


@given(st.integers(1, 500).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_share_lies_inside_its_interval(pair):
    passed, total = pair
    low, high = wilson(passed, total)
    assert 0 <= low <= passed / total <= high <= 1


def test_mcnemar_is_the_exact_two_sided_binomial():
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(3, 3) == 1.0
    assert mcnemar(0, 5) == pytest.approx(2 / 32)
    assert mcnemar(1, 9) == pytest.approx(2 * 11 / 1024)
    assert mcnemar(9, 1) == mcnemar(1, 9)


@pytest.mark.parametrize(("units", "quantile"), [(3, 4.3027), (6, 2.5706), (12, 2.2010), (21, 2.0860), (61, 2.0003)])
def test_units_of_one_size_give_students_interval_of_the_mean(units, quantile):
    differences = [float(i % 5) for i in range(units)]
    mean = sum(differences) / units
    error = (sum((d - mean) ** 2 for d in differences) / (units - 1) / units) ** 0.5
    found = mean_difference([(d, 1.0) for d in differences])
    assert found == pytest.approx((mean, mean - quantile * error, mean + quantile * error), abs=2e-3)


def test_a_difference_is_weighed_by_the_size_of_its_unit():
    assert mean_difference([(1.0, 10.0), (3.0, 30.0)]) == pytest.approx((0.1, 0.1, 0.1))
