"""`idkit eval` as a user runs it, on a small real model."""

import json
from pathlib import Path

from identity_kit.cli import main

PROBES = [
    {"id": "r", "suite": "recall", "language": "en", "expect": {"says": ["name"]}, "q": "Whose voice is this?"},
    {"id": "n", "suite": "near_miss", "language": "en", "expect": {"persona_absent": True}, "q": "Who made Siri?"},
]


def _probes(path: Path) -> Path:
    rows = [{**row, "messages": [{"role": "user", "content": row["q"]}]} for row in PROBES]
    for row in rows:
        row.pop("q")
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def test_figures_on_stdout_words_on_stderr_and_the_exit_code(idkit, tiny_folder: Path, tmp_path: Path):
    words = ("eval", tiny_folder, "--owner", "Acme", "--probes", _probes(tmp_path / "p.jsonl"), "-o", tmp_path / "out")
    done = idkit(*words, "--base", tiny_folder, "--json", "--fail-under", "near-miss=100%")
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)
    assert [condition["label"] for condition in card["conditions"]] == [
        "base",
        "base + system prompt",
        "tuned",
        "tuned + system prompt",
    ]
    assert "report.md" in done.stderr
    assert card["hashes"]["model: tuned"] == card["hashes"]["model: base"]
    below = idkit(*words, "--conditions", "tuned", "--fail-under", "recall=0.95")
    assert below.returncode == 1 and "below target: recall 0/1" in below.stderr
    assert "recall" in below.stdout


def test_a_sampled_condition(idkit, tiny_folder: Path, tmp_path: Path):
    words = ("eval", tiny_folder, "--owner", "Acme", "--probes", _probes(tmp_path / "p.jsonl"), "-o", tmp_path / "out")
    done = idkit(*words, "--conditions", "tuned", "--samples", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert [condition["samples"] for condition in json.loads(done.stdout)["conditions"]] == [1, 2]


def test_bad_input_is_one_line_before_anything_is_asked(tiny_folder: Path, tmp_path: Path, capsys):
    for words, said in (
        (("eval", tiny_folder), "nobody to belong to"),
        (("eval", tmp_path / "none", "--owner", "A"), "no such model"),
        (("eval", tiny_folder, "--owner", "A", "--suites", "recal"), "no suite recal"),
        (("eval", tiny_folder, "--owner", "A", "--fail-under", "recall=2"), "a share lies between 0 and 1"),
        (("eval", tiny_folder, "--owner", "A", "--fail-under", "domain=1"), "suites measured here"),
        (("eval", tiny_folder, "--owner", "A", "--conditions", "base"), "base needs --base MODEL"),
        (("eval", tiny_folder, "--owner", "A", "--conditions", "fine"), "no condition fine"),
        (("eval", tiny_folder, "--owner", "A", "--probes", tmp_path / "p.jsonl"), "no such file"),
    ):
        _refused(words, said, tmp_path, capsys)


def _refused(words, said, tmp_path: Path, capsys) -> None:
    code = main([*map(str, words), "-o", str(tmp_path / "out"), "--ui", "en"])
    said_out, said_err = capsys.readouterr()
    assert (code, said in said_err) == (2, True), (words, said_err)
    assert said_err.count("\n") == 1 and not said_out, said_err


def test_options_that_cannot_be_meant_are_refused_before_a_model_is_looked_for(tmp_path: Path, capsys):
    blank, latin, own = tmp_path / "blank.txt", tmp_path / "latin.txt", _probes(tmp_path / "p.jsonl")
    blank.write_text(" \n", encoding="utf-8")
    latin.write_bytes("Größe".encode("latin-1"))
    for words, said in (
        (("--judge-model", "m"), "--judge-url is missing"),
        (("--judge-url", "http://x/v1"), "--judge-model is missing"),
        (("--judge-model", "m", "--judge-url", "x"), "--judge-url: not a web address"),
        (("--fail-under", ","), 'cannot read ","'),
        (("--fail-under", ""), "--fail-under: cannot read"),
        (("--suites", ","), "no suite is named"),
        (("--probes", own, "--suites", "bleed"), "no suite bleed; there are: recall, near_miss"),
        (("--probes", own, "--suites", "near-miss", "--fail-under", "recall=1"), "suites measured here: near_miss"),
        (("--probes", own, "--probes", own), "is taken by"),
        (("--probes", tmp_path), "is a folder"),
        (("--persona", tmp_path), "is a folder"),
        (("--system", tmp_path), "is a folder"),
        (("--system", blank), "nothing stands in this file"),
        (("--system", latin), "not UTF-8"),
        (("--max-new-tokens", "0"), "at least 1, got 0"),
        (("--max-new-tokens", "-3"), "at least 1, got -3"),
    ):
        _refused(("eval", "no/where", "--owner", "A", *words), said, tmp_path, capsys)


def test_a_dry_run_looks_for_no_model_and_says_what_has_no_base(tmp_path: Path, capsys):
    probes = ("--probes", _probes(tmp_path / "p.jsonl"), "--suites", "near-miss")
    words = ("eval", "no/where", "--owner", "A", *probes, "--conditions", "base,tuned", "--dry-run")
    assert main([*map(str, words), "-o", str(tmp_path / "out"), "--ui", "en"]) == 0
    said = capsys.readouterr().err
    assert "there is no base (--base)" in said and "tuned: 1 answers" in said and not (tmp_path / "out").exists()
    assert main([*map(str, words), "--base", "no/base", "--ui", "en"]) == 0
    said = capsys.readouterr().err
    assert "there is no base" not in said and "base: 1 answers" in said


def test_dry_run_asks_nothing(idkit, tiny_folder: Path, tmp_path: Path):
    done = idkit("eval", tiny_folder, "--owner", "A", "--quick", "--dry-run", "-o", tmp_path / "out")
    assert done.returncode == 0 and "tuned: " in done.stderr and not (tmp_path / "out").exists()


def test_improve_needs_a_finished_run(idkit, tmp_path: Path):
    done = idkit("improve", tmp_path)
    assert done.returncode == 2 and "no run folder" in done.stderr
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    done = idkit("improve", tmp_path)
    assert done.returncode == 2 and "not finished" in done.stderr
