"""`idkit generate` and `idkit prompts` as a user runs them: data on stdout, words on stderr, exit codes."""

import json
from pathlib import Path

from identity_kit.cli import main
from tests.llm.loopback import Loopback


def test_one_option_is_enough_and_the_path_is_printed(idkit, tmp_path: Path) -> None:
    done = idkit("generate", "--owner", "文心大佬", "-n", "30", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "out" / "conversations.jsonl")
    assert "accepted 17 of 17" in done.stderr or "接受 17/17" in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        ".lock", "conversations.jsonl", "rejected.jsonl", "manifest.json", "journal.jsonl",
    }  # fmt: skip


def test_a_dry_run_shows_the_plan_and_writes_nothing(idkit, tmp_path: Path) -> None:
    options = ("generate", "--owner", "Acme", "-n", "90", "--provider", "local", "-o", tmp_path / "out", "--dry-run")
    done = idkit(*options, "--json")
    found = json.loads(done.stdout)
    assert found["rows"]["identity"] == 52
    assert len(found["prompts"]) == 3
    assert found["requests"]["writer"] > 10
    assert found["tokens"]["in"] > 1000
    assert sum(found["counts"]["language"].values()) == 52
    assert not (tmp_path / "out").exists()
    assert "# Role" in idkit(*options).stdout


def test_an_endpoint_by_address_with_limits_and_json(idkit, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-canary-123456")
    with Loopback() as server:
        done = idkit(
            "generate", "--owner", "青禾书店", "-n", "24", "--base-url", server.url, "--llm", "m", "--api-key-env", "SOME_KEY",
            "--rehearse-with", server.url, "--rpm", "6000", "--concurrency", "4", "--max-cost", "1", "--price-in", "1",
            "--price-out", "1", "-o", tmp_path / "out", "--json",
        )  # fmt: skip
        assert server.most_in_flight <= 8
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["accepted"] == 24
    kept = "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    assert "sk-canary" not in kept + done.stdout + done.stderr


def test_wrong_options_are_one_line_and_exit_2(tmp_path: Path, capsys) -> None:
    for options, words in (
        ((), "--owner"),
        (("--owner", "A", "--llm", "x"), "--provider or --base-url"),
        (("--owner", "A", "--provider", "nosuch"), "unknown provider"),
        (("--owner", "A", "--mix", "a:b"), "--mix"),
        (("--owner", "A", "--set", "turn_shares=[1,1,0,0]"), "turn_shares"),
        (("--owner", "A", "--set", "nosuch=1"), "nosuch"),
        (("--owner", "A", "-n", "0"), "-n"),
        (("--owner", "A", "--base-url", "http://127.0.0.1:9/v1", "--llm", "m", "--max-cost", "1"), "--price-in"),
        (("--owner", "A", "--prompts", tmp_path / "nosuch"), "no such folder"),
    ):
        words_given = ["generate", "--ui", "en", "-o", str(tmp_path / "out"), *map(str, options)]
        assert main(words_given) == 2
        said = capsys.readouterr().err
        assert words in said.strip().splitlines()[-1], said


def test_a_wrong_key_is_told_with_the_providers_words(idkit, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-canary-123456")
    with Loopback(faults=["401:Incorrect API key provided: sk-canary-123456"]) as server:
        done = idkit(
            "generate", "--ui", "en", "--owner", "A", "--base-url", server.url, "--llm", "m", "--api-key-env", "SOME_KEY",
            "-n", "9", "-o", tmp_path / "out",
        )  # fmt: skip
    assert done.returncode == 2
    assert "Incorrect API key provided: ***" in done.stderr
    assert "SOME_KEY" in done.stderr


def test_prompts_are_listed_and_shown(idkit) -> None:
    listed = json.loads(idkit("prompts", "list", "--json").stdout)
    assert [row["name"] for row in listed] == [
        "persona",
        "identity_pair",
        "identity_answer",
        "other_question",
        "domain_answer",
        "judge",
    ]
    shown = idkit("prompts", "show", "identity_pair", "--lang", "zh").stdout
    assert "# Role" in shown and "## Rules" in shown
    assert idkit("prompts", "show", "nosuch").returncode == 2


def test_rows_that_are_there_are_not_lost_without_a_word(tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    command = ["generate", "--ui", "en", "--owner", "文心大佬", "-o", str(out)]
    own = ["--set", "contrast=0", "--set", "rehearsal=0"]
    assert main([*command, *own, "--set", "identity=12"]) == 0
    written = (out / "conversations.jsonl").read_text(encoding="utf-8")
    capsys.readouterr()

    assert main([*command, "-n", "1", "--mix", "1:5"]) == 2
    assert "--set identity=0" in capsys.readouterr().err
    assert main([*command, "--set", "identity=0"]) == 2
    assert "not one row" in capsys.readouterr().err
    assert (out / "conversations.jsonl").read_text(encoding="utf-8") == written

    edited = written + written.splitlines(keepends=True)[0]
    (out / "conversations.jsonl").write_text(edited, encoding="utf-8")
    assert main([*command, *own, "--set", "identity=12"]) == 2
    assert "move it away" in capsys.readouterr().err
    assert (out / "conversations.jsonl").read_text(encoding="utf-8") == edited
    assert main([*command, *own, "--set", "identity=12", "--fresh"]) == 0
    assert (out / "conversations.jsonl").read_text(encoding="utf-8") == written


def test_a_folder_that_cannot_be_is_one_line_and_exit_2(tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nope"), tmp_path / ("名" * 100)):
        assert main(["generate", "--ui", "en", "--owner", "A", "-n", "9", "-o", str(out)]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert "choose another -o" in said[-1] and "Traceback" not in "".join(said)


def test_a_fact_given_in_one_text_is_asked_about_in_its_language(tmp_path: Path) -> None:
    persona, out = tmp_path / "persona.yaml", tmp_path / "out"
    assert main(["init", "--owner", "文心大佬", "--fact", "几点营业=每天九点到二十一点", "-o", str(persona)]) == 0
    assert main(["generate", "--persona", str(persona), "--set", "identity=0", "-o", str(out)]) == 0
    rows = [json.loads(line) for line in (out / "conversations.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["meta"]["language"] for row in rows] == ["zh"] * 6
