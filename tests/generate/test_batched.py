"""Runs whose writer answers through OpenAI's batch API: collected, topped up, resumed, paid once."""

import json
from pathlib import Path

import pytest

from identity_kit.errors import BadInput, Stopped
from identity_kit.generate import GenerateSettings
from identity_kit.generate.batched import generate_in_batches
from identity_kit.llm.batch import Batches
from identity_kit.llm.endpoint import Endpoint
from identity_kit.persona import make_persona
from tests.llm.loopback import Loopback

PERSONA = make_persona(owner="青禾书店", name="小禾")
SETTINGS = GenerateSettings(identity=40, contrast=5, rehearsal=5, answer_share=1.0)


def at(server: Loopback, **fields) -> Endpoint:
    return Endpoint(base_url=server.url, model="m", **fields)


def test_a_run_in_batches_gives_the_rows_asked_for_and_pays_once(tmp_path: Path) -> None:
    with Loopback(faults=["ok", "ok", "ok", "500"]) as server:
        result = generate_in_batches(PERSONA, tmp_path, SETTINGS, writer=at(server), rehearser=at(server), poll=0.01)
        assert result.accepted == 50
        assert len(server.batches) >= 2
        asked = len(server.seen)
        assert generate_in_batches(PERSONA, tmp_path, SETTINGS, writer=at(server), rehearser=at(server)) == result
        assert len(server.seen) == asked
    keys = [json.loads(line)["key"] for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert len(keys) == len(set(keys))
    assert json.loads((tmp_path / "manifest.json").read_text())["complete"]
    assert not (tmp_path / "batches.json").exists()


def test_a_run_killed_while_waiting_goes_on_waiting_for_the_same_batch(tmp_path: Path, monkeypatch) -> None:
    with Loopback() as server:
        with monkeypatch.context() as patch:

            def die(*_: object) -> None:
                raise KeyboardInterrupt

            patch.setattr(Batches, "_wait", die)
            with pytest.raises(KeyboardInterrupt):
                generate_in_batches(PERSONA, tmp_path, SETTINGS, writer=at(server), poll=0.01)
        assert len(server.batches) == 1
        # The id may be lost as well: the batch is found again by its tag.
        state = json.loads((tmp_path / "batches.json").read_text())
        state[0]["id"] = ""
        (tmp_path / "batches.json").write_text(json.dumps(state))
        result = generate_in_batches(PERSONA, tmp_path, SETTINGS, writer=at(server), poll=0.01)
        assert result.accepted == 40
        assert len(server.batches) == 1


def test_the_cap_bounds_a_batch(tmp_path: Path) -> None:
    with Loopback() as server, pytest.raises(Stopped, match="--max-cost"):
        generate_in_batches(
            PERSONA, tmp_path, SETTINGS, writer=at(server, price_in=1.0, price_out=1.0), max_cost=0.02, poll=0.01
        )
    assert 0 < len(server.seen) < 30


def test_a_provider_without_batches_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no batch API"):
        generate_in_batches(
            PERSONA, tmp_path, SETTINGS, writer=Endpoint(base_url="https://x", model="m", provider="deepseek")
        )
