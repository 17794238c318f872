"""The page's server: who is let in, runs and rows as the files have them, jobs that can be stopped."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from web_server import Page, page_server

import identity_kit
from identity_kit.conversation import conversation, read_conversations, write_conversations
from identity_kit.evaluate import SUITES
from identity_kit.files import folder_lock

PERSONA = {"owner": "文心大佬", "name": {"zh": "小文", "en": "Xiaowen"}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def page(root: Path) -> Iterator[Page]:
    with page_server(root) as running:
        yield running


@pytest.fixture
def run(page: Page, root: Path, request: pytest.FixtureRequest) -> Path:
    """A new run with three rows of data, made through the page."""
    name = f"run-{abs(hash(request.node.name))}"
    status, made, _ = page.ask("/api/runs", {"name": name, "persona": PERSONA})
    assert (status, made) == (200, {"name": name})
    rows = [
        conversation(("user", "你是谁？"), ("assistant", "我是小文。")),
        conversation(("user", "Who made you?"), ("assistant", "<b>Wenxin</b>")),
        conversation(("user", "1+1?"), ("assistant", "2")),
    ]
    write_conversations(root / name / "data" / "conversations.jsonl", rows)
    return root / name


# --- who is let in ----------------------------------------------------------------------------------------------------


def test_the_page_brings_everything_itself(page: Page) -> None:
    status, html, headers = page.ask("/")
    assert status == 200
    assert "http" not in html.replace("http-equiv", "")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    for name in ("app", "views", "chat", "words", "dom"):
        status, script, _ = page.ask(f"/{name}.js")
        assert status == 200
        assert "innerHTML" not in script and "insertAdjacentHTML" not in script
        assert [word for word in script.split('"') if word.startswith("http")] in ([], ["http://www.w3.org/2000/svg"])


def test_the_page_has_a_word_in_both_languages_for_every_suite() -> None:
    words = (Path(identity_kit.__file__).parent / "chat" / "web" / "page" / "words.js").read_text("utf-8")
    missing = [suite for suite in SUITES if not re.search(rf'\bs_{suite}: \["[^"]+", "[^"]+"\]', words)]
    assert missing == []


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "127.0.0.1:1", ""])
def test_a_foreign_host_name_is_refused(page: Page, host: str) -> None:
    assert page.ask("/api/site", Host=host)[0] == 403
    assert page.ask("/", Host=host)[0] == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://127.0.0.1:1"])
def test_a_foreign_origin_changes_nothing(page: Page, root: Path, origin: str) -> None:
    status, _, _ = page.ask("/api/runs", {"name": "stolen", "persona": PERSONA}, Origin=origin)
    assert status == 403
    assert not (root / "stolen").exists()


def test_a_plain_form_changes_nothing(page: Page, root: Path) -> None:
    status, _, _ = page.ask("/api/runs", {"name": "stolen", "persona": PERSONA}, Content_Type="text/plain")
    assert status == 403
    assert page.ask("/api/site", Sec_Fetch_Site="cross-site")[0] == 403
    assert not (root / "stolen").exists()


def test_localhost_is_a_name_of_ours(page: Page) -> None:
    assert page.ask("/api/site", Host=f"localhost:{page.port}")[0] == 200


@pytest.mark.parametrize("name", ["..", "../up", "a/b", ".hidden", "", "x" * 80, "a\x00b"])
def test_a_run_s_name_cannot_lead_out_of_the_folder(page: Page, root: Path, name: str) -> None:
    before = sorted(root.parent.iterdir())
    assert page.ask("/api/runs", {"name": name, "persona": PERSONA})[0] == 400
    assert sorted(root.parent.iterdir()) == before
    assert page.ask("/api/runs/..%2F..%2Fetc")[0] in (400, 404)


# --- persona and rows -------------------------------------------------------------------------------------------------


def test_a_run_shows_what_its_files_hold(page: Page, run: Path) -> None:
    (run / "log.jsonl").write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 1.5}\n{"step": 3, "lo')
    shown = page.ask(f"/api/runs/{run.name}")[1]
    assert shown["persona"]["name"] == {"zh": "小文", "en": "Xiaowen"}
    assert shown["rows"] == 3
    assert shown["loss"] == [[1, 2.5], [2, 1.5]]
    assert run.name in [one["name"] for one in page.ask("/api/site")[1]["runs"]]


def test_a_wrong_persona_is_one_line(page: Page) -> None:
    status, answer, _ = page.ask("/api/runs", {"name": "other", "persona": {"owner": "", "name": "x"}})
    assert status == 400
    assert "owner is missing" in answer["error"]
    status, answer, _ = page.ask("/api/runs", {"name": "other", "persona": {"owner": "a\nb"}})
    assert status == 400
    assert "line break" in answer["error"]


def test_two_tabs_do_not_overwrite_each_other(page: Page, run: Path) -> None:
    path = f"/api/runs/{run.name}/persona"
    version = page.ask(f"/api/runs/{run.name}")[1]["persona_version"]
    first = page.ask(path, {"persona": PERSONA | {"owner": "甲"}, "version": version}, method="PUT")
    second = page.ask(path, {"persona": PERSONA | {"owner": "乙"}, "version": version}, method="PUT")
    assert (first[0], second[0]) == (200, 409)
    assert "甲" in (run / "persona.yaml").read_text(encoding="utf-8")


def test_rows_are_found_edited_and_rejected(page: Page, run: Path) -> None:
    path = f"/api/runs/{run.name}/rows"
    found = page.ask(f"{path}?q=WENXIN")[1]
    assert found["total"] == 1
    row = found["rows"][0]
    row["messages"][1]["content"] = "文心大佬"
    status, saved, _ = page.ask(path, {"version": row["version"], "messages": row["messages"]})
    assert status == 200
    assert page.ask(path, {"version": row["version"], "messages": row["messages"]})[0] == 409  # a second tab
    assert page.ask(path, {"version": saved["version"], "messages": None})[0] == 200

    kept = list(read_conversations(run / "data" / "conversations.jsonl"))
    assert [one.question for one in kept] == ["你是谁？", "1+1?"]
    rejected = json.loads((run / "data" / "rejected.jsonl").read_text(encoding="utf-8"))
    assert rejected["meta"]["rejected"] == "by hand"
    assert rejected["messages"][1]["content"] == "文心大佬"


def test_an_edit_keeps_the_roles_and_is_not_empty(page: Page, run: Path) -> None:
    path = f"/api/runs/{run.name}/rows"
    row = page.ask(path)[1]["rows"][0]
    for messages in ([{"role": "user", "content": "x"}], [row["messages"][0], {"role": "assistant", "content": " "}]):
        assert page.ask(path, {"version": row["version"], "messages": messages})[0] == 400
    assert len(list(read_conversations(run / "data" / "conversations.jsonl"))) == 3


# --- commands at work -------------------------------------------------------------------------------------------------


def test_a_command_in_a_terminal_is_seen_and_respected(page: Page, run: Path) -> None:
    with folder_lock(run):
        assert page.ask(f"/api/runs/{run.name}")[1]["busy"] is True
        status, answer, _ = page.ask(f"/api/runs/{run.name}/start", {})
        assert status == 400
        assert "a command is working on this run" in answer["error"]
        row = page.ask(f"/api/runs/{run.name}/rows")[1]["rows"][0]
        assert page.ask(f"/api/runs/{run.name}/rows", {"version": row["version"], "messages": None})[0] == 400
    assert page.ask(f"/api/runs/{run.name}")[1]["busy"] is False


def wait_for_end(page: Page, run: Path, seconds: float = 120) -> dict:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job = page.ask(f"/api/runs/{run.name}")[1]["job"]
        if not job["running"] and job["exit"] is not None:
            return job
        time.sleep(0.3)
    raise AssertionError(job)


def test_a_command_that_fails_says_why(page: Page, run: Path) -> None:
    started = page.ask(f"/api/runs/{run.name}/start", {"model": "no-such-model"})
    assert started[0] == 200, started
    job = wait_for_end(page, run)
    assert job["exit"] == 2
    assert "no such model: no-such-model" in job["tail"]
    assert job["command"].startswith("idkit --ui en run --persona")


def test_options_cannot_be_slipped_in(page: Page, run: Path) -> None:
    assert page.ask(f"/api/runs/{run.name}/start", {"model": "--base-url=http://evil"})[0] == 400
    assert page.ask(f"/api/runs/{run.name}/start", {"rows": "10 --api-key-env HOME"})[0] == 400
    assert page.ask(f"/api/runs/{run.name}/export", {"format": "../x"})[0] == 400


def test_a_job_outlives_the_page(tmp_path: Path) -> None:
    """The job goes on when the page's server ends, and the next server knows how it ended."""
    from identity_kit.chat.web.jobs import job_state

    program = (
        "import sys; from pathlib import Path; from identity_kit.chat.web.jobs import start_job;"
        "start_job(Path(sys.argv[1]), ['--ui', 'en', 'chat', 'no-such-model', '-m', 'x'])"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)
    deadline = time.monotonic() + 60
    while job_state(tmp_path)["exit"] is None and time.monotonic() < deadline:
        time.sleep(0.2)
    state = job_state(tmp_path)
    assert (state["running"], state["exit"]) == (False, 2)
    assert "no such model" in state["tail"]


# --- talking ----------------------------------------------------------------------------------------------------------


def test_answers_stream_as_lines(tiny: Path, tmp_path: Path) -> None:
    with page_server(tmp_path, str(tiny), "--compare", str(tiny)) as page:
        body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
        replies = {}
        for side in ("base", "tuned"):
            status, text, headers = page.ask("/api/chat", body | {"side": side})
            assert (status, headers["Content-Type"]) == (200, "application/x-ndjson; charset=utf-8")
            lines = [json.loads(line) for line in text.splitlines()]
            assert lines[-1]["finish"] == "length"
            replies[side] = "".join(line["text"] for line in lines)
        assert replies["base"] == replies["tuned"]


def test_beyond_loopback_a_key_is_needed(tmp_path: Path) -> None:
    import asyncio

    from aiohttp.test_utils import TestClient, TestServer

    from identity_kit.chat.web.server import Site, make_app

    async def visit() -> list[int]:
        app = make_app(Site(tmp_path), port=80, host="0.0.0.0", key="secret")
        async with TestClient(TestServer(app)) as client:
            answers = [await client.get(path) for path in ("/api/site", "/?key=wrong", "/?key=secret", "/api/site")]
            return [answer.status for answer in answers]

    assert asyncio.run(visit()) == [403, 403, 200, 200]
