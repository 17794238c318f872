"""Batched decoding, against transformers' own greedy decoding on a small real model; and the llama.cpp server."""

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from identity_kit.models.decode import likeliest, load_model, prompt_ids, reply
from identity_kit.models.server import local_server

pytestmark = pytest.mark.model

QUESTIONS = [
    "Hi",
    "Name three fruits.",
    "Who are you?",
    "What is the capital of France? Answer in one word.",
    "Count to five.",
]


def _talks(system: str | None = None):
    opening = [{"role": "system", "content": system}] if system else []
    return [[*opening, {"role": "user", "content": text}] for text in QUESTIONS]


@pytest.fixture(scope="module")
def loaded(smollm_folder: Path):
    import torch

    return load_model(smollm_folder, dtype=torch.float32, device=torch.device("cpu"))


@pytest.mark.parametrize("system", [None, "You are terse."])
def test_a_batch_answers_as_generate_does_one_by_one(loaded, system):
    import torch

    model, tokenizer = loaded
    talks = _talks(system)
    # Five rows in a batch of four: the fifth joins those under way as soon as one of them ends.
    answers = reply(model, tokenizer, talks, max_new_tokens=16, batch_size=4)
    for talk, answer in zip(talks, answers, strict=True):
        ids = torch.tensor([prompt_ids(tokenizer, talk)])
        expected = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, do_sample=False)
        assert answer.text == tokenizer.decode(expected[0, ids.shape[1] :], skip_special_tokens=True).strip()


def test_the_output_weights_meet_whole_hidden_states(loaded):
    model, tokenizer = loaded
    whole = []
    head = model.get_output_embeddings().register_forward_pre_hook(
        lambda _, args: whole.append(args[0].is_contiguous())
    )
    try:
        reply(model, tokenizer, _talks(), max_new_tokens=2)
    finally:
        head.remove()
    assert whole and all(whole), "torch copies frozen weights once a row for a strided input"


def test_the_cap_and_the_end_are_told_apart(loaded):
    model, tokenizer = loaded
    short, long = reply(model, tokenizer, [_talks()[3], _talks()[1]], max_new_tokens=12)
    assert (long.finish_reason, long.tokens) == ("length", 12)
    assert short.finish_reason == "stop" or short.tokens == 12


def test_every_conversation_has_its_cap_and_is_told_of_as_it_ends(loaded):
    model, tokenizer = loaded
    talks = [*_talks(), [{"role": "user", "content": "Say it again, please, and " * 12}]]
    caps = [3, 9, 1, 6, 12, 4]
    told = {}
    answers = reply(model, tokenizer, talks, max_new_tokens=caps, batch_size=4, done=told.__setitem__)
    assert told == dict(enumerate(answers))
    for talk, cap, answer in zip(talks, caps, answers, strict=True):
        assert answer == reply(model, tokenizer, [talk], max_new_tokens=cap)[0]
        assert answer.tokens <= cap


def test_sampling_is_repeated_by_its_seed(loaded):
    model, tokenizer = loaded
    one, two, other = (
        [a.text for a in reply(model, tokenizer, _talks(), max_new_tokens=12, temperature=1.0, seed=seed)]
        for seed in (1, 1, 2)
    )
    assert one == two != other


def test_the_server_answers_and_goes_with_its_owner(smollm_gguf: Path):
    with local_server(smollm_gguf, slots=2, context=256) as server:
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8, "temperature": 0}
        request = urllib.request.Request(
            f"{server.base_url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        answer = json.load(urllib.request.urlopen(request, timeout=60))
        assert answer["choices"][0]["message"]["content"]
        assert server.base_url.startswith("http://127.0.0.1:")
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is a Unix thing")
def test_the_server_dies_when_its_owner_is_killed(smollm_gguf: Path):
    code = (
        "import sys, time; from pathlib import Path; from identity_kit.models.server import local_server\n"
        "with local_server(Path(sys.argv[1]), slots=1, context=128) as s: print(s.pid, flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(smollm_gguf)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout
    pid = int(owner.stdout.readline())
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and Path(f"/proc/{pid}").exists():
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()


def test_rows_that_join_later_answer_as_they_do_alone(loaded):
    model, tokenizer = loaded
    talks = _talks() + _talks("You are terse.")
    together = reply(model, tokenizer, talks, max_new_tokens=24, batch_size=4)
    alone = [reply(model, tokenizer, [talk], max_new_tokens=24)[0] for talk in talks]
    assert together == alone
    assert len({answer.tokens for answer in alone}) > 2, "rows that leave at different times make room"


def test_a_folder_is_served_in_batches(smollm_folder: Path, monkeypatch: pytest.MonkeyPatch):
    from concurrent.futures import ThreadPoolExecutor

    import torch

    from identity_kit.models.folder_server import folder_server

    # In 16 bits the company that a row keeps in its batch can turn a close call.
    monkeypatch.setattr("identity_kit.models.decode.best_dtype", lambda device: torch.float32)
    with folder_server(smollm_folder, batch=4) as server:

        def ask(talk):
            body = json.dumps({"messages": talk, "max_tokens": 8}).encode()
            request = urllib.request.Request(f"{server.base_url}/chat/completions", body)
            return json.load(urllib.request.urlopen(request, timeout=120))

        with ThreadPoolExecutor(5) as pool:
            answers = list(pool.map(ask, _talks()))
            assert list(pool.map(ask, _talks() * 3)) == answers * 3, "more than a batch holds, and later ones join"
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(urllib.request.Request(f"{server.base_url}/chat/completions", b"{}"), timeout=60)
    assert [answer["usage"]["completion_tokens"] <= 8 for answer in answers] == [True] * 5
    assert all(answer["choices"][0]["message"]["content"] for answer in answers)


def test_a_folder_is_loaded_when_it_is_first_asked_and_a_broken_one_says_so(tmp_path: Path):
    from identity_kit.models.folder_server import folder_server

    (tmp_path / "config.json").write_text("{}")
    with folder_server(tmp_path) as server:
        body = json.dumps({"messages": _talks()[0], "max_tokens": 8}).encode()
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError, match="400") as told:
                urllib.request.urlopen(urllib.request.Request(f"{server.base_url}/chat/completions", body), timeout=60)
            assert "cannot load the model" in json.load(told.value)["error"]["message"]


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors"])
def test_data_that_a_broken_model_should_answer_is_told_by_its_folder(
    smollm_folder: Path, tmp_path: Path, idkit: Callable[..., subprocess.CompletedProcess[str]], broken: str
):
    folder = shutil.copytree(smollm_folder, tmp_path / "base")
    (folder / broken).write_text("{}")
    options = ("--lang", "en", "-n", "40", "--rehearse-with", folder, "-o", tmp_path / "out")
    told = idkit("--ui", "en", "generate", "--owner", "Acme", *options)
    assert told.returncode == 2
    assert told.stderr.strip().splitlines()[-1].startswith(f"error: {folder}: cannot load the model: ")
    assert "127.0.0.1" not in told.stderr and "Traceback" not in told.stderr


def test_a_client_that_hangs_up_is_passed_over_in_silence(smollm_folder: Path, capfd: pytest.CaptureFixture[str]):
    from identity_kit.models.folder_server import folder_server

    body = json.dumps({"messages": _talks()[0], "max_tokens": 8}).encode()
    with folder_server(smollm_folder) as server:
        address = urllib.parse.urlsplit(server.base_url)
        with socket.create_connection((address.hostname, address.port)) as gone:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            gone.sendall(head.encode() + body)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
        request = urllib.request.Request(f"{server.base_url}/chat/completions", body)
        assert json.load(urllib.request.urlopen(request, timeout=120))["choices"]
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("native", [False, True])
def test_the_teacher_is_the_quicker_engine(smollm_gguf: Path, monkeypatch: pytest.MonkeyPatch, native: bool):
    import torch

    from identity_kit.models.teacher import teacher

    dtype = torch.bfloat16 if native else torch.float32
    monkeypatch.setattr("identity_kit.models.device.best_dtype", lambda device: dtype)
    with teacher("embedded:smollm2-135m") as (server, name):
        body = json.dumps({"model": name, "messages": _talks()[3], "max_tokens": 8}).encode()
        request = urllib.request.Request(f"{server.base_url}/chat/completions", body)
        answer = json.load(urllib.request.urlopen(request, timeout=120))
    assert answer["choices"][0]["message"]["content"]
    assert (server.pid == 0) is native, "in this process in batches, or llama.cpp in a child"


@pytest.mark.parametrize("vocabulary", [384, 96, 131])
def test_the_likeliest_token_is_the_first_of_the_largest(vocabulary: int) -> None:
    chance = torch.Generator().manual_seed(vocabulary)
    logits = torch.randint(-3, 4, (40, vocabulary), generator=chance).bfloat16()  # ties in every row
    assert torch.equal(likeliest(logits), logits.argmax(-1))
