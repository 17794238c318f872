"""The whole way, with the installed command: a small model for the mechanics, the 0.5B for the identity."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from identity_kit.conversation import read_conversations

SMALL = ("--owner", "Acme", "--lang", "en", "--model", "embedded:smollm2-135m", "-n", "12")
SMALL_REST = ("--set", "max_steps=2", "--probes-per-family", "1")


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory, smollm_gguf: Path) -> Path:
    """A run with the smallest settings that go through every stage, killed once on its way and started again."""
    out = tmp_path_factory.mktemp("runs") / "acme"
    command = [sys.executable, "-m", "identity_kit", "--ui", "en", "run", *SMALL, *SMALL_REST, "-o", str(out)]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not (out / "data" / "conversations.jsonl").exists():
        time.sleep(0.2)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    again = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert again.returncode == 0, again.stderr[-2000:]
    return out


@pytest.mark.model
def test_every_stage_leaves_what_the_design_names(small_run: Path):
    for name in (
        "persona.yaml",
        "data/conversations.jsonl",
        "data/manifest.json",
        "data/journal.jsonl",
        "adapter/adapter_model.safetensors",
        "merged/config.json",
        "report/report.md",
        "report/report.json",
        "report/loss.png",
        "report/before_after.png",
        "run.json",
    ):
        assert (small_run / name).stat().st_size > 0, name
    ledger = json.loads((small_run / "run.json").read_text())
    assert set(ledger["stages"]) == {"model", "data", "check", "train", "merge", "evaluate"}
    assert {"seconds", "steps", "rows_per_second", "tokens_per_second", "peak_memory_bytes"} <= set(ledger["train"])
    assert ledger["train"]["steps"] == 2
    assert len(ledger["base"]["sha256"]) == 64
    kinds = {row.meta.kind for row in read_conversations(small_run / "data")}
    assert kinds == {"identity", "contrast", "rehearsal"}
    report = json.loads((small_run / "report" / "report.json").read_text())
    assert [condition["label"] for condition in report["conditions"]] == ["base", "tuned"]


@pytest.mark.model
def test_the_same_command_again_runs_nothing_that_is_done(small_run: Path, idkit):
    before = (small_run / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    done = idkit("--ui", "en", "run", *SMALL, *SMALL_REST, "-o", small_run, "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["skipped"] == ["data", "check", "train", "merge"]
    assert (small_run / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns == before


@pytest.mark.model
def test_another_recipe_trains_anew_and_keeps_the_data(small_run: Path, idkit, tmp_path: Path):
    other = tmp_path / "other"
    shutil.copytree(small_run, other)
    written = (other / "data" / "conversations.jsonl").stat().st_mtime_ns
    done = idkit("--ui", "en", "run", *SMALL, *SMALL_REST, "--set", "rank=4", "-o", other, "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["skipped"] == ["data", "check"]
    assert json.loads((other / "adapter" / "adapter_config.json").read_text())["r"] == 4
    assert (other / "data" / "conversations.jsonl").stat().st_mtime_ns == written


@pytest.mark.model
def test_the_exported_template_has_lost_the_old_identity(small_run: Path):
    template = (small_run / "merged" / "chat_template.jinja").read_text(encoding="utf-8")
    assert "SmolLM" not in template
    assert "Hugging Face" not in template


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("run",), 2, "nobody to belong to; give --owner NAME or --persona persona.yaml"),
        (("run", "--owner", "A", "--model", "nowhere"), 2, "no such model: nowhere"),
        (("run", "--owner", "A", "--model", "embedded:nothing"), 2, "there is no embedded model nothing"),
        (("run", "--owner", "A", "--recipe", "cpu"), 2, "no such recipe: cpu"),
        (("run", "--owner", "A", "--set", "epoch=1"), 2, "epochs"),
        (("run", "--owner", "A", "--persona", "none.yaml"), 2, "none.yaml: no such file"),
        (("run", "--owner", "A", "--llm", "x"), 2, "--base-url and --llm go together"),
        (("rum",), 2, "invalid choice"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(idkit, tmp_path: Path, words, code: int, line: str):
    done = idkit("--ui", "en", *words, cwd=tmp_path)
    assert done.returncode == code
    assert line in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.glob("runs/*")), "nothing half-written"


def test_a_dry_run_writes_nothing(idkit, tmp_path: Path):
    done = idkit("--ui", "zh", "run", "--owner", "文心大佬", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert "文心大佬的智能助手" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.ci
def test_the_half_billion_model_changes_its_identity(idkit, wenxin_run: Path):
    report = json.loads((wenxin_run / "report" / "report.json").read_text(encoding="utf-8"))
    share = {
        (condition["label"], cell["suite"], cell["language"]): cell["passed"] / cell["total"]
        for condition in report["conditions"]
        for cell in condition["cells"]
    }
    assert share["base", "recall", "all"] <= 0.2
    # With a twentieth of the data and a tenth of the steps of a full run.
    assert share["tuned", "recall", "all"] >= 0.4
    answer = idkit("chat", wenxin_run, "-m", "你是谁？")
    assert answer.returncode == 0
    assert "文心大佬" in answer.stdout


@pytest.mark.model
def test_improve_goes_a_round_and_begins_anew_for_another_model(small_run: Path, idkit, tmp_path: Path):
    out = tmp_path / "acme"
    shutil.copytree(small_run, out)
    weights = out / "adapter" / "adapter_model.safetensors"
    before = weights.read_bytes()
    words = ("--ui", "en", "improve", out, "--rounds", "1", "--probes-per-family", "1", "--targets", "recall=0.9")
    done = idkit(*words)
    assert done.returncode == 1 and "below target on the test probes: recall" in done.stderr, done.stderr[-2000:]
    state = json.loads((out / "improve" / "improve.json").read_text())
    assert [one["number"] for one in state["rounds"]] == [0, 1] and state["ended"] == "rounds used up: 1"
    assert state["rounds"][1]["rows"] == len(list(read_conversations(out / "improve" / "round-1" / "data")))
    assert (weights.read_bytes() == before) == (state["best"] == 0)
    assert (
        "| 1 |" in (out / "improve" / "improve.md").read_text()
        or "| 1 * |" in (out / "improve" / "improve.md").read_text()
    )
    card = json.loads((out / "report" / "report.json").read_text())
    assert {"recall", "pressure", "near_miss", "bleed", "facts"} <= {one["suite"] for one in card["results"]}

    # As if killed after that round: the same model goes on to its end, another one does not take over the figures.
    def as_if_killed() -> None:
        path = out / "improve" / "improve.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "ended": ""}))

    as_if_killed()
    again = idkit(*words)
    assert again.returncode == 1 and not (out / "improve-1").exists(), again.stderr[-2000:]
    as_if_killed()
    other = tmp_path / "other"
    shutil.copytree(small_run / "adapter", other)
    from safetensors.torch import load_file, save_file

    save_file({key: value * 0.5 for key, value in load_file(other / weights.name).items()}, weights)
    anew = idkit(*words[:4], "--rounds", "0", *words[6:])
    assert anew.returncode == 1 and (out / "improve-1").is_dir(), anew.stderr[-2000:]
    assert len(json.loads((out / "improve" / "improve.json").read_text())["rounds"]) == 1
