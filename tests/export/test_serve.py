"""Which engine serves what, with which command; and that the printed lines run as they are."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from identity_kit.errors import BadInput
from identity_kit.export.serve import plan_serving, vllm_command, vllm_refuses
from identity_kit.models.resolve import ModelRef


def test_a_gguf_goes_to_llama_cpp_even_where_vllm_runs(tmp_path: Path) -> None:
    ref = ModelRef("m.gguf", "gguf", gguf=tmp_path / "m.gguf")
    plan = plan_serving(ref, vllm=True)
    assert (plan.engine, plan.model, plan.name) == ("llama.cpp", tmp_path / "m.gguf", "m")


def test_a_folder_goes_to_vllm_where_it_runs(tmp_path: Path) -> None:
    ref = ModelRef("runs/one", "run", folder=tmp_path, adapter=tmp_path / "adapter")
    assert plan_serving(ref, vllm=False).engine == "llama.cpp"
    plan = plan_serving(ref, vllm=True)
    assert (plan.engine, plan.adapter) == ("vllm", None)  # a run is merged already
    words = vllm_command(plan, port=9000, slots=4, context=2048)
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert words[words.index("--served-model-name") + 1] == "one"


def test_an_adapter_is_served_unmerged_within_vllm_s_limits(adapter: Path, base: Path) -> None:
    ref = ModelRef("my-lora", "adapter", folder=base, adapter=adapter)
    words = vllm_command(plan_serving(ref, vllm=True), port=9000, slots=4, context=2048)
    assert words[words.index("--max-lora-rank") + 1] == "8"  # the smallest kernel that rank 4 fits
    assert words[words.index("--lora-modules") + 1] == f"my-lora={adapter}"
    with pytest.raises(BadInput, match="merge it first"):
        plan_serving(ref, vllm=False)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"r": 16}, None),
        ({"r": 1024}, "above vLLM's limit"),
        ({"r": 16, "use_dora": True}, "DoRA"),
        ({"r": 16, "modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"r": 16, "bias": "all"}, "biases"),
    ],
)
def test_what_vllm_cannot_load_is_said_beforehand(tmp_path: Path, config: dict, reason: str | None) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    told = vllm_refuses(tmp_path)
    assert told is None if reason is None else reason in (told or "")


def test_a_taken_port_is_one_line(tmp_path: Path, idkit: Callable) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = idkit("serve", tmp_path / "m.gguf", "--port", taken.getsockname()[1])
    assert done.returncode == 2
    assert "cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.model
def test_the_printed_lines_run_as_they_are(smollm_gguf: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "identity_kit", "--ui", "en", "serve", str(smollm_gguf), "--port", "0", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None and server.stderr is not None
        ready = json.loads(server.stdout.readline())
        shown = ""
        while "flush=True)" not in shown:
            shown += server.stderr.readline()
        line = next(line for line in shown.splitlines() if line.startswith("curl "))
        answered = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=120, check=True)
        assert json.loads(answered.stdout)["choices"][0]["message"]["content"].strip()

        (tmp_path / "ask.py").write_text(shown[shown.index("from openai") :])
        asked = subprocess.run([sys.executable, str(tmp_path / "ask.py")], capture_output=True, text=True, timeout=120)
        assert asked.returncode == 0, asked.stderr
        assert asked.stdout.strip()
        listed = subprocess.run(
            ["curl", "-s", ready["base_url"] + "/models"], capture_output=True, text=True, check=True
        )
        assert json.loads(listed.stdout)["data"][0]["id"] == ready["model"]
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
