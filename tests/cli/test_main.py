"""The command's frame: help, languages, start-up, exit codes."""

import os
import subprocess
import sys

import pytest

from identity_kit.cli import COMMANDS, main


def test_help_comes_without_anything_heavy():
    code = (
        "import sys; from identity_kit.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'datasets', 'openai', 'matplotlib', 'pydantic', 'rich', 'jinja2', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"
    assert "idkit run --owner" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_in_both_languages(command: str, capsys):
    for language in ("zh", "en"):
        with pytest.raises(SystemExit) as caught:
            main(["--ui", language, command, "--help"])
        assert caught.value.code == 0
        text = capsys.readouterr().out
        assert f"idkit {command}" in text
        assert any("\u4e00" <= c <= "\u9fff" for c in text) or language == "en"


def test_a_wrong_option_is_one_line_and_exit_2(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--ui", "en", "run", "--ownr", "x"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--owner", "x", "-n", "many"], "-n/--rows：'many' 不是整数"),
        (["eval", "x", "--temperature", "warm"], "--temperature：'warm' 不是数"),
        (["run", "--hub", "disk"], "--hub：没有 'disk' 这个选择"),
        (["run", "--owner"], "--owner：后面要跟一个值"),
        (["convert", "a.jsonl"], "还缺：-o/--output, --to"),
        (["run", "--bogus"], "不认识：--bogus"),
        (["ran"], "没有 'ran' 这个选择"),
    ],
)
def test_what_is_wrong_with_a_command_is_said_in_chinese_too(words: list[str], said: str, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--ui", "zh", *words])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("错误：") and said in error
    assert "argument" not in error and "invalid" not in error


def test_the_frame_of_the_help_speaks_the_interface_language(capsys):
    for language, heads in (
        ("zh", ("用法：", "选项:", "显示这份说明")),
        ("en", ("usage: ", "options:", "show this help")),
    ):
        with pytest.raises(SystemExit):
            main(["--ui", language, "run", "--help"])
        text = capsys.readouterr().out
        assert all(head in text for head in heads)


def test_init_writes_what_load_reads(idkit, tmp_path):
    done = idkit(
        "init", "--owner", "文心大佬", "--owner-en", "Wenxin", "--fact", "几点开门=九点", "-o", tmp_path / "p.yaml"
    )
    assert done.returncode == 0
    assert "owner:\n  zh: 文心大佬\n  en: Wenxin" in (tmp_path / "p.yaml").read_text(encoding="utf-8")
    again = idkit("--ui", "en", "init", "--owner", "B", "-o", tmp_path / "p.yaml")
    assert again.returncode == 2
    assert "already there" in again.stderr


def test_models_list_and_doctor_speak_json(idkit):
    import json

    models = json.loads(idkit("models", "list", "--json").stdout)
    assert {model["name"] for model in models} == {"qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "smollm2-135m"}
    findings = json.loads(idkit("doctor", "--json").stdout)
    assert {"what", "state", "found", "fix"} <= set(findings[0])


@pytest.mark.parametrize("there", [True, False])
def test_doctor_tells_which_compiled_parts_are_there(there, monkeypatch):
    from identity_kit.doctor import examine
    from identity_kit.models import fused
    from identity_kit.rename import fast

    monkeypatch.setattr(fast, "COMPILED", True)
    monkeypatch.setattr(fused, "COMPILED", there)
    found = {finding.what: finding for finding in examine()}
    assert found["idkit rename"].state == "ok"
    assert found["idkit train"].state == ("ok" if there else "note")
    assert bool(found["idkit train"].fix) != there


@pytest.mark.parametrize(
    ("load", "running", "policy"),
    [(0.1, 3, None), (1.3, 3, "passive"), (1.3, 1, None), (None, 1, "passive")],
    ids=["quiet", "at work", "was at work", "not told"],
)
def test_threads_sleep_while_they_wait_where_others_are_at_work(load, running, policy, monkeypatch):
    from identity_kit import cli

    def told():
        if load is None:
            raise OSError("no load here")
        return (load, 0.0, 0.0)

    monkeypatch.setattr(cli.os, "getloadavg", told)
    monkeypatch.setattr(cli, "_running", lambda: running)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    cli._settle_libraries()
    assert os.environ.get("OMP_WAIT_POLICY") == policy
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    cli._settle_libraries()
    assert os.environ["OMP_WAIT_POLICY"] == "active"
