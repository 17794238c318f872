"""The client against an endpoint that fails in every way it can: what is retried, what stops, what is paid, what is kept."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from identity_kit.errors import BadInput, IdkitError, Stopped
from identity_kit.llm import client as client_module
from identity_kit.llm.client import Answer, Client, Declined
from identity_kit.llm.cost import Meter
from identity_kit.llm.endpoint import Endpoint, Secret
from identity_kit.llm.journal import Journal, share_answers
from tests.llm.loopback import Loopback

CANARY = "sk-canary-5f0c9e77"


def ask(
    server: Loopback | str,
    folder: Path,
    questions: list[str],
    *,
    meter: Meter | None = None,
    known: Path | None = None,
    **fields,
) -> list[Answer]:
    """The answers to some questions, asked at once, through a fresh client."""
    url = server if isinstance(server, str) else server.url
    endpoint = Endpoint(**{"base_url": url, "model": "m", "timeout": 1.0, "patience": 30.0, **fields})

    async def go() -> list[Answer]:
        kept = Journal(folder / "journal.jsonl", known)
        async with kept as journal, Client(endpoint, journal, meter or Meter()) as client:
            calls = [client.ask([{"role": "user", "content": q}], max_tokens=50, temperature=0.0) for q in questions]
            return await asyncio.gather(*calls)

    return asyncio.run(go())


def journal_lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def test_what_is_known_already_is_not_asked(tmp_path: Path) -> None:
    shared = tmp_path / "shared.jsonl"
    with Loopback() as server:
        first = ask(server, tmp_path / "a", ["一", "二"])
        share_answers([tmp_path / "a" / "journal.jsonl"], shared)
        again = ask(server, tmp_path / "b", ["一", "二", "三"], known=shared)
        assert len(server.seen) == 3
        assert len(ask(server, tmp_path / "b", ["三"])) == 1 and len(server.seen) == 3
    assert [answer.text for answer in again[:2]] == [answer.text for answer in first]
    assert [answer.replayed for answer in again] == [True, True, False]
    assert len(journal_lines(tmp_path / "b")) == 1, "what was known stays where it is"
    assert {name for line in shared.read_text().splitlines() for name in json.loads(line)} == {"key", "text", "finish", "model"}  # fmt: skip

    shared.write_text(shared.read_text() + '{"key": "00", "text": 1, "finish": "stop"}\n')
    with pytest.raises(BadInput, match=r"shared\.jsonl:3: this is no answer"):
        ask("http://127.0.0.1:1/v1", tmp_path / "c", ["一"], known=shared)


@pytest.mark.parametrize(
    "fault",
    ["429", "429-after:0.2", "500", "502", "503", "408", "409", "drip", "half-open", "reset", "chunk", "length-wrong", "html", "shape", "huge"],
)  # fmt: skip
def test_a_passing_fault_is_retried_and_the_answer_is_kept_once(fault: str, tmp_path: Path) -> None:
    with Loopback(faults=lambda n: fault if n == 1 else "ok") as server:
        answers = ask(server, tmp_path, ["一", "二", "三"], concurrency=1)
        assert [bool(answer.text) for answer in answers] == [True] * 3
        assert len(server.seen) == 4
    lines = journal_lines(tmp_path)
    assert len(lines) == 3
    assert len({line["key"] for line in lines}) == 3


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("400:temperature must be less than 2", BadInput, "temperature must be less than 2"),
        ("401:Incorrect API key provided", BadInput, "Incorrect API key"),
        ("402:Insufficient Balance", Stopped, "Insufficient Balance"),
        ("403:Country not supported", BadInput, "Country not supported"),
        ("404:model nosuch does not exist", BadInput, "model nosuch does not exist"),
        ("429:You exceeded your current quota, check your billing details", Stopped, "exceeded your current quota"),
    ],
)
def test_a_final_refusal_stops_at_once_with_the_providers_words(fault, kind, words, tmp_path: Path) -> None:
    with Loopback(faults=[fault]) as server:
        with pytest.raises(kind) as error:
            ask(server, tmp_path, ["一"])
        assert words in str(error.value)
        assert len(server.seen) == 1


def test_what_was_sent_before_another_request_is_refused_for_good_is_kept(tmp_path: Path) -> None:
    def fault(number: int) -> str:
        return "402:Insufficient Balance" if "坏" in server.seen[number].body["messages"][0]["content"] else "late:0.5"

    with Loopback(faults=fault) as server:
        began, meter = time.monotonic(), Meter()
        with pytest.raises(Stopped, match="Insufficient Balance"):
            ask(server, tmp_path, ["好一", "好二", "坏"], concurrency=3, meter=meter)
        assert 0.4 < time.monotonic() - began < 10
        assert len(journal_lines(tmp_path)) == meter.answered == 2 and meter.reserved == 0
        assert [answer.replayed for answer in ask(server, tmp_path, ["好一", "好二"])] == [True, True]
        assert len(server.seen) == 3


def test_what_was_sent_is_not_waited_for_without_end(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(client_module, "_LANDING", 0.3)

    def fault(number: int) -> str:
        return "402:none left" if "坏" in server.seen[number].body["messages"][0]["content"] else "late:30"

    with Loopback(faults=fault) as server:
        began, meter = time.monotonic(), Meter()
        with pytest.raises(Stopped):
            ask(server, tmp_path, ["好", "坏"], concurrency=2, timeout=60.0, meter=meter)
        assert time.monotonic() - began < 10 and meter.reserved == 0
    assert not journal_lines(tmp_path)


def test_an_endpoint_that_is_not_there_is_given_up_soon(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_CONTACT", 1.0)
    with pytest.raises(Stopped) as error:
        ask("http://127.0.0.1:9/v1", tmp_path, ["一"])
    assert "127.0.0.1:9" in str(error.value)


def test_a_page_instead_of_an_api_is_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_CONTACT", 0.5)
    with Loopback(faults=["html"]) as server, pytest.raises(Stopped) as error:
        ask(server, tmp_path, ["一"])
    assert "not a chat answer" in str(error.value)


def test_one_request_without_a_sensible_answer_does_not_end_the_others(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(client_module.PoliteWait, "__call__", lambda self, state: 0.01)

    def fault(number: int) -> str:
        return "shape" if "坏" in server.seen[number].body["messages"][0]["content"] else "ok"

    with Loopback(faults=fault) as server, pytest.raises(Declined):
        ask(server, tmp_path, ["好一", "坏", "好二", "好三"], concurrency=2)


def test_a_request_answered_before_is_not_sent_again(tmp_path: Path) -> None:
    with Loopback() as server:
        first = ask(server, tmp_path, ["一", "二"])
        again = ask(server, tmp_path, ["二", "一", "三"])
        assert len(server.seen) == 3
    assert [answer.replayed for answer in again] == [True, True, False]
    assert again[0].text == first[1].text


def test_a_torn_last_line_is_cut_off_and_only_that_answer_is_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Loopback() as server:
        ask(server, tmp_path, ["一", "二"], concurrency=1)
        whole = path.read_bytes()
        path.write_bytes(whole[:-7])
        ask(server, tmp_path, ["一", "二"])
        assert len(server.seen) == 3
    assert len(journal_lines(tmp_path)) == 2


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Loopback() as server:
        ask(server, tmp_path, ["一", "二"])
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "garbage", lines[1]]) + "\n")
    with pytest.raises(BadInput) as error:
        ask("http://127.0.0.1:9/v1", tmp_path, ["一"])
    assert f"{path}:2" in str(error.value)


def test_the_cap_holds_with_many_requests_in_flight(tmp_path: Path) -> None:
    # About 70 tokens in and 40 out an answer at 100 and 100 USD a million, 0.011 USD each: the cap pays for about 20.
    meter = Meter(cap=0.25)
    with Loopback(latency=0.02) as server:
        with pytest.raises(Stopped) as error:
            ask(
                server,
                tmp_path,
                [f"问题{n}" for n in range(200)],
                meter=meter,
                price_in=100.0,
                price_out=100.0,
                concurrency=32,
            )
        assert "0.25" in str(error.value)
        assert 0.2 <= meter.cost <= 0.25
    assert len(journal_lines(tmp_path)) == len(server.seen)


def test_a_cap_without_a_price_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="price-in"):
        ask("http://127.0.0.1:9/v1", tmp_path, ["一"], meter=Meter(cap=1.0))


def test_a_format_that_the_endpoint_lacks_is_stepped_down(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}

    def fault(number: int) -> str:
        form = server.seen[number].body.get("response_format", {}).get("type")
        return {
            "json_schema": "400:response_format json_schema is not supported",
            "json_object": "400:unknown response_format",
        }.get(form, "ok")

    async def go(url: str) -> str:
        endpoint = Endpoint(base_url=url, model="m", structured="json_schema")
        async with Journal(tmp_path / "j.jsonl") as journal, Client(endpoint, journal, Meter()) as client:
            await client.ask([{"role": "user", "content": "一"}], max_tokens=9, temperature=0, schema=schema)
            await client.ask([{"role": "user", "content": "二"}], max_tokens=9, temperature=0, schema=schema)
            return client.structured

    with Loopback(faults=fault) as server:
        assert asyncio.run(go(server.url)) == "text"
        assert len(server.seen) == 4


def test_a_storm_of_429_ends_with_every_answer_and_a_bounded_number_of_requests(tmp_path: Path) -> None:
    with Loopback(rpm=600, latency=0.01) as server:
        answers = ask(server, tmp_path, [f"问题{n}" for n in range(60)], concurrency=64)
        assert len({answer.text for answer in answers}) == 60
        assert server.served == 60
        assert server.refused < 40


def test_requests_in_flight_never_exceed_the_limit(tmp_path: Path) -> None:
    with Loopback(latency=0.02) as server:
        ask(server, tmp_path, [f"问题{n}" for n in range(120)], concurrency=10)
        assert server.most_in_flight == 10


@pytest.mark.parametrize(
    "fault", [f"401:Incorrect API key provided: {CANARY}", f"500:{CANARY}", f"echo-key:{CANARY}", "ok", "html"]
)
def test_the_key_is_in_no_file_message_or_stream(fault: str, tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.setattr(client_module, "FIRST_CONTACT", 0.5)
    told = ""
    with Loopback(faults=[fault]) as server:
        try:
            answers = ask(server, tmp_path, ["一"], key=Secret(CANARY))
            told = repr(answers)
        except IdkitError as error:
            told = repr(error) + str(error)
        assert server.seen[0].headers["Authorization"] == f"Bearer {CANARY}"
    out, err = capfd.readouterr()
    kept = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert CANARY not in told + out + err + kept


def test_a_key_is_neither_printed_nor_pickled() -> None:
    import pickle

    endpoint = Endpoint(base_url="http://x", model="m", key=Secret(CANARY))
    assert CANARY not in repr(endpoint) + str(endpoint.key) + f"{endpoint.key}"
    with pytest.raises(TypeError):
        pickle.dumps(endpoint)
