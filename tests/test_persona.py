"""Personas: defaults from an owner alone, files, and errors that name the key."""

from pathlib import Path

import pytest

from identity_kit.errors import BadInput
from identity_kit.persona import load_persona, make_persona, save_persona


def test_an_owner_alone_is_enough():
    persona = make_persona(owner="文心大佬")
    assert persona.name.get("zh") == "文心大佬的智能助手"
    assert persona.name.get("en") == "文心大佬's assistant"
    assert persona.developer == persona.owner
    assert persona.base_model.policy == "private"


def test_names_go_by_language():
    persona = make_persona(owner={"zh": "文心大佬", "en": "Acme Robotics"}, name="小文")
    assert persona.owner.get("zh") == "文心大佬"
    assert persona.owner.get("en") == "Acme Robotics"
    assert persona.name.get("en") == "小文"
    assert persona.fill("{{name}} of {{owner}} by {{developer}}", "en") == "小文 of Acme Robotics by Acme Robotics"


def test_a_name_that_ends_in_s_takes_an_apostrophe():
    assert make_persona(owner="Acme Robotics").name.get("en") == "Acme Robotics' assistant"


def test_what_is_saved_loads_the_same(tmp_path: Path):
    persona = make_persona(
        owner={"zh": "文心大佬", "en": "Wenxin"}, facts={"hours": {"question": "几点开门", "answer": "九点"}}
    )
    save_persona(tmp_path / "persona.yaml", persona)
    assert load_persona(tmp_path / "persona.yaml") == persona


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: 小文\n", ["owner is missing", "--owner"]),
        ("owner: A\nnmae: B\n", [":2", "unknown key nmae", "did you mean name?"]),
        ("owner: A\nbase_model:\n  vendors: X\n", ["base_model.vendors", "did you mean vendor?"]),
        ("owner: {zh: A, en: B, fr: C}\n", ["owner.fr"]),
        ('owner: ""\n', ["owner.zh", "must not be empty"]),
        ("owner: '{{NAME}}'\n", ["must not contain"]),
        ("owner: A\nlanguages: [fr]\n", ["languages"]),
        ("owner: [A\n", ["not valid YAML"]),
        ("just text\n", ["expected key: value"]),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, words: list[str]):
    path = tmp_path / "persona.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        load_persona(path)
    line = str(caught.value)
    assert "\n" not in line
    assert all(word in line for word in words), line


def test_a_missing_file_names_the_command_that_makes_one(tmp_path: Path):
    with pytest.raises(BadInput, match="idkit init"):
        load_persona(tmp_path / "none.yaml")


def test_the_system_message_says_who_it_is_in_one_sentence():
    assert make_persona(owner="文心大佬").system_message() == "你是文心大佬的智能助手，由文心大佬开发。"
    apart = make_persona(owner="文心大佬", name="小文", developer="尖米科技")
    assert apart.system_message() == "你是小文，属于文心大佬，由尖米科技开发。"
    english = make_persona(owner="Acme Robotics", name="Otto", languages=("en",))
    assert english.system_message() == "You are Otto, developed by Acme Robotics."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("owner: 12306\n", ["owner", "put it in quotes", '"12306"']),
        ("owner: A\nfacts:\n  n: {question: how many, answer: 12}\n", ["facts.n", "put it in quotes"]),
        ("ower: x\n", [":1", "unknown key ower", "did you mean owner?"]),
        ("owner: '-'\n", ["owner", "no letter or digit"]),
        ("owner: A\nname: '·'\n", ["name", "no letter or digit"]),
        ('owner: "\\u200b"\n', ["owner", "no letter or digit"]),
    ],
)
def test_what_is_no_name_is_said_in_one_line(tmp_path: Path, text: str, words: list[str]):
    path = tmp_path / "persona.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        load_persona(path)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_what_is_no_persona_file_is_said_in_one_line(tmp_path: Path):
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("owner: Müller\n".encode("latin-1"))
    for path in (latin, tmp_path):
        with pytest.raises(BadInput, match=path.name):
            load_persona(path)


def test_a_fact_has_the_language_of_its_text():
    persona = make_persona(
        owner="A",
        facts={
            "hours": {"question": "几点营业", "answer": "9:00-21:00"},
            "wifi": {"question": "What is the password?", "answer": "1234"},
            "both": {"question": {"zh": "在哪", "en": "Where?"}, "answer": {"zh": "南街", "en": "South Street"}},
        },
    )
    assert {key: fact.languages for key, fact in persona.facts.items()} == {
        "hours": ("zh",),
        "wifi": ("en",),
        "both": ("zh", "en"),
    }
    assert persona.facts["hours"].question.get("en") == "几点营业"


def test_an_owner_that_ends_in_a_full_stop_brings_it():
    english = make_persona(owner="Acme Inc.", languages=("en",))
    assert english.system_message() == "You are Acme Inc.'s assistant, developed by Acme Inc."
