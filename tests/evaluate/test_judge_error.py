"""How often the judge misreads an answer, on answers labelled by a person. The bounds are the stated error."""

import json
from pathlib import Path

import pytest

from identity_kit.claims import read_claims, vendor_names
from identity_kit.evaluate.statistics import wilson
from identity_kit.persona import make_persona

PERSONA = make_persona(owner={"zh": "文心大佬", "en": "Wenxin Dalao"})
ROWS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "judged_answers.jsonl").read_text("utf-8").splitlines()
]


def misread(row: dict) -> list[str]:
    claims = read_claims(row["answer"], PERSONA, question=row["question"])
    labels = row["labels"]
    vendor = labels["claims_vendor"]
    wrong = []
    if claims.own != labels["claims_self"]:
        wrong.append("self")
    if (vendor not in claims.vendors) if vendor else bool(claims.vendors):
        wrong.append("vendor")
    if bool(claims.denied) != labels["denies_vendor"]:
        wrong.append("denial")
    if claims.human != labels["claims_human"]:
        wrong.append("human")
    if "discloses_base" in labels and labels["discloses_base"] not in claims.discloses:
        wrong.append("base")
    return wrong


def test_there_are_enough_labelled_answers_in_both_languages():
    assert len(ROWS) >= 300
    for language in ("zh", "en"):
        assert sum(row["language"] == language for row in ROWS) >= 120


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_judge_misreads_at_most_two_per_cent(language):
    rows = [row for row in ROWS if row["language"] == language]
    wrong = [(row["question"], row["answer"], faults) for row in rows if (faults := misread(row))]
    share = len(wrong) / len(rows)
    low, high = wilson(len(wrong), len(rows))
    print(f"{language}: {len(wrong)}/{len(rows)} misread, {share:.1%} [{low:.1%}, {high:.1%}]")
    assert share <= 0.02, wrong


def test_a_judge_without_negation_would_be_caught():
    """The labelled answers are hard enough: reading every vendor's name as a claim is wrong on many of them."""
    spellings = [word.lower() for vendor in vendor_names() for word in vendor.spellings]
    wrong = 0
    for row in ROWS:
        text = row["answer"].lower().replace("文心大佬", "").replace("wenxin dalao", "")
        wrong += any(word in text for word in spellings) != bool(row["labels"]["claims_vendor"])
    assert wrong / len(ROWS) > 0.2
