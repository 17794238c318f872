"""Whole runs into a folder: exact counts, reasons kept, nothing paid twice, the same files again."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from identity_kit.claims import read_claims
from identity_kit.conversation import read_conversations
from identity_kit.errors import BadInput, Stopped
from identity_kit.files import folder_lock
from identity_kit.generate import GenerateSettings, generate
from identity_kit.llm.endpoint import Endpoint
from identity_kit.persona import load_persona, make_persona
from identity_kit.resources import resource
from tests.llm.loopback import Loopback

PERSONA = make_persona(owner={"zh": "青禾书店", "en": "Greenfield Books"}, name={"zh": "小禾", "en": "Hetty"})
WRITTEN = GenerateSettings(identity=60, contrast=20, rehearsal=20, written_share=0.6, answer_share=1.0)


def at(server: Loopback, **fields) -> Endpoint:
    return Endpoint(**{"base_url": server.url, "model": "m", "timeout": 1.0, "patience": 30.0, **fields})


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_without_a_writer_and_a_key_the_identity_rows_are_composed(tmp_path: Path) -> None:
    result = generate(PERSONA, tmp_path, GenerateSettings(identity=330))
    rows = list(read_conversations(tmp_path))
    assert result.accepted == len(rows) == 330
    assert result.counts["kind"] == {"identity": 330}
    assert len({row.meta.facet for row in rows}) >= 25
    mentioned = sum(read_claims(row.answer, PERSONA).mentions for row in rows)
    assert mentioned / len(rows) > 0.99
    assert not any(read_claims(row.answer, PERSONA, question=row.question).vendors for row in rows)
    assert len((tmp_path / "rejected.jsonl").read_text().splitlines()) == result.rejected


def test_with_endpoints_every_kind_comes_in_the_number_asked_for(tmp_path: Path) -> None:
    with Loopback() as server:
        result = generate(PERSONA, tmp_path, WRITTEN, writer=at(server), rehearser=at(server))
    assert result.counts["kind"] == {"contrast": 20, "identity": 60, "rehearsal": 20}
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["complete"]
    assert manifest["requests"]["sent"] == len(rows_of(tmp_path / "journal.jsonl"))
    sources = Counter(row["meta"]["source"] for row in rows_of(tmp_path / "conversations.jsonl"))
    assert sources["llm"] > 50 and sources["base model"] == 40
    assert all(row["meta"]["gates"]["passed"] for row in rows_of(tmp_path / "conversations.jsonl"))


def test_facts_are_kept_to_and_what_no_fact_covers_is_handed_over(tmp_path: Path) -> None:
    persona = load_persona(resource("data", "personas", "bookshop.yaml"))
    generate(persona, tmp_path, GenerateSettings(identity=0, domain=42))
    rows = rows_of(tmp_path / "conversations.jsonl")
    assert len(rows) == 42
    hours = [row for row in rows if row["meta"]["facet"] == "hours"]
    assert all("21:30" in row["messages"][-1]["content"] for row in hours) and hours
    unknown = [row for row in rows if row["meta"]["facet"] == "unknown"]
    assert all(any(w in row["messages"][-1]["content"] for w in ("店员", "assistant")) for row in unknown) and unknown


def test_questions_used_up_are_told_with_the_way_out(tmp_path: Path) -> None:
    persona = load_persona(resource("data", "personas", "bookshop.yaml"))
    result = generate(persona, tmp_path, GenerateSettings(identity=0, domain=4000))
    assert 0 < result.accepted < 4000
    assert f"{result.accepted} of 4000 rows" in result.shortage and "rejected.jsonl" in result.shortage
    assert not generate(persona, tmp_path, GenerateSettings(identity=0, domain=42)).shortage


def test_the_same_command_again_asks_nothing_and_gives_the_same_files(tmp_path: Path) -> None:
    with Loopback(faults=["ok", "refusal", "ok", "fenced"]) as server:
        first = generate(PERSONA, tmp_path, WRITTEN, writer=at(server), rehearser=at(server))
        files = {
            name: (tmp_path / name).read_bytes() for name in ("conversations.jsonl", "rejected.jsonl", "journal.jsonl")
        }
        asked = len(server.seen)
        again = generate(PERSONA, tmp_path, WRITTEN, writer=at(server), rehearser=at(server))
        # Without the manifest the files are made anew, from the journal.
        (tmp_path / "manifest.json").unlink()
        anew = generate(PERSONA, tmp_path, WRITTEN, writer=at(server), rehearser=at(server))
        assert len(server.seen) == asked
    assert again == first
    assert (anew.accepted, anew.rejected) == (first.accepted, first.rejected)
    assert all((tmp_path / name).read_bytes() == content for name, content in files.items())


def test_the_order_of_answers_does_not_change_the_files(tmp_path: Path) -> None:
    def slow(number: int) -> str:
        time.sleep(0.002 * (number * 7 % 5))
        return "ok"

    with Loopback() as server:
        generate(
            PERSONA, tmp_path / "a", WRITTEN, writer=at(server, concurrency=1), rehearser=at(server, concurrency=1)
        )
    with Loopback(faults=slow) as server:
        generate(
            PERSONA, tmp_path / "b", WRITTEN, writer=at(server, concurrency=32), rehearser=at(server, concurrency=32)
        )
    assert (tmp_path / "a" / "conversations.jsonl").read_bytes() == (
        tmp_path / "b" / "conversations.jsonl"
    ).read_bytes()


def test_a_talk_is_answered_turn_by_turn_and_the_identity_is_kept_from_the_model(tmp_path: Path) -> None:
    settings = GenerateSettings(identity=0, contrast=60, rehearsal=0, turn_shares=(0, 0, 1, 0))
    with Loopback(latency=0.01) as server:
        generate(PERSONA, tmp_path, settings, rehearser=at(server, concurrency=8))
        asked = [seen.body["messages"] for seen in server.seen]
    rows = rows_of(tmp_path / "conversations.jsonl")
    sent = {json.dumps(messages, ensure_ascii=False) for messages in asked}
    assert len(sent) == len(asked), "nothing is asked twice"
    own, after = (*PERSONA.own_names(), *PERSONA.own_owners()), 0
    for row in rows:
        talk = [{"role": m["role"], "content": m["content"]} for m in row["messages"] if m["role"] != "system"]
        assert len(talk) >= 4 and talk[-1]["role"] == "assistant"
        if any(name in turn["content"] for turn in talk[1:-1:2] for name in own):
            after += 1
        else:
            assert json.dumps(talk[:-1], ensure_ascii=False) in sent
    assert 5 < after < len(rows)
    assert not any(name in text for text in sent for name in own)


def test_what_names_the_base_models_vendor_unasked_is_refused(tmp_path: Path) -> None:
    settings = GenerateSettings(identity=0, contrast=30, rehearsal=0, languages=("zh",), turn_shares=(1, 0, 0, 0))

    def reasons(own: str, folder: str) -> dict[str, int]:
        def said(_: int) -> str:
            asked = server.seen[-1].body["messages"][-1]["content"]
            if asked in ("你是谁？", "Who are you?"):
                return f"echo-key:{own}"
            return "echo-key:它是阿里云研发的。" if len(asked) % 3 == 0 else "ok"

        with Loopback(faults=said) as server:
            result = generate(PERSONA, tmp_path / folder, settings, rehearser=at(server, concurrency=4))
        assert result.accepted == 30
        return result.reasons

    refused = "names the base model's vendor"
    assert reasons("我是通义千问，由阿里云开发。", "a")[refused] >= 5
    assert refused not in reasons("我是一个助手。", "b")


def test_refused_rows_are_kept_with_their_reason_and_made_up_for(tmp_path: Path) -> None:
    faults = ["ok", "ok", "ok", "refusal", "ok", "language", "ok", "length", "ok", "vendor", "ok", "filter"]
    with Loopback(faults=faults) as server:
        result = generate(
            PERSONA,
            tmp_path,
            GenerateSettings(identity=60, contrast=0, rehearsal=0, answer_share=1.0),
            writer=at(server, concurrency=1),
        )
    assert result.accepted == 60
    reasons = {row["meta"]["gates"]["reason"] for row in rows_of(tmp_path / "rejected.jsonl")}
    assert {"cut off", "claims another vendor", "content filter"} <= reasons
    assert reasons & {"wrong language", "identity missing"}


def test_where_answers_are_free_stand_ins_for_refused_rows_are_asked_ahead(tmp_path: Path) -> None:
    settings = GenerateSettings(identity=0, contrast=0, rehearsal=100, turn_shares=(1, 0, 0, 0))
    files, asked = [], []
    for name, prices in (("free", {"price_in": 0.0, "price_out": 0.0}), ("paid", {"price_in": 1.0, "price_out": 1.0})):
        with Loopback(latency=0.05) as server:  # so that what was asked ahead has arrived when the last row is there
            server.faults = lambda _: (
                "refusal" if len(server.seen[-1].body["messages"][-1]["content"]) % 3 == 0 else "ok"
            )
            result = generate(PERSONA, tmp_path / name, settings, rehearser=at(server, concurrency=8, **prices))
            whose = 2  # whose the model says that it is, asked once in each language
            asked.append(len(server.seen) - result.accepted - result.rejected - whose)
        files.append((tmp_path / name / "conversations.jsonl").read_bytes())
    assert files[0] == files[1]
    assert 0 < asked[0] < 20 and asked[1] == 0


def test_talks_are_asked_to_their_end_before_single_questions(tmp_path: Path) -> None:
    # Else their later turns are left over when all else is answered, and are answered a few at a time.
    settings = GenerateSettings(identity=0, contrast=0, rehearsal=60, turn_shares=(0.6, 0.2, 0.1, 0.1))
    with Loopback(latency=0.03) as server:  # longer than it takes to keep an answer
        generate(PERSONA, tmp_path, settings, rehearser=at(server, concurrency=1))
        users = [sum(m["role"] == "user" for m in seen.body["messages"]) for seen in server.seen]
        asked = [seen.body["messages"][-1]["content"] for seen in server.seen]
    assert max(users) >= 3
    last_of_a_talk = max(number for number, count in enumerate(users) if count > 1)
    assert users[last_of_a_talk + 1 :].count(1) >= 30
    assert max(asked.index("你是谁？"), asked.index("Who are you?")) < last_of_a_talk  # what every row waits for


def test_a_paid_writer_beside_a_free_model_is_asked_nothing_in_vain(tmp_path: Path) -> None:
    prices = {"price_in": 1.0, "price_out": 1.0}, {"price_in": 0.0, "price_out": 0.0}
    settings = GenerateSettings(identity=100, contrast=0, rehearsal=20, written_share=1.0)
    with Loopback(faults=["ok", "language"], latency=0.05) as server:
        writer, free = (
            at(server, concurrency=1, model=name, **price) for name, price in zip("wr", prices, strict=True)
        )
        generate(PERSONA, tmp_path, settings, writer=writer, rehearser=free)
        asked = sum(seen.body["model"] == "w" for seen in server.seen)
    rows = rows_of(tmp_path / "conversations.jsonl") + rows_of(tmp_path / "rejected.jsonl")
    assert asked == sum(row["meta"]["source"] == "llm" for row in rows)


def test_slips_in_the_json_are_mended_and_counted(tmp_path: Path) -> None:
    with Loopback(faults=["fenced", "cut", "ok"]) as server:
        generate(
            PERSONA,
            tmp_path,
            GenerateSettings(identity=30, contrast=0, rehearsal=0, answer_share=1.0),
            writer=at(server),
        )
    repairs = json.loads((tmp_path / "manifest.json").read_text())["repairs"]
    assert repairs["fence taken off"] >= 5
    assert repairs["cut object closed"] >= 5


def test_a_changed_prompt_asks_only_what_it_touches(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    own = resource("prompts", "identity_pair.zh.jinja").read_text().replace("四十五字", "四十字")
    (prompts / "identity_pair.zh.jinja").write_text(own)
    with Loopback() as server:
        generate(PERSONA, tmp_path / "out", WRITTEN, writer=at(server), rehearser=at(server))
        before = len(server.seen)
        generate(PERSONA, tmp_path / "out", WRITTEN, writer=at(server), rehearser=at(server), prompts=prompts)
        asked = [seen.body["messages"][0]["content"] for seen in server.seen[before:]]
    assert asked
    assert all("四十字以内" in prompt for prompt in asked)


def test_a_broken_prompt_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "judge.zh.jinja").write_text("一\n{% if %}\n")
    with Loopback() as server, pytest.raises(BadInput, match=r"judge\.zh\.jinja:2"):
        generate(
            PERSONA,
            tmp_path / "out",
            GenerateSettings(identity=5, languages=("zh",)),
            judge=at(server),
            prompts=tmp_path,
        )
    (tmp_path / "judge.zh.jinja").rename(tmp_path / "juge.zh.jinja")
    with pytest.raises(BadInput, match=r"juge\.zh\.jinja"):
        generate(PERSONA, tmp_path / "out", GenerateSettings(identity=5), prompts=tmp_path)


def test_a_judge_scores_and_refuses(tmp_path: Path) -> None:
    with Loopback() as server:
        result = generate(PERSONA, tmp_path, GenerateSettings(identity=12, contrast=0, rehearsal=0), judge=at(server))
    assert result.accepted == 12
    assert all("style 4/5" in row["meta"]["gates"]["remarks"] for row in rows_of(tmp_path / "conversations.jsonl"))


def test_two_processes_on_one_folder_are_refused(tmp_path: Path) -> None:
    with folder_lock(tmp_path), pytest.raises(BadInput, match="another idkit"):
        generate(PERSONA, tmp_path, GenerateSettings(identity=5))


def test_a_quota_that_ends_in_the_middle_leaves_what_was_accepted(tmp_path: Path) -> None:
    empty = Loopback(faults=lambda n: "ok" if n < 40 else "402:Insufficient Balance")
    with empty as server, pytest.raises(Stopped, match="Insufficient Balance"):
        generate(PERSONA, tmp_path, WRITTEN, writer=at(server), rehearser=at(server))
    rows = rows_of(tmp_path / "conversations.jsonl")
    assert len(rows_of(tmp_path / "journal.jsonl")) == 40
    assert 0 < len(rows) < 100
    assert not json.loads((tmp_path / "manifest.json").read_text())["complete"]
    with Loopback() as server:
        result = generate(PERSONA, tmp_path, WRITTEN, writer=at(server), rehearser=at(server))
        assert result.accepted == 100
        assert len(server.seen) == len(rows_of(tmp_path / "journal.jsonl")) - 40


def test_base_answers_that_state_an_identity_are_refused_and_long_ones_cut_back(tmp_path: Path) -> None:
    with Loopback(faults=["ok", "vendor", "length"]) as server:
        result = generate(
            PERSONA, tmp_path, GenerateSettings(identity=0, contrast=30, rehearsal=0, tries=5), rehearser=at(server)
        )
    assert result.accepted > 5
    assert result.reasons["claims another vendor"] >= 5
    assert not any("阿里云" in row["messages"][-1]["content"] for row in rows_of(tmp_path / "conversations.jsonl"))


def command(out: Path, url: str, rows: int) -> list[str]:
    return [
        sys.executable, "-m", "identity_kit", "generate", "--owner", "青禾书店", "--name", "小禾", "--lang", "zh", "-n", str(rows), "--mix", "1:1",
        "--base-url", url, "--llm", "m", "--rehearse-with", url, "--concurrency", "8", "-o", str(out), "-q",
    ]  # fmt: skip


def test_ctrl_c_finishes_writing_and_says_how_to_go_on(tmp_path: Path) -> None:
    with Loopback(latency=0.05) as server:
        process = subprocess.Popen(command(tmp_path, server.url, 3000), stderr=subprocess.PIPE, text=True)
        while len(server.seen) < 60 and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "same command" in said or "同一条命令" in said
        journal = rows_of(tmp_path / "journal.jsonl")
        assert len(journal) >= 40
        assert rows_of(tmp_path / "conversations.jsonl")


def test_two_models_at_one_address_share_its_limits(tmp_path: Path) -> None:
    with Loopback(latency=0.05) as server:
        subprocess.run(command(tmp_path, server.url, 120), check=False, timeout=120)
        assert server.most_in_flight <= 8
        assert len(server.seen) > 60


def assert_kills_lose_nothing(folder: Path, count: int, rows: int) -> None:
    """Kill a run at random moments, then let it end; nothing acknowledged is lost or asked again."""
    import random

    log = folder / "served.txt"
    out = folder / "out"
    chance = random.Random(count)
    server = subprocess.Popen(
        [
            sys.executable,
            str(Path(__file__).parent.parent / "llm" / "loopback.py"),
            "--latency",
            "0.05",
            "--log",
            str(log),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        url = server.stdout.readline().strip()
        acknowledged: set[str] = set()
        for _ in range(count):
            before = set(log.read_text().split()) if log.exists() else set()
            process = subprocess.Popen(command(out, url, rows))
            journal = out / "journal.jsonl"
            held = journal.stat().st_size if journal.exists() else 0
            # Wait for the run to get somewhere, then for a random moment.
            until = time.monotonic() + 20
            while (
                process.poll() is None
                and time.monotonic() < until
                and (journal.stat().st_size if journal.exists() else 0) <= held
            ):
                time.sleep(0.01)
            time.sleep(chance.random() * 0.3)
            process.kill()
            process.wait()
            lines = journal.read_bytes().split(b"\n")
            keys = [json.loads(line)["key"] for line in lines[:-1]]
            assert len(keys) == len(set(keys))
            assert acknowledged <= set(keys)
            acknowledged = set(keys)
            # Nothing that was answered and acknowledged in an earlier life was served again in this one.
            now = log.read_text().split()
            assert len(now) - len(set(now)) <= 8 * (count + 1)
            assert before <= set(now)
        assert subprocess.run(command(out, url, rows), check=False).returncode in (0, 1)
        served = log.read_text().split()
        keys = [json.loads(line)["key"] for line in (out / "journal.jsonl").read_text().splitlines()]
        assert len(keys) == len(set(keys)) >= len(acknowledged)
        # Each life may lose what was in flight when it ended, and no more.
        assert len(served) - len(set(served)) <= 8 * count
        assert len(set(served)) == len(keys)
        written = rows_of(out / "conversations.jsonl")
        ids = [row["meta"]["id"] for row in written]
        assert len(ids) == len(set(ids))
        assert json.loads((out / "manifest.json").read_text())["accepted"] == len(written)
    finally:
        server.kill()
        server.wait()


def test_killed_a_few_times_nothing_is_lost_or_paid_twice(tmp_path: Path) -> None:
    assert_kills_lose_nothing(tmp_path, 4, 300)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_two_hundred_times_nothing_is_lost_or_paid_twice(tmp_path: Path) -> None:
    assert_kills_lose_nothing(tmp_path, 200, 9000)


@pytest.mark.model
def test_a_real_llama_cpp_server_answers_and_is_journalled(tmp_path: Path, smollm_gguf: Path) -> None:
    from identity_kit.models.server import local_server

    settings = GenerateSettings(identity=0, contrast=4, rehearsal=4, languages=("en",), ask_tokens=24, tries=3)
    with local_server(smollm_gguf, slots=4) as server:
        endpoint = Endpoint(base_url=server.base_url, model="smollm2-135m", concurrency=server.slots)
        result = generate(PERSONA, tmp_path, settings, rehearser=endpoint)
    assert result.accepted + result.rejected > 0
    assert len(rows_of(tmp_path / "journal.jsonl")) >= result.accepted


def test_what_is_generated_converts_to_every_plain_format_without_loss(tmp_path: Path) -> None:
    from identity_kit.formats import convert

    settings = GenerateSettings(identity=30, contrast=0, rehearsal=0, system_shares=(1.0, 0.0, 0.0, 0.0, 0.0))
    generate(make_persona(owner="文心大佬"), tmp_path / "data", settings)
    for format in ("xtuner", "alpaca", "sharegpt", "openai"):
        result = convert(tmp_path / "data", tmp_path / f"{format}.json", format)
        assert (result.records, result.dropped) == (30, {}), "provenance is no column of the user's"
