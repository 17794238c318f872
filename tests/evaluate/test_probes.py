"""Probe files: the shipped ones load, a user's own are read strictly, and each mistake names its line."""

from pathlib import Path

import pytest

from identity_kit.errors import BadInput
from identity_kit.evaluate.conditions import parse_suites, parse_targets
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
        (LINE.replace('"says":["name"]', '"says":[]'), "expects nothing"),
        (LINE.replace('"says":["name"]', '"stops":false,"any_of":[]'), "expects nothing"),
        (LINE.replace('"says":["name"]', '"turns":[1]'), "expects nothing"),
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


def test_an_id_is_taken_once_in_all_files(tmp_path: Path):
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    one.write_text(LINE + "\n", encoding="utf-8")
    other.write_text("\n" + LINE + "\n", encoding="utf-8")
    with pytest.raises(BadInput) as error:
        load_probes([one, other])
    assert str(error.value).startswith(f"{other}:2: ") and f'"a" is taken by {one}:1' in str(error.value)
    with pytest.raises(BadInput, match="is taken by"):
        load_probes([one, one])


def test_a_line_separator_within_a_text_ends_no_line(tmp_path: Path):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(LINE.replace("你是谁？", "你是\u2028谁？").encode() + b"\r\n")
    assert read_probes(path)[0].question == "你是\u2028谁？"


def test_suites_choose_among_a_users_own(tmp_path: Path):
    path = tmp_path / "mine.jsonl"
    other = LINE.replace('"a"', '"b"').replace("recall", "my-suite")
    path.write_text(LINE + "\n" + other + "\n", encoding="utf-8")
    assert [probe.id for probe in load_probes([path])] == ["a", "b"]
    assert [probe.id for probe in load_probes([path], suites=["my-suite"])] == ["b"]


def test_suites_by_name():
    assert parse_suites("near-miss, my-suite", ("near_miss", "my-suite")) == ("near_miss", "my-suite")
    assert parse_targets("my-suite=50%,near-miss=1", ("near_miss", "my-suite")) == {"my-suite": 0.5, "near_miss": 1.0}
    with pytest.raises(BadInput, match="no suite is named"):
        parse_suites(",")
    with pytest.raises(BadInput, match="cannot read"):
        parse_targets(",")


def test_no_file_and_nothing_left(tmp_path: Path):
    with pytest.raises(BadInput, match="no such file"):
        load_probes([Path("nowhere.jsonl")])
    with pytest.raises(BadInput, match="is a folder"):
        load_probes([tmp_path])
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
