"""The plan: pure, seeded, balanced, and every row of it can be made alone."""

import itertools
from collections import Counter

import pytest

from identity_kit.claims import read_claims
from identity_kit.generate import GenerateSettings, settings_for
from identity_kit.generate.banks import questions
from identity_kit.generate.plan import deal, facet_weights, plan, planned, planned_row
from identity_kit.generate.pushes import may_ask, pushed_in
from identity_kit.generate.settings import PRESSURE
from identity_kit.persona import make_persona

PERSONA = make_persona(owner={"zh": "青禾书店", "en": "Greenfield Books"}, name={"zh": "小禾", "en": "Hetty"})


def test_the_same_inputs_give_the_same_plan_and_another_seed_another() -> None:
    settings = GenerateSettings()
    assert plan(PERSONA, settings) == plan(PERSONA, settings)
    assert plan(PERSONA, settings) != plan(PERSONA, settings.model_copy(update={"seed": 1}))


@pytest.mark.parametrize("writer", [False, True])
def test_any_row_can_be_made_again_alone(writer: bool) -> None:
    settings = GenerateSettings(seed=7)
    for kind in ("identity", "contrast", "rehearsal"):
        rows = list(itertools.islice(planned(kind, PERSONA, settings, writer=writer), 150))
        assert rows[137] == planned_row(kind, 137, PERSONA, settings, writer=writer)


def test_each_two_hundred_rows_hold_every_facet_in_its_share() -> None:
    shares = facet_weights(0.5)
    for block in range(5):
        counts = Counter(deal(shares, block * 200 + i, "salt")[0] for i in range(200))
        assert set(counts) == set(shares)
        assert all(abs(counts[facet] - 200 * share) < 1 for facet, share in shares.items())


def test_the_whole_bank_comes_up_where_asked_for() -> None:
    plain = [facet for facet in facet_weights(0.5) if facet not in PRESSURE]

    def left_out(**fields: bool) -> float:
        bank = {q.text for q in questions("identity", "zh") if q.facet in plain and "{{" not in q.text}
        settings = GenerateSettings(
            identity=2 * len(bank), contrast=0, rehearsal=0, languages=("zh",), pressure_share=0.4, **fields
        )
        asked = {ask.text for row in plan(PERSONA, settings) for ask in row.asks}
        return len(bank - asked) / len(bank)

    usual, whole = left_out(), left_out(whole_bank=True)
    assert 3 * whole < usual, (usual, whole)


def test_the_reserve_waits_unless_the_whole_bank_is_asked_for() -> None:
    def reserve_in(**fields: bool) -> list[float]:
        shares = []
        for kind, bank in (("contrast", "contrast"), ("rehearsal", "ordinary")):
            reserve = {q.text for q in questions(bank, "en") if q.reserve}
            counts = {"identity": 0, "contrast": 0, "rehearsal": 0, kind: 60}
            rows = plan(PERSONA, GenerateSettings(languages=("en",), **counts, **fields))
            shares.append(sum(row.asks[-1].text in reserve for row in rows) / len(rows))
        return shares

    assert reserve_in() == [0, 0]
    assert min(reserve_in(whole_bank=True)) > 0.5


def test_languages_systems_turns_and_pressure_come_in_their_shares() -> None:
    settings = GenerateSettings(identity=1000, contrast=0, rehearsal=0)
    rows = plan(PERSONA, settings)
    count = len(rows)
    assert abs(sum(row.language == "zh" for row in rows) / count - settings.zh_share) < 0.03
    assert abs(sum(row.system == "none" for row in rows) / count - settings.system_shares[0]) < 0.01
    assert abs(sum(len(row.asks) == 1 for row in rows) / count - 0.88) < 0.01
    assert 0.4 < sum(row.facet in PRESSURE for row in rows) / count < 0.53


def test_a_long_conversation_ends_under_pressure() -> None:
    rows = [
        row for row in plan(PERSONA, GenerateSettings(identity=1000)) if row.kind == "identity" and len(row.asks) > 2
    ]
    assert len(rows) > 40
    assert all(row.asks[-1].facet in PRESSURE for row in rows)


def test_ordinary_talks_have_turns_too_some_after_the_identity() -> None:
    rows = plan(PERSONA, GenerateSettings(identity=0, contrast=500, rehearsal=400))
    assert all(row.asks[-1].ordinary for row in rows)
    talks = {
        (row.language, question.text)
        for row in rows
        for question in questions("contrast", row.language)
        if question.before
    }
    own = [row for row in rows if (row.language, row.asks[-1].text) in talks]
    assert len(own) > 40 and all(len(row.asks) > 1 and all(ask.ordinary for ask in row.asks) for row in own)
    others = [row for row in rows if (row.language, row.asks[-1].text) not in talks]
    assert abs(sum(len(row.asks) > 1 for row in others) / len(others) - 0.12) < 0.03
    earlier = [ask.ordinary for row in others for ask in row.asks[:-1]]
    assert 0.3 < sum(earlier) / len(earlier) < 0.7
    assert all(row.asks[0].text != row.asks[-1].text for row in rows if len(row.asks) > 1)


def test_no_question_is_invented_alone_that_belongs_to_a_talk() -> None:
    rows = plan(PERSONA, GenerateSettings(identity=0, contrast=6000, rehearsal=0), writer=True)
    invented = {row.facet for row in rows if row.written}
    assert len(invented) > 10 and not invented & {q.topic for q in questions("contrast", "zh") if q.before}


def test_questions_are_not_repeated_before_their_bank_is_used_up() -> None:
    few = [row for row in plan(PERSONA, GenerateSettings(identity=480)) if len(row.asks) == 1]
    assert max(Counter((row.language, row.asks[0].text) for row in few).values()) == 1
    # The default plan asks more under pressure than the bank has: some of that a second time, nothing a third.
    rows = [row for row in plan(PERSONA, GenerateSettings()) if len(row.asks) == 1]
    texts = Counter((row.kind, row.language, row.asks[0].text) for row in rows)
    assert max(texts.values()) <= 2
    assert all(kind == "identity" for (kind, *_), count in texts.items() if count > 1)
    assert sum(count > 1 for count in texts.values()) < 0.1 * len(rows)


def test_questions_marked_last_are_asked_when_the_others_are_used_up() -> None:
    bank = questions("ordinary", "zh")
    marked = [question.last for question in bank]
    order = [
        row.asks[-1].text for row in plan(PERSONA, GenerateSettings(identity=0, contrast=0, rehearsal=5000, zh_share=1))
    ]
    first = order[: marked.count(False)]
    assert 0 < marked.count(True) < len(bank) // 2
    assert set(first) == {question.text for question in bank if not question.last} and len(order) == len(bank)


def test_a_persona_is_never_pushed_its_own_name() -> None:
    own = make_persona(owner="阿里云", name="通义小蜜")
    for row in plan(own, GenerateSettings(identity=500, contrast=0, rehearsal=0)):
        for ask in row.asks:
            if ask.push.model and "{{" not in ask.text and ask.facet == "denial":
                assert not read_claims(f"我是{ask.push.model}", own).own


def test_no_slot_is_left_in_a_planned_question() -> None:
    for row in plan(PERSONA, GenerateSettings(identity=800)):
        assert not any("{{" in ask.text for ask in row.asks)


def test_the_name_that_a_question_pushes_is_found() -> None:
    assert pushed_in("哎，你是豆包吗").model == "豆包"
    assert pushed_in("你是不是阿里云出的那个").vendor == "阿里云"
    assert pushed_in("is this really chatgpt?").model == "chatgpt"
    assert not pushed_in("what a metaphor").vendor


def test_rows_alone_keep_the_proportions_of_the_defaults() -> None:
    usual = GenerateSettings()
    rows = usual.identity + usual.contrast + usual.rehearsal
    assert settings_for(rows) == GenerateSettings(domain=0)
    many = settings_for(4 * rows, facts=3)
    assert many.domain == 18
    assert abs(many.identity - 4 * usual.identity) < 18
    assert many.identity + many.contrast + many.rehearsal + 18 == 4 * rows


def test_rows_and_mix_give_the_kinds() -> None:
    settings = settings_for(300, 2.0)
    assert (settings.identity, settings.contrast, settings.rehearsal) == (100, 136, 64)
    assert settings_for(300, 2.0, facts=3).domain == 18
    assert settings_for(30, 2.0, facts=30).domain == 5
    assert settings_for(10, 0.0, facts=3).domain == 0


def test_questions_in_reserve_come_when_the_others_are_used_up() -> None:
    for kind, bank in (("contrast", "contrast"), ("rehearsal", "ordinary")):
        rows = plan(PERSONA, GenerateSettings(identity=0, **{"contrast": 0, "rehearsal": 0, kind: 5000}))
        for language in ("zh", "en"):
            found = {question.text: question for question in questions(bank, language)}
            taken = [found[row.asks[-1].text] for row in rows if row.language == language]
            ranks = [(question.last, question.reserve) for question in taken]
            assert ranks == sorted(ranks)
            assert any(question.reserve for question in taken)


def test_no_reserve_is_touched_by_the_default_number_of_rows() -> None:
    kept = {
        question.text
        for bank in ("identity", "contrast", "ordinary")
        for language in ("zh", "en")
        for question in questions(bank, language)
        if question.reserve and "{{" not in question.text
    }
    usual = GenerateSettings()
    rows = plan(PERSONA, usual.model_copy(update={"contrast": 640, "rehearsal": 300}))  # some are refused
    assert not kept & {ask.text for row in rows for ask in row.asks}


def test_four_thousand_rows_have_questions_enough() -> None:
    settings = settings_for(4000)
    spare = 1.3  # so many are tried for each that is accepted
    for kind in ("contrast", "rehearsal"):
        wanted = {"identity": 0, "contrast": 0, "rehearsal": 0, kind: round(spare * getattr(settings, kind))}
        assert len(plan(PERSONA, GenerateSettings.model_validate(wanted))) == wanted[kind]


def test_models_whose_names_begin_as_the_personas_does_are_pushed_more_often() -> None:
    def pushed(owner: str) -> Counter[bool]:
        rows = plan(make_persona(owner=owner), GenerateSettings(identity=1500, contrast=0, rehearsal=0))
        models = [ask.push.model for row in rows for ask in row.asks if ask.push.model]
        return Counter(model.startswith("文心") for model in models)

    other, own = pushed("Acme"), pushed("百度")
    for owner in ("文心大佬", "文心"):  # the second stands in the model's name, and is not its vendor
        alike = pushed(owner)
        assert 0.1 < alike[True] / alike.total() < 0.3, owner
    assert other[True] / other.total() < 0.06
    assert own[True] == 0, "a firm is not made to disown its model"


@pytest.mark.parametrize("owner", ["阿里云", "Meta", "豆包", "百度"])
def test_who_bears_a_vendors_name_is_not_asked_to_deny_it(owner: str) -> None:
    persona = make_persona(owner=owner)
    asked = [ask for row in plan(persona, GenerateSettings(identity=600, contrast=0, rehearsal=0)) for ask in row.asks]
    assert len(asked) > 600
    pushed = {name.casefold() for ask in asked for name in (ask.push.model, ask.push.vendor)}
    assert owner.casefold() not in pushed
    assert any(pushed)


@pytest.mark.parametrize(
    "owner, of", [("百度", "Baidu"), ("月之暗面", "Moonshot"), ("360", "360"), ("IBM Research", "IBM")]
)
def test_who_bears_a_firms_name_is_not_asked_about_its_founder_or_logo(owner: str, of: str) -> None:
    bank = tuple(question for language in ("zh", "en") for question in questions("identity", language))
    alluding = {question.text for question in bank if of in question.of}
    assert alluding
    assert not alluding & {question.text for question in may_ask(bank, make_persona(owner=owner))}
    assert alluding <= {question.text for question in may_ask(bank, PERSONA)}


@pytest.mark.parametrize("share", [0.55, 0.3, 0.8])
def test_a_fact_is_asked_about_in_its_own_language(share: float) -> None:
    facts = {f"f{n}": {"question": f"第{n}家店几点营业", "answer": f"每天{n}点"} for n in range(5)}
    facts["en"] = {"question": "Do you ship abroad?", "answer": "Yes, to Norway."}
    planned = plan(
        make_persona(owner="文心大佬", facts=facts),
        GenerateSettings(identity=0, contrast=0, rehearsal=0, domain=36, zh_share=share),
    )
    assert len(planned) == 36
    assert all((row.facet == "en") == (row.language == "en") for row in planned if row.facet != "unknown")


def test_facts_in_no_language_of_the_data_are_not_asked_about() -> None:
    persona = make_persona(owner="文心大佬", facts={"hours": {"question": "几点营业", "answer": "九点"}})
    settings = GenerateSettings(identity=0, contrast=0, rehearsal=0, languages=("en",))
    assert not plan(persona, settings)
    zh = plan(persona, settings.model_copy(update={"languages": None}))
    assert len(zh) == 6 and {row.language for row in zh} == {"zh"}
