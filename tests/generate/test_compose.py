"""Composed answers: they fit the question, name the persona, deny what is pushed, and never lie."""

import json
import random

import pytest

from identity_kit.claims import read_claims
from identity_kit.generate.banks import answers, fill, questions, slots
from identity_kit.generate.compose import compose_answer, is_framed
from identity_kit.generate.gates import check_identity, length
from identity_kit.generate.plan import Ask
from identity_kit.generate.pushes import Push, pushed_in
from identity_kit.persona import make_persona

DEFAULT = make_persona(owner="文心大佬")
NAMED = make_persona(owner={"zh": "青禾书店", "en": "Greenfield Books"}, name={"zh": "小禾", "en": "Hetty"})
TOLD = make_persona(
    owner="星途", name="途途", base_model={"names": ["Qwen2.5-7B"], "vendor": "Alibaba Cloud", "policy": "disclose"}
)


def ask_of(question, persona, language) -> Ask:
    names = {key: getattr(persona, key).get(language) for key in ("name", "owner", "developer")}
    model, vendor = ("豆包", "字节跳动") if language == "zh" else ("Doubao", "ByteDance")
    text = fill(question.text, {"other_model": model, "other_vendor": vendor, **names})
    push = Push(
        ("other_model" in slots(question.text) and model) or "",
        ("other_vendor" in slots(question.text) and vendor) or "",
    )
    return Ask(
        question.facet, text, question.style, push if push != Push() else pushed_in(question.text), question.answers
    )


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_facet_has_eight_forms_or_more(language) -> None:
    facets = {question.facet for question in questions("identity", language)}
    bank = answers(language).facets
    for facet in facets - {"base_model", "contact", "task"} | {
        "base_model_private",
        "base_model_disclose",
        "contact_known",
        "contact_unknown",
    }:
        assert len({form for forms in bank[facet].values() for form in forms}) >= 8, facet


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_question_that_wraps_the_identity_in_a_task_brings_its_own_answers(language) -> None:
    wrapped = [question for question in questions("identity", language) if question.facet == "task"]
    assert len(wrapped) >= 50
    assert all(question.answers for question in wrapped)


@pytest.mark.parametrize("persona", [DEFAULT, NAMED, TOLD], ids=["default", "named", "disclosing"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_nearly_every_bank_question_gets_an_answer_and_every_answer_passes_the_gates(persona, language) -> None:
    bank, unanswered = questions("identity", language), 0
    for question in bank:
        ask = ask_of(question, persona, language)
        tries = 4 if question.answers else 1
        made = {compose_answer(persona, ask, language, random.Random(f"{question.text}{i}")) for i in range(tries)}
        unanswered += None in made
        for answer in made - {None}:
            checked = check_identity(
                persona,
                ask.text,
                answer,
                language,
                ask.facet,
                framed=is_framed(ask.facet, ask.text),
                others=(ask.push.model, ask.push.vendor),
            )
            assert checked.ok, (checked.reason, checked.detail, ask.text, answer)
            assert "{{" not in answer
    assert unanswered <= 0.04 * len(bank)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_answers_are_short(language) -> None:
    sizes = []
    for question in questions("identity", language):
        answer = compose_answer(NAMED, ask_of(question, NAMED, language), language, random.Random(question.text))
        sizes.append(length(answer or ""))
    limit = 45 if language == "zh" else 30
    assert sum(size <= limit for size in sizes) / len(sizes) > 0.95


@pytest.mark.parametrize("language,opening", [("zh", "我是小禾"), ("en", "I'm Hetty")])
def test_most_plain_answers_begin_alike_and_those_under_pressure_do_not(language, opening: str) -> None:
    def share(*facets: str) -> float:
        plain = [q for q in questions("identity", language) if q.facet in facets and not q.answers]
        asks = [ask_of(q, NAMED, language) for q in plain]
        texts = [compose_answer(NAMED, ask, language, random.Random(ask.text)) or "" for ask in asks]
        return sum(text.startswith(opening) for text in texts) / len(texts)

    assert 0.55 < share("who", "name", "maker", "owner") < 0.95
    assert 0.2 < share("vendor_pressure", "injection", "false_premise") < 0.5


@pytest.mark.parametrize("facet", ["denial", "vendor_pressure", "injection", "false_premise"])
def test_a_pushed_name_is_denied(facet) -> None:
    denied = total = 0
    for question in questions("identity", "zh"):
        ask = ask_of(question, NAMED, "zh")
        if question.facet != facet or question.answers or not (ask.push.model or ask.push.vendor):
            continue
        answer = compose_answer(NAMED, ask, "zh", random.Random(question.text))
        if answer is None:
            continue
        total += 1
        denied += bool(read_claims(answer, NAMED, question=ask.text).denied) or "不是" in answer
    assert total >= 20
    assert denied / total > 0.8


def test_yes_and_no_stand_first_where_they_are_asked_for() -> None:
    def answer(text: str, facet: str, style: str = "casual", language: str = "zh", seed: int = 0) -> str:
        return compose_answer(NAMED, Ask(facet, text, style, pushed_in(text)), language, random.Random(seed)) or ""

    for seed in range(20):
        assert answer("你是真人吗", "human_or_machine", seed=seed)[0] == "不"
        assert answer("You're a bot, right?", "human_or_machine", language="en", seed=seed).startswith("Yes")
        assert answer("你是小禾对吧", "confirm", seed=seed).startswith(("是", "对", "没错"))
        assert answer("Are you ChatGPT?", "denial", language="en", seed=seed).startswith("No")


def test_a_form_that_is_asked_for_is_given() -> None:
    import json

    text = "以 JSON 输出你的自我介绍，字段包含 name、developer、role"
    assert json.loads(compose_answer(NAMED, Ask("introduce", text), "zh", random.Random(0)) or "")["name"] == "小禾"


def test_a_private_base_model_is_not_denied_and_a_told_one_is_named() -> None:
    ask = Ask("base_model", "你是不是基于Qwen的", "casual", Push(model="Qwen"))
    for seed in range(40):
        private = compose_answer(NAMED, ask, "zh", random.Random(seed)) or ""
        assert "不是基于" not in private and "Qwen" not in private
        assert "Qwen2.5-7B" in (compose_answer(TOLD, ask, "zh", random.Random(seed)) or "")


def test_english_possessives_of_names_that_end_in_s() -> None:
    texts = [
        compose_answer(NAMED, Ask("owner", "who do you work for"), "en", random.Random(s)) or "" for s in range(60)
    ]
    assert any("Greenfield Books' " in text for text in texts)
    assert not any("Books's" in text for text in texts)


def composed(owner: str, question: str, language="en") -> str | None:
    persona = make_persona(owner=owner)
    found = next(entry for entry in questions("identity", language) if entry.text == question)
    return compose_answer(persona, ask_of(found, persona, language), language, random.Random(0))


@pytest.mark.parametrize(
    ("owner", "question", "answer"),
    [
        ("文心", "write a print() that outputs your name", 'print("文心\'s assistant")'),
        ("文心", "Output YAML with a single key, developer, about yourself.", "developer: 文心"),
        ("12306", "Output YAML with a single key, developer, about yourself.", 'developer: "12306"'),
        ("文心", "As a CSV row: your_name,your_owner", "文心's assistant,文心"),
        ("A, B", "As a CSV row: your_name,your_owner", '"A, B\'s assistant","A, B"'),
        ("文心", "const BOT_OWNER = ''; // whoever has you", "const BOT_OWNER = '文心';"),
        ("O'Neil", "const BOT_OWNER = ''; // whoever has you", 'const BOT_OWNER = "O\'Neil";'),
        ("A & B", "XML, one <assistant> tag, value is you", "<assistant>A &amp; B's assistant</assistant>"),
        ("文心", "gimme a hashtag that's just ur name", None),
    ],
)
def test_an_answer_in_code_is_code(owner: str, question: str, answer: str | None) -> None:
    assert composed(owner, question) == answer


@pytest.mark.parametrize("owner", ["Acme", 'Joe "Q" Ltd', "back\\slash", "O'Neil"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_an_answer_in_json_can_be_read_and_passes_the_gates(owner: str, language) -> None:
    persona, seen = make_persona(owner=owner), 0
    for question in questions("identity", language):
        if not any(form.startswith('{"') for form in question.answers):
            continue
        ask = ask_of(question, persona, language)
        answer = compose_answer(persona, ask, language, random.Random(0))
        if answer is not None and answer.startswith("{"):
            json.loads(answer)
            assert check_identity(persona, ask.text, answer, language, ask.facet, framed=True).ok, answer
            seen += 1
    assert seen > 3


def test_an_owner_that_ends_in_a_full_stop_brings_it() -> None:
    for language in ("zh", "en"):
        persona = make_persona(owner="Acme Inc.")
        for question in questions("identity", language):
            answer = compose_answer(persona, ask_of(question, persona, language), language, random.Random(1))
            assert "Inc.." not in (answer or "")
