"""No probe shares its wording with a training question: equal text, or character 3-gram Jaccard of 0.5 and more."""

import json
from pathlib import Path

from identity_kit.evaluate.held_out import LIMIT, overlaps
from identity_kit.evaluate.probes import SUITES, load_probes
from identity_kit.resources import resource


def _questions() -> list[str]:
    files = sorted(Path(resource("data", "questions")).glob("*.jsonl"))
    rows = [json.loads(line) for path in files for line in path.read_text("utf-8").splitlines() if line.strip()]
    return [text for row in rows for text in (*row.get("before", ()), row["text"])]


def test_no_probe_is_worded_like_a_training_question():
    near = overlaps(load_probes(split=None), _questions())
    assert [str(pair) for pair in near if pair.leaks] == []


def test_a_leak_would_be_seen():
    probe = next(probe for probe in load_probes(suites=["recall"]) if probe.language == "zh")
    (exact, *_) = overlaps([probe], [*_questions(), f"  {probe.question.rstrip('？?。')}！"])
    assert exact.similarity == 1.0 and exact.leaks
    (near, *_) = overlaps([probe], [*_questions(), f"那个{probe.question}"])
    assert near.similarity >= LIMIT and near.leaks


def test_families_are_held_out_whole():
    families: dict[tuple[str, str], set[str]] = {}
    for probe in load_probes(split=None):
        families.setdefault((probe.suite, probe.family), set()).add(probe.split)
    assert {family for family, splits in families.items() if len(splits) > 1} == set()


def test_there_are_enough_probes_in_both_languages():
    probes = load_probes(split=None)
    assert len(probes) >= 400
    assert {probe.suite for probe in probes} == set(SUITES)
    assert len({probe.id for probe in probes}) == len(probes)
    for language in ("zh", "en"):
        assert sum(probe.language == language for probe in probes) >= 150
