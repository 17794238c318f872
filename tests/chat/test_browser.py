"""The page in headless Chromium: by mouse and keyboard, in both languages, at phone width."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, browser, missing
from web_server import Page, page_server

from identity_kit.conversation import conversation, write_conversations

pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(missing()), reason=missing() or "a browser is here")]

TAB, ENTER = "\ue004", "\ue007"
TABS = ("persona", "data", "train", "report", "chat", "export")


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as page:
        yield page


@pytest.fixture
def fresh(window: Browser, tmp_path: Path) -> Iterator[tuple[Browser, Page, Path]]:
    """The browser at a page server over an empty folder, in English, with nothing remembered."""
    with page_server(tmp_path / "runs") as page:
        window.open(page.url + "/style.css")  # of the page's origin, and runs nothing
        window.run("localStorage.clear(); localStorage.setItem('idkit:language', '\"en\"')")
        window.size(1200, 800)
        window.open(page.url + "/")
        window.complaints()  # of the page before
        yield window, page, tmp_path / "runs"
        window.open("about:blank")


def make_run(page: Page, root: Path, name: str = "one") -> Path:
    assert page.ask("/api/runs", {"name": name, "persona": {"owner": "文心大佬", "name": "小文"}})[0] == 200
    rows = [conversation(("user", f"question {i}"), ("assistant", f"answer {i}")) for i in range(40)]
    rows.append(conversation(("user", "<img src=x onerror=document.title='broken'>"), ("assistant", "<b>bold</b>")))
    write_conversations(root / name / "data" / "conversations.jsonl", rows)
    return root / name


def test_a_persona_is_made_with_the_keyboard_alone(fresh: tuple[Browser, Page, Path]) -> None:
    window, _, root = fresh
    window.wait(lambda: "Fill in this form" in window.text())
    for _ in range(20):
        if window.run("return document.activeElement.id") == "p-run":
            break
        window.keys(TAB)
    window.type("#p-run", "wenxin")
    window.keys(TAB)
    assert window.run("return document.activeElement.id") == "p-owner"
    window.type("#p-owner", "文心大佬")
    window.keys(ENTER)
    window.wait(lambda: "/wenxin/train" in window.command("url"))
    text = (root / "wenxin" / "persona.yaml").read_text(encoding="utf-8")
    assert "文心大佬的智能助手" in text


def test_what_was_typed_survives_a_reload(fresh: tuple[Browser, Page, Path]) -> None:
    window, page, root = fresh
    make_run(page, root)
    window.open(page.url + "/#/one/persona")
    window.wait(lambda: window.run("return document.querySelector('#p-owner')?.value") == "文心大佬")
    window.clear("#p-owner")
    window.type("#p-owner", "新主人")
    window.command("refresh", {})
    window.wait(lambda: window.run("return document.querySelector('#p-owner')?.value") == "新主人")
    assert "There are changes not saved" in window.text()
    assert "新主人" not in (root / "one" / "persona.yaml").read_text(encoding="utf-8")


def test_rows_are_searched_and_rejected_and_never_become_markup(fresh: tuple[Browser, Page, Path]) -> None:
    window, page, root = fresh
    run = make_run(page, root)
    window.open(page.url + "/#/one/data")
    window.wait(lambda: "41 rows" in window.text())
    window.type("input[type=search]", "onerror")
    window.wait(lambda: window.text(".row .quiet") == "1 rows")
    assert "<img src=x" in window.text()
    assert "<b>bold</b>" in window.text()
    assert window.run("return document.querySelectorAll('main img, main b').length") == 0
    window.run("[...document.querySelectorAll('article button')].find((b) => b.textContent === 'Reject').click()")
    window.wait(lambda: "Moved to data/rejected.jsonl" in window.text("#notice"))
    assert "onerror" in (run / "data" / "rejected.jsonl").read_text(encoding="utf-8")
    assert window.run("return document.title") != "broken"


@pytest.mark.parametrize("width", [1200, 390, 320])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_tab_fits_and_speaks_one_language(fresh: tuple[Browser, Page, Path], width: int, language: str) -> None:
    window, page, root = fresh
    run = make_run(page, root)
    (run / "log.jsonl").write_text("".join(json.dumps({"step": i, "loss": 3 / i}) + "\n" for i in range(1, 30)))
    window.size(width, 800)
    window.run("localStorage.setItem('idkit:language', arguments[0])", json.dumps(language))
    words = {"zh": "身份 数据 训练 成绩单 对话 导出", "en": "Persona Data Training Report Chat Export"}[language]
    for tab, title in zip(TABS, words.split(), strict=True):
        window.open(f"{page.url}/#/one/{tab}")
        window.command("refresh", {})
        window.wait(lambda title=title: window.text("h1") == title)
        assert window.run("return document.documentElement.scrollWidth - innerWidth") <= 0, tab
        assert " ".join(window.text("nav").split()) == words
    assert window.complaints() == []


def test_a_run_started_in_a_terminal_shows_up(fresh: tuple[Browser, Page, Path]) -> None:
    window, page, root = fresh
    run = make_run(page, root)
    window.open(page.url + "/#/one/train")
    window.wait(lambda: "The loss curve will be here" in window.text())
    (run / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    (run / "run.json").write_text(json.dumps({"stages": {"data": {"seconds": 3}}}))
    window.wait(lambda: "step 2 · Loss 1.000" in window.text())
    assert window.run("return document.querySelector('.stages .done')?.textContent") == "data 3 s"


def test_a_talk_streams_is_kept_and_can_be_stopped(window: Browser, tiny: Path, tmp_path: Path) -> None:
    with page_server(tmp_path, str(tiny), "--compare", str(tiny)) as page:
        window.size(1200, 800)
        window.open(page.url)
        window.run("localStorage.clear(); localStorage.setItem('idkit:language', '\"en\"')")
        window.open(page.url + "/")
        window.command("refresh", {})
        window.wait(lambda: window.text("h1") == "Chat")
        window.type("#say", "你是谁？" + ENTER)
        window.wait(lambda: len(window.text(".bubble.base")) > 20, 120)
        window.run("[...document.querySelectorAll('button')].find((b) => b.textContent === 'Stop').click()")
        window.wait(
            lambda: window.run(
                "return [...document.querySelectorAll('button')].find((b) => b.textContent === 'Stop').disabled"
            )
        )
        said = window.text(".bubble.base")
        window.command("refresh", {})
        window.wait(lambda: window.text(".bubble.base") == said)
        assert window.text(".bubble.user") == "你是谁？"
        window.open("about:blank")


@pytest.mark.slow
def test_from_persona_through_training_to_a_talk(fresh: tuple[Browser, Page, Path], smollm_gguf: Path) -> None:
    window, page, root = fresh
    window.wait(lambda: "Fill in this form" in window.text())
    window.type("#p-run", "tiny")
    window.type("#p-owner", "Wenxin")
    window.run("document.querySelector('details').open = true")
    window.run("document.querySelector('input[value=zh]').click()")
    window.click("form button.main")
    window.wait(lambda: window.text("h1") == "Training")
    for name, value in (("model", "embedded:smollm2-135m"), ("rows", "12"), ("steps", "2"), ("probes", "1")):
        window.clear(f"#t-{name}")
        window.type(f"#t-{name}", value)
    window.click("#t-start")
    window.wait(lambda: "Running" in window.text(), 60)
    window.command("refresh", {})  # a reload loses nothing
    window.wait(lambda: "Running" in window.text() or "Ended" in window.text(), 60)
    window.wait(lambda: "Ended" in window.text() or "did not succeed" in window.text(), 900)
    assert "Ended" in window.text(), window.text()
    assert (root / "tiny" / "merged" / "config.json").is_file()
    window.open(page.url + "/#/tiny/report")
    window.wait(lambda: "recall" in window.text("table"))
    window.open(page.url + "/#/tiny/chat")
    window.wait(lambda: window.text("h1") == "Chat")
    window.type("#say", "Who are you?" + ENTER)
    window.wait(lambda: len(window.text(".bubble.tuned")) > 10 and len(window.text(".bubble.base")) > 10, 120)
