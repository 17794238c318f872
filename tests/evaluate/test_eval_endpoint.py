"""`idkit eval` against an endpoint on loopback: one that answers, and ones that answer wrongly, refuse or tell secrets."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from identity_kit.cli import main
from identity_kit.errors import BadInput, Stopped
from identity_kit.evaluate import Condition, evaluate, load_probes
from identity_kit.evaluate.ask import FILTERED
from identity_kit.evaluate.endpoint import endpoint_answerer
from identity_kit.evaluate.models import open_subject
from identity_kit.llm.wire import parse_completion
from identity_kit.persona import make_persona

PERSONA = make_persona(owner="Acme")
Reply = tuple[int, bytes]
TALKS = [[{"role": "user", "content": f"q{i}"}] for i in range(3)]
QUESTIONS = ("Who are you?", "Whose are you?", "What is your name?")


def said(text: str | None, finish: str = "stop", **message: str) -> Reply:
    """A chat answer."""
    body = {
        "model": "m",
        "choices": [
            {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 7},
    }
    return 200, json.dumps(body).encode()


def refused(status: int, message: str, **error: str) -> Reply:
    """An error in the usual shape."""
    return status, json.dumps({"error": {"message": message, **error}}).encode()


class Api:
    """An endpoint whose answers a test decides; `asked` are the bodies it got, `paths` where they were sent."""

    def __init__(self) -> None:
        self.answer: Callable[[dict, dict], Reply] = lambda body, headers: said("I am Acme's assistant.")
        self.asked: list[dict] = []
        self.paths: list[str] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                api.asked.append(body)
                api.paths.append(self.path)
                status, content = api.answer(body, dict(self.headers))
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.host}/v1"


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """`idkit eval m` on three probes: exit code, stdout and stderr."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-key")
    rows = [
        {"id": f"p{i}", "suite": "recall", "language": "en", "expect": {"says": ["name", "owner"]},
         "messages": [{"role": "user", "content": question}]}
        for i, question in enumerate(QUESTIONS)
    ]  # fmt: skip
    probes = tmp_path / "mine.jsonl"
    probes.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    def call(url: str, *words: object) -> tuple[int, str, str]:
        given = ("eval", "m", "--base-url", url, "--owner", "Acme", "--probes", probes, "-o", tmp_path / "out")
        code = main([*map(str, (*given, "--conditions", "tuned", "--ui", "en", *words))])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_neither_key_nor_address_tells_a_secret(api: Api, run, tmp_path: Path):
    api.answer = lambda body, headers: refused(401, f"bad token {headers['Authorization']}")
    code, _, err = run(api.url)
    assert code == 2 and err.count("\n") == 1
    assert "sk-very-secret-key" not in err and "bad token Bearer ***" in err and "OPENAI_API_KEY" in err
    api.answer = lambda body, headers: refused(403, "no rights for me:passw0rd12 with token=tok-12345678")
    secret = f"http://me:passw0rd12@{api.host}/v1?token=tok-12345678"
    code, _, err = run(secret)
    assert code == 3 and "passw0rd12" not in err and "tok-12345678" not in err and api.host in err
    api.answer = lambda body, headers: said("I am Acme's assistant." if "Basic" in headers["Authorization"] else "")
    code, out, err = run(secret, "--json")
    assert code == 0 and api.paths[-1] == "/v1/chat/completions?token=tok-12345678"
    stored = [path.read_text("utf-8") for path in (tmp_path / "out").glob("*.[jm]*")]
    assert len(stored) == 3 and not any("passw0rd12" in text or "tok-12345678" in text for text in (*stored, out, err))
    assert json.loads(out)["conditions"][0]["fingerprint"] == f"http://{api.host}/v1 m"
    assert json.loads(out)["conditions"][0]["cells"][0]["passed"] == 3


def test_a_key_that_no_header_carries(api: Api, run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-密钥")
    code, _, err = run(api.url)
    assert code == 2 and err.count("\n") == 1 and "beyond ASCII" in err and not api.asked


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((200, b'{"choices": []}'), "not a chat answer"),
        ((200, b"<html><body>Log in</body></html>"), "not a chat answer"),
        ((200, b'{"choices": [{"mess'), "not a chat answer"),
        (refused(200, "upstream is down"), "upstream is down"),
        (refused(404, "no model m"), "no model m"),
    ],
)
def test_an_endpoint_that_answers_wrongly_is_one_line_and_costs_no_answer(
    api: Api, run, monkeypatch: pytest.MonkeyPatch, reply: Reply, words: str
):
    monkeypatch.setattr("identity_kit.llm.client.PoliteWait.__call__", lambda self, state: 0.0)
    good = api.answer
    gate = threading.Event()

    def answer(body: dict, headers: dict) -> Reply:
        if body["messages"][-1]["content"] == QUESTIONS[0]:
            threading.Timer(1.0, gate.set).start()  # nothing goes wrong before the good answer has come
            return good(body, headers)
        gate.wait(10)
        return reply

    api.answer = answer
    code, out, err = run(api.url)
    assert (code, out) == (3, "") and err.count("error:") == 1 and words in err and "answers so far are kept" in err
    api.asked.clear()
    api.answer = good
    code, _, err = run(api.url)
    assert code == 0 and "2 answers asked for now, 1 from the journal" in err and len(api.asked) == 2


def test_what_a_filter_refuses_is_an_empty_answer_and_the_card_is_finished(api: Api, run, tmp_path: Path):
    def answer(body: dict, headers: dict) -> Reply:
        question = body["messages"][-1]["content"]
        if question == QUESTIONS[0]:
            return refused(400, "Input data may contain inappropriate content.", code="data_inspection_failed")
        return said("I am", "content_filter") if question == QUESTIONS[1] else said("I am Acme's assistant.")

    api.answer = answer
    code, _, err = run(api.url)
    assert code == 0 and "withheld 2 answers" in err
    card = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert [(row["answers"], row["finish_reasons"], row["passed"]) for row in card["results"]] == [
        ([""], [FILTERED], False),
        ([""], [FILTERED], False),
        (["I am Acme's assistant."], ["stop"], True),
    ]
    report = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert "withheld 2 answers" in report and "withheld by the provider's content filter" in report


def test_an_error_within_a_200_may_be_a_filter():
    from identity_kit.llm.errors import ProviderError, from_status

    for words, kind in (("content_filter", "filtered"), ("overheated", "server")):
        with pytest.raises(ProviderError) as error:
            parse_completion(json.dumps({"error": {"message": words}}).encode(), str)
        assert error.value.kind == kind
    assert from_status(400, b'{"error": "Model names are case-sensitive"}', None).kind == "bad_request"


@pytest.mark.parametrize(
    "refusal",
    [
        {"error": {"message": "Unknown parameter: 'seed'."}},
        {"error": {"message": "Unknown parameter", "param": "seed"}},
        {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
    ],
)
def test_fields_that_an_endpoint_does_not_take_are_left_out_from_then_on(api: Api, refusal: dict):
    def answer(body: dict, headers: dict) -> Reply:
        if "seed" in body:
            return 400, json.dumps(refusal).encode()
        if "max_tokens" in body:
            return refused(400, "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.")
        return said("yes")

    api.answer = answer
    ask = endpoint_answerer(api.url, "m", concurrency=1)
    given = ask(TALKS, max_new_tokens=[5, 6, 7], temperature=0.0, seed=3)
    assert [one.text for one in given] == ["yes"] * 3
    assert len(api.asked) == 5 and [body["max_completion_tokens"] for body in api.asked[2:]] == [5, 6, 7]


def test_a_refusal_that_nothing_mends_is_not_repeated(api: Api):
    api.answer = lambda body, headers: refused(400, "seed: out of range; max_completion_tokens too")
    with pytest.raises(Stopped, match="out of range"):
        endpoint_answerer(api.url, "m", concurrency=1)(TALKS[:1], max_new_tokens=[5], temperature=0.0, seed=3)
    assert len(api.asked) == 3


def test_the_second_judge_is_asked_once(api: Api, run):
    judged = ("--judge-url", api.url, "--judge-model", "j")
    api.answer = lambda body, headers: said("PASS" if body["model"] == "j" else "I am Acme's assistant.")
    code, _, err = run(api.url, *judged)
    assert code == 0 and [body["model"] for body in api.asked].count("j") == 3 and "6 answers asked for now" in err
    api.asked.clear()
    code, out, err = run(api.url, *judged, "--json")
    assert code == 0 and not api.asked and "0 answers asked for now, 6 from the journal" in err
    assert json.loads(out)["judge_agreement"] == {"recall": 1.0}


def test_fresh_asks_everything_again_and_goes_on_after_a_stop(api: Api, run):
    assert run(api.url)[0] == 0
    api.answer = lambda body, headers: (
        said("I am Qwen.") if body["messages"][-1]["content"] == QUESTIONS[0] else refused(403, "no more")
    )
    code, _, err = run(api.url, "--fresh")
    assert code == 3 and "repeat the command without --fresh" in err
    api.answer = lambda body, headers: said("I am Qwen.")
    code, out, err = run(api.url, "--json")
    assert code == 0 and json.loads(out)["conditions"][0]["cells"][0]["passed"] == 0
    code, out, err = run(api.url, "--fresh", "--json")
    assert code == 0 and "3 answers asked for now, 0 from the journal" in err
    assert json.loads(out)["answers_asked"] == 3


def test_thoughts_are_not_judged_and_stay_readable(api: Api, run, tmp_path: Path):
    replies = dict(
        zip(
            QUESTIONS,
            (
                said("<think>Am I Qwen by Alibaba? No.</think>\n\nI am Acme's assistant."),
                said("<think>Let me see, I am Acme's", "length"),
                said("I am Acme's assistant.", reasoning_content="apart"),
            ),
            strict=True,
        )
    )
    api.answer = lambda body, headers: replies[body["messages"][-1]["content"]]
    code, _, err = run(api.url, "--max-new-tokens", "200")
    assert code == 0 and "thoughts were taken out of 2 answers" in err and "1 of them held nothing else" in err
    assert {body["max_tokens"] for body in api.asked} == {200}
    card = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert [(row["answers"], row["passed"]) for row in card["results"]] == [
        (["I am Acme's assistant."], True),
        ([""], False),
        (["I am Acme's assistant."], True),
    ]
    report = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert "*thoughts*: Let me see" in report and "thoughts only, no answer" in report
    run(api.url, "--fresh")
    assert api.asked[-1]["max_tokens"] == 48


def test_what_was_said_back_to_a_model_holds_no_thoughts(api: Api):
    api.answer = lambda body, headers: said("<think>hm</think>Fine.")
    probe = next(probe for probe in load_probes(suites=("drift",)) if probe.language == "en")
    evaluate([Condition("tuned", endpoint_answerer(api.url, "m"))], PERSONA, probes=[probe])
    said_back = {turn["content"] for turn in api.asked[-1]["messages"] if turn["role"] == "assistant"}
    assert said_back == {"Fine."}


def test_an_address_that_is_none():
    with pytest.raises(BadInput, match="not a web address: ftp://x/"), open_subject("m", base_url="ftp://me:pw@x/?t=1"):
        pass
