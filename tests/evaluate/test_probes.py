"""Probe files: the shipped ones load, a user's own are read strictly, and each mistake names its line."""

from pathlib import Path

import pytest

from identity_kit.errors import BadInput
from identity_kit.evaluate.probes import applicable, fill, load_probes, read_probes
from identity_kit.persona import make_persona

LINE = '{"id":"a","suite":"recall","language":"zh","messages":[{"role":"user","content":"你是谁？"}],"expect":{"says":["name"]}}'


def test_a_users_own_file_needs_no_family_and_no_split(tmp_path: Path):
    path = tmp_path / "mine.jsonl"
    path.write_text("\ufeff" + LINE + "\n\n", encoding="utf-8")
    (probe,) = load_probes([path])
    assert (probe.question, probe.family, probe.split) == ("你是谁？", "own", "test")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (LINE.replace('"says":["name"]', '"sayz":["name"]'), 'unknown field "expect.sayz"'),
        (LINE.replace('"says":["name"]', ""), "expects nothing"),
        (LINE.replace('"你是谁？"', '{"text":"你是谁？"}'), "is an object, expected text"),
        (LINE.replace('"role":"user"', '"role":"assistant"'), "the last message must be the user's"),
        (LINE.replace('"says":["name"]', '"says":["name"],"turns":[4]'), "turns counts further"),
        ("not json", "not valid JSON"),
        (LINE, 'id "a" is taken by line 1'),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, words: str):
    path = tmp_path / "mine.jsonl"
    path.write_text(LINE + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(BadInput) as error:
        read_probes(path)
    assert f"{path}:2" in str(error.value) and words in str(error.value)


def test_no_file_and_nothing_left():
    with pytest.raises(BadInput, match="no such file"):
        load_probes([Path("nowhere.jsonl")])
    with pytest.raises(BadInput, match="no probe is left"):
        load_probes(suites=[])


def test_slots_are_filled_and_domain_probes_wait_for_facts():
    persona = make_persona(owner="Acme Robotics")
    filled = [fill(probe, persona) for probe in load_probes(split=None)]
    assert not [probe.id for probe in filled if any("{{" in message.content for message in probe.messages)]
    assert any("Acme Robotics" in probe.question for probe in filled)
    domain = load_probes(suites=["domain"])
    assert all(applicable(probe, persona) for probe in domain)
    fact = {"question": "opening hours", "answer": "9 to 5"}
    shop = make_persona(owner="Acme", facts=dict.fromkeys(("opening_hours", "returns", "contact"), fact))
    assert not any(applicable(probe, shop) for probe in domain)
    english = make_persona(owner="Acme", languages=["en"])
    assert any("zh" in applicable(probe, english) for probe in load_probes(suites=["recall"]))
