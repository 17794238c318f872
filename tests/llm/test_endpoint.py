"""Endpoints from presets and addresses, and the one look that `idkit doctor --endpoint` takes."""

import pytest

from identity_kit.errors import BadInput
from identity_kit.llm.endpoint import is_loopback, make_endpoint, presets
from identity_kit.llm.probe import probe_endpoint
from tests.llm.loopback import Loopback


def test_every_provider_that_the_help_names_is_there() -> None:
    named = [
        "openai",
        "deepseek",
        "zhipu",
        "moonshot",
        "dashscope",
        "siliconflow",
        "internlm",
        "openrouter",
        "ollama",
        "vllm",
        "local",
    ]
    assert list(presets()) == named


def test_a_preset_brings_its_address_key_and_limits(monkeypatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-something")
    endpoint = make_endpoint(provider="dashscope")
    assert endpoint.base_url.startswith("https://dashscope.")
    assert endpoint.rpm == 600
    assert not endpoint.firm_limits
    assert make_endpoint(provider="dashscope", rpm=60).firm_limits


def test_what_is_missing_is_named_with_the_way_to_give_it(monkeypatch) -> None:
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    with pytest.raises(BadInput, match="DEEPSEEK_API_KEY"):
        make_endpoint(provider="deepseek")
    with pytest.raises(BadInput, match="openai, deepseek"):
        make_endpoint(provider="nosuch")
    with pytest.raises(BadInput, match="--base-url"):
        make_endpoint()
    with pytest.raises(BadInput, match="not a web address"):
        make_endpoint(base_url="localhost:8000")


def test_a_key_for_elsewhere_is_not_handed_to_this_machine(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-for-openai")
    assert not make_endpoint(base_url="http://127.0.0.1:8080/v1", model="m").key
    assert make_endpoint(base_url="http://127.0.0.1:8080/v1", model="m", key_variable="OPENAI_API_KEY").key
    assert make_endpoint(base_url="https://api.example.com/v1", model="m").key


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/v1", "http://localhost/v1", "http://[::1]:8/v1"])
def test_loopback_addresses(address: str) -> None:
    assert is_loopback(address)


def test_the_probe_tells_models_answer_and_limits() -> None:
    with Loopback(rpm=600, tell_limits=True) as server:
        report = probe_endpoint(make_endpoint(base_url=server.url, model="loopback"))
    assert report.works
    assert report.models == ("loopback",)
    assert report.limits["x-ratelimit-limit-requests"] == "600"
    assert report.structured == ("text",)


def test_the_probe_of_a_refused_key_says_so(monkeypatch) -> None:
    with Loopback(faults=["401:bad key"]) as server, pytest.raises(BadInput, match="bad key"):
        probe_endpoint(make_endpoint(base_url=server.url, model="loopback"))


def test_doctor_looks_at_an_endpoint(capsys) -> None:
    from identity_kit.cli import main

    with Loopback(rpm=600, tell_limits=True) as server:
        assert main(["doctor", "--ui", "en", "--endpoint", server.url]) == 0
    shown = capsys.readouterr().out
    assert "models: loopback" in shown
    assert "x-ratelimit-limit-requests=600" in shown
    assert main(["doctor", "--ui", "en", "--endpoint", "nosuch"]) == 2
