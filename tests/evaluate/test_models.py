"""Real models and a real endpoint: a small folder decoded in process, its bits per byte, and HTTP on loopback."""

import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from identity_kit.errors import BadInput, Stopped
from identity_kit.evaluate import Condition, evaluate, load_probes
from identity_kit.evaluate.answerers import resident
from identity_kit.evaluate.endpoint import endpoint_answerer
from identity_kit.evaluate.models import open_subject
from identity_kit.evaluate.retention import bits_per_byte, more_bits, paragraph_costs, retention_texts
from identity_kit.evaluate.second import llm_judge, read_verdict
from identity_kit.models.fingerprint import folder_fingerprint
from identity_kit.persona import make_persona

PERSONA = make_persona(owner="Acme")


def test_bits_per_byte_of_a_known_model(tiny_folder: Path):
    """All logits equal: every byte-level token costs log2 of the vocabulary, whatever the text."""
    import torch

    model, tokenizer = resident(tiny_folder)
    texts = {"en": "Sound travels faster through water.\n\nMore.", "zh": "老街的尽头有一家铺子。"}
    random = bits_per_byte(paragraph_costs(model, tokenizer, texts))
    with torch.no_grad():
        kept = model.lm_head.weight.clone()
        model.lm_head.weight.zero_()
        flat = bits_per_byte(paragraph_costs(model, tokenizer, texts))
        model.lm_head.weight.copy_(kept)
    assert flat["en"] == pytest.approx(math.log2(len(tokenizer)), rel=1e-4)
    assert flat["zh"] == pytest.approx(math.log2(len(tokenizer)), rel=0.2)
    assert random["en"] != pytest.approx(flat["en"], rel=1e-6)


def test_a_model_is_compared_with_its_base_paragraph_by_paragraph():
    base = {"en": [(100.0, 100), (210.0, 200), (150.0, 100)], "zh": [(10.0, 10)]}
    worse = {"en": [(110.0, 100), (230.0, 200), (160.0, 100)], "zh": [(20.0, 10)]}
    found = more_bits(worse, base)
    assert found["en"] == pytest.approx((0.1, 0.1, 0.1))  # a tenth of a bit more for every byte of every paragraph
    assert "zh" not in found  # one paragraph tells nothing of chance
    mixed = {"en": [(90.0, 100), (230.0, 200), (160.0, 100)]}
    _, low, high = more_bits(mixed, base)["en"]
    assert low < 0 < high


def test_the_shipped_texts_are_about_three_kilobytes_each():
    for language, text in retention_texts().items():
        assert 2000 < len(text.encode()) < 4000, language


def test_texts_for_tuning_are_others_than_those_of_the_final_card():
    test, dev, both = retention_texts("test"), retention_texts("dev"), retention_texts(None)
    for language in ("zh", "en"):
        paragraphs = [set(texts[language].split("\n")) for texts in (test, dev, both)]
        assert len(paragraphs[1]) == 40 and not paragraphs[0] & paragraphs[1]
        assert paragraphs[0] | paragraphs[1] == paragraphs[2]


def test_a_folder_is_evaluated_in_process(tiny_folder: Path, tmp_path: Path):
    probes = load_probes(suites=("stop",))
    with open_subject(str(tiny_folder)) as subject:
        condition = Condition(
            "tuned", subject.answer, fingerprint=subject.fingerprint, paragraph_costs=subject.paragraph_costs
        )
        card = evaluate([condition], PERSONA, probes=probes, out=tmp_path, texts=retention_texts())
    assert card.cell("tuned", "stop").total == len(probes)
    assert set(card.retention[0].bits_per_byte) == {"zh", "en"}
    assert subject.fingerprint == folder_fingerprint(tiny_folder)


class _Api(BaseHTTPRequestHandler):
    fail_with = 0
    asked: list[dict] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked.append(body)
        if type(self).fail_with:
            self.send_response(type(self).fail_with)
            self.end_headers()
            return
        text = f"{body['messages'][-1]['content']} | {body['model']}"
        done = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 7, "total_tokens": 8},
        }
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(done).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _Api.fail_with, _Api.asked = 0, []
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_an_endpoint_answers_in_order(api: str):
    answer = endpoint_answerer(api, "m")
    talks = [[{"role": "user", "content": f"q{i}"}] for i in range(40)]
    told = {}
    caps = [5 + i % 2 for i in range(40)]
    given = answer(talks, max_new_tokens=caps, temperature=0.0, seed=3, done=told.__setitem__)
    assert told == dict(enumerate(given))
    assert [one.text for one in given] == [f"q{i} | m" for i in range(40)]
    assert given[0].finish_reason == "length" and given[0].tokens == 7
    assert {(body["messages"][0]["content"], body["max_tokens"]) for body in _Api.asked} == {
        (f"q{i}", cap) for i, cap in enumerate(caps)
    }


def test_a_wrong_key_and_a_dead_endpoint(api: str):
    talk = [[{"role": "user", "content": "q"}]]
    _Api.fail_with = 401
    with pytest.raises(BadInput, match="does not answer"):
        endpoint_answerer(api, "m")(talk, max_new_tokens=[5], temperature=0, seed=0)
    with pytest.raises(Stopped, match="repeat the command"):
        endpoint_answerer("http://127.0.0.1:9/v1", "m")(talk, max_new_tokens=[5], temperature=0, seed=0)


def test_a_second_judge_over_an_endpoint(api: str):
    probes = load_probes(suites=("recall",))[:3]
    speaker = endpoint_answerer(api, "PASS")
    card = evaluate([Condition("tuned", speaker)], PERSONA, probes=probes, second_judge=llm_judge(speaker, PERSONA))
    assert set(card.judge_agreement) == {"recall"}
    prompt = _Api.asked[-1]["messages"][0]["content"]
    assert "Acme" in prompt and "{{" not in prompt and read_verdict("fail, because") is False


@pytest.mark.model
def test_a_gguf_is_evaluated_through_the_local_server(smollm_gguf: Path, tmp_path: Path):
    probes = load_probes(suites=("stop",), split="dev")
    english = [probe for probe in probes if probe.language == "en"]
    with open_subject(str(smollm_gguf)) as subject:
        card = evaluate([Condition("tuned", subject.answer)], PERSONA, probes=english, out=tmp_path)
    assert card.cell("tuned", "stop").total == len(english)
    assert all(result.answers[0] for result in card.results)
