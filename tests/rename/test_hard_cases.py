"""Every hard case comes out right; a beginner's script gets most of them wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from identity_kit.rename import make_rules, rename_file, rename_text
from tests.rename.hard_cases import JSON_LINES, TEXTS, Case, course_script


def rules_of(case: Case):
    return make_rules(case.pairs, protect=case.protect, match_case=case.match_case)


@pytest.mark.parametrize("case", TEXTS, ids=lambda case: case.text[:24])
def test_text(case: Case) -> None:
    assert rename_text(case.text, rules_of(case)) == case.expected


@pytest.mark.parametrize("case", TEXTS, ids=lambda case: case.text[:24])
def test_the_same_text_in_a_file(case: Case, tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    row = {"conversation": [{"system": "", "input": "?", "output": case.text}]}
    for ascii_only in (False, True):
        source.write_text(json.dumps(row, ensure_ascii=ascii_only) + "\n", encoding="utf-8")
        rename_file(source, target, rules_of(case))
        assert json.loads(target.read_text(encoding="utf-8"))["conversation"][0]["output"] == case.expected


@pytest.mark.parametrize("case", JSON_LINES, ids=lambda case: case.text[:40])
def test_json_line(case: Case, tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(case.text + "\n", encoding="utf-8")
    rename_file(source, target, rules_of(case))
    assert target.read_text(encoding="utf-8") == case.expected + "\n"


@pytest.mark.parametrize("case", TEXTS, ids=lambda case: case.text[:24])
def test_a_second_run_changes_nothing_more(case: Case) -> None:
    olds, news = {old for old, _, _ in case.pairs}, {new for _, new, _ in case.pairs}
    if olds & news:  # a swap undoes itself
        return
    once = rename_text(case.text, rules_of(case))
    assert rename_text(once, rules_of(case)) == once


def test_the_list_is_long_and_hard_for_a_beginners_script() -> None:
    cases = [*TEXTS, *JSON_LINES]
    wrong = sum(course_script(case.text, case.pairs) != case.expected for case in cases)
    assert len(cases) >= 120
    assert wrong >= 100
