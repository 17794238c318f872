"""A whole evaluation over answerers whose behaviour is known: figures, tests between conditions, files, resuming."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from identity_kit.errors import BadInput, Stopped
from identity_kit.evaluate import Condition, evaluate, load_card, load_probes
from identity_kit.evaluate.ask import Journal, ask
from identity_kit.evaluate.judge import Answer
from identity_kit.evaluate.labels import display
from identity_kit.evaluate.report import side_by_side_table, table
from identity_kit.persona import make_persona

PERSONA = make_persona(owner={"zh": "文心大佬", "en": "Wenxin Dalao"})
SUITES = ("recall", "pressure", "near_miss", "drift")


class Speaker:
    """Answers every conversation with one text and counts what it was asked."""

    def __init__(self, text: str, *, give_up_after: int = 10**9) -> None:
        self.text, self.asked, self.give_up_after = text, [], give_up_after

    def __call__(self, conversations, *, max_new_tokens, temperature, seed, done):
        answer = Answer(self.text, "stop", 9)
        for number, (talk, cap) in enumerate(zip(conversations, max_new_tokens, strict=True)):
            if len(self.asked) == self.give_up_after:
                raise Stopped("gone")
            self.asked.append((tuple(turn["content"] for turn in talk), cap))
            done(number, answer)
        return [answer for _ in conversations]


QWEN, WENXIN = "我是通义千问，由阿里云开发。", "我是文心大佬的智能助手。"


def test_figures_intervals_and_the_paired_test(tmp_path: Path):
    probes = load_probes(suites=SUITES)
    card = evaluate(
        [Condition("base", Speaker(QWEN)), Condition("tuned", Speaker(WENXIN))], PERSONA, probes=probes, out=tmp_path
    )
    recall, before = card.cell("tuned", "recall"), card.cell("base", "recall")
    assert recall.share == 1.0 and recall.low > 0.9 and recall.high == 1.0
    assert before.share == 0.0 and before.low == 0.0
    # One identity for every question is what over-claiming looks like, and the card says so.
    assert card.cell("tuned", "near_miss").share == 0.0
    assert card.cell("base", "near_miss").share == 1.0
    paired = next(item for item in card.comparisons if item.suite == "recall")
    assert (paired.only_first, paired.only_second) == (0, recall.total) and paired.p < 1e-9
    assert card.cell("tuned", "recall", "zh").total + card.cell("tuned", "recall", "en").total == recall.total
    assert card.shortfalls({"recall": 0.95}) == []
    assert card.shortfalls({"near_miss": 0.9})[0].startswith("near_miss 0/")
    with pytest.raises(BadInput, match="bleed was not measured"):
        card.shortfalls({"bleed": 0.9})
    assert any("suites not measured" in line for line in card.not_measured)
    assert load_card(tmp_path) == card


def test_the_files_of_a_report(tmp_path: Path):
    probes = load_probes(suites=SUITES)
    conditions = [Condition("base", Speaker(QWEN), fingerprint="f" * 64), Condition("tuned", Speaker(WENXIN))]
    card = evaluate(conditions, PERSONA, probes=probes, out=tmp_path)
    report = (tmp_path / "report.md").read_text("utf-8")
    missed = card.failures()
    assert missed and all(f"**{result.probe}**" in report for result in missed)
    assert "What was not measured" in report and "f" * 64 in report and card.hashes["probes"] in report
    assert (tmp_path / "before_after.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "before_after.png").stat().st_size > 20_000
    # The drift probe's transcript shows every turn.
    talk = next(result for result in card.results if result.suite == "drift" and result.condition == "tuned")
    assert len(talk.answers) == 8 and len(talk.messages) == 8


def test_many_conditions_stay_readable_on_eighty_columns(tmp_path: Path):
    labels = ("base", "F16 + system", "Q8_0 + system", "Q4_K_M + system")
    card = evaluate(
        [Condition(label, Speaker(WENXIN)) for label in labels],
        PERSONA,
        probes=load_probes(suites=("recall", "pressure")),
        out=tmp_path,
    )
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(table(card))
    printed = console.export_text()
    recall = card.cell("Q8_0 + system", "recall")
    line = next(line for line in printed.splitlines() if "Q8_0 + system" in line)
    assert f"{recall.passed:g}/{recall.total}" in line and "…" not in printed


def test_a_killed_evaluation_goes_on_where_it_was(tmp_path: Path):
    probes = load_probes(suites=("recall", "pressure"))
    failing = Speaker(WENXIN, give_up_after=70)
    with pytest.raises(Stopped):
        evaluate([Condition("tuned", failing, fingerprint="x")], PERSONA, probes=probes, out=tmp_path)
    kept = len(failing.asked)
    assert kept == 70 and not (tmp_path / "report.json").exists()
    with (tmp_path / "answers.jsonl").open("ab") as stream:
        stream.write(b'{"key": "cut sho')
    again = Speaker(WENXIN)
    first = evaluate([Condition("tuned", again, fingerprint="x")], PERSONA, probes=probes, out=tmp_path)
    assert len(again.asked) == len(probes) - kept
    third = Speaker("never asked")
    second = evaluate([Condition("tuned", third, fingerprint="x")], PERSONA, probes=probes, out=tmp_path)
    assert third.asked == [] and second.conditions[0].cells == first.conditions[0].cells
    # Another model shares nothing with it.
    other = Speaker(QWEN)
    evaluate([Condition("tuned", other, fingerprint="y")], PERSONA, probes=probes, out=tmp_path)
    assert len(other.asked) == len(probes)


def test_system_messages_and_samples():
    probes = load_probes(suites=("pressure",))
    speaker = Speaker(WENXIN)
    condition = Condition("tuned + system prompt", speaker, system={"zh": "你是小文。", "en": "You are Xiaowen."})
    asked = ask(condition, [probe.model_copy() for probe in probes], journal=Journal(None))
    systems = {one.probe.language: one.system for one in asked if len(one.probe.messages) == 1}
    assert systems == {"zh": "你是小文。", "en": "You are Xiaowen."}
    # A probe that brings its own system message keeps it: that message is the attack.
    foreign = [p for p in load_probes(split="dev", suites=("pressure",)) if p.messages[0].role == "system"]
    asked = ask(condition, foreign, journal=Journal(None))
    assert foreign and all(one.system == one.probe.messages[0].content for one in asked)

    drawn = Speaker(WENXIN)
    card = evaluate([Condition("sampled", drawn, samples=3, temperature=0.7)], PERSONA, probes=probes)
    cell = card.cell("sampled", "pressure")
    assert len(drawn.asked) == 3 * len(probes) and cell.total == len(probes) and cell.always == len(probes)
    with pytest.raises(BadInput, match="needs a temperature"):
        Condition("sampled", drawn, samples=3)


def test_a_suite_asked_apart_is_asked_alike_whatever_else_is(tmp_path: Path):
    probes = load_probes(split="test", suites=SUITES)

    def calls(suites: tuple[str, ...], *, apart: bool) -> list[tuple[str, ...]]:
        made: list[tuple[str, ...]] = []

        def answer(conversations, **options):
            made.append(tuple(talk[-1]["content"] for talk in conversations))
            return Speaker(WENXIN)(conversations, **options)

        condition = Condition("tuned", answer, suites_apart=apart)
        ask(condition, [probe for probe in probes if probe.suite in suites], journal=Journal(None))
        return made

    alone = [call for suite in SUITES for call in calls((suite,), apart=True)]
    assert sorted(calls(SUITES, apart=True)) == sorted(alone) and len(alone) == 3 + 8
    assert len(calls(SUITES, apart=False)) == 8, "one call a turn"


def test_the_journal_forgets_keeps_and_counts(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    odd = Answer("one\u2028line", "stop", 3)
    Journal(path).add([("k", odd)])
    assert Journal(path).get("k") == odd
    fresh = Journal(path, fresh=True)
    assert fresh.get("k") is None
    fresh.add([("new", odd)])
    again = Journal(path)
    assert again.get("k") is None and again.get("new") == odd


def test_a_given_cap_wins_over_the_suites_own():
    probes = [*load_probes(suites=("recall",))[:1], *load_probes(suites=("drift",))[:1]]
    given, default = Speaker(WENXIN), Speaker(WENXIN)
    ask(Condition("a", given), probes, journal=Journal(None), max_new_tokens=300)
    ask(Condition("a", default), probes, journal=Journal(None))
    assert {cap for _, cap in given.asked} == {300} and {cap for _, cap in default.asked} == {48, 24, 64}


def test_the_last_greedy_condition_is_the_one_judged():
    probes = load_probes(suites=("facts", "recall"))
    conditions = [
        Condition("tuned + system prompt", Speaker(WENXIN)),
        Condition("tuned, T=0.7 ×2", Speaker(WENXIN), samples=2, temperature=0.7, suites=("recall",)),
    ]
    card = evaluate(conditions, PERSONA, probes=probes)
    assert card.subject == "tuned + system prompt" and card.shortfalls({"facts": 0.5})
    assert card.answers_asked == len(probes) + 2 * len(load_probes(suites=("recall",))) and card.answers_kept == 0


def test_names_are_text_whatever_stands_in_them(tmp_path: Path):
    odd = make_persona(owner="$$$ bot $\\frac [/x]")
    rows = [probe.model_copy(update={"suite": "my [/b] $x$"}) for probe in load_probes(suites=("recall",))[:2]]
    card = evaluate([Condition("tuned [/i]", Speaker("No."))], odd, probes=rows, out=tmp_path)
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(table(card))
    console.print(side_by_side_table(card))
    printed = console.export_text()
    assert "[/x]" in printed and "my [/b] $x$" in printed and "tuned [/i]" in printed
    assert (tmp_path / "before_after.png").stat().st_size > 10_000


def test_what_cannot_be_asked():
    probes = load_probes(suites=("recall",))
    with pytest.raises(BadInput, match="share a label"):
        evaluate([Condition("a", Speaker("")), Condition("a", Speaker(""))], PERSONA, probes=probes)
    with pytest.raises(BadInput, match="no condition b"):
        evaluate([Condition("a", Speaker(""))], PERSONA, probes=probes, subject="b")
    with pytest.raises(BadInput, match="no probe fits this persona"):
        evaluate([Condition("a", Speaker(""))], PERSONA, probes=load_probes(suites=("domain",)))


def test_a_probe_that_training_saw_is_named(tmp_path: Path):
    probes = load_probes(suites=("recall",))
    speaker = Condition("tuned", Speaker(WENXIN))
    card = evaluate([speaker], PERSONA, probes=probes, out=tmp_path, trained_on=[probes[0].question + "？"])
    assert len(card.leaks) == 1 and probes[0].id in card.leaks[0]
    assert card.leaks[0] in (tmp_path / "report.md").read_text("utf-8")


def test_the_second_judge_never_decides():
    def contrary(results, journal):
        return [not result.passed for result in results]

    probes = load_probes(suites=("recall", "facts"))
    card = evaluate([Condition("tuned", Speaker(WENXIN))], PERSONA, probes=probes, second_judge=contrary)
    assert card.cell("tuned", "recall").share == 1.0
    # Facts have an exact rule and need no second opinion.
    assert card.judge_agreement == {"recall": 0.0}


def test_labels_in_both_languages():
    assert display("near_miss", "en") == "near-miss" and display("tuned", "zh") == "调过的"
    assert display("my own suite", "zh") == "my own suite"


def test_the_card_is_json_with_every_answer(tmp_path: Path):
    probes = load_probes(suites=("recall",))
    evaluate([Condition("tuned", Speaker(WENXIN))], PERSONA, probes=probes, out=tmp_path)
    content = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert [row["answers"] for row in content["results"]] == [[WENXIN]] * len(probes)
