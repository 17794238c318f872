"""From a model's name to its files."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from identity_kit.errors import BadInput, Stopped
from identity_kit.models.resolve import hf_folder, resolve


def test_a_folder_a_run_and_an_adapter(tmp_path: Path):
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "config.json").write_text("{}")
    assert resolve(str(plain)).folder == plain
    run = tmp_path / "run"
    (run / "merged").mkdir(parents=True)
    (run / "merged" / "config.json").write_text("{}")
    (run / "run.json").write_text("{}")
    assert resolve(str(run)).folder == run / "merged"
    assert hf_folder(str(run)) == run / "merged"
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(plain)}))
    assert resolve(str(adapter)).adapter == adapter
    assert resolve(str(adapter)).folder == plain
    with pytest.raises(BadInput, match="without a merged model"):
        hf_folder(str(adapter))
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "adapter_config.json").write_text("{")
    with pytest.raises(BadInput, match="not valid JSON"):
        resolve(str(broken))
    shutil.rmtree(run / "merged")
    shutil.copytree(adapter, run / "adapter")
    trained = resolve(str(run))
    assert (trained.kind, trained.folder, trained.adapter) == ("adapter", plain, run / "adapter")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, "no such model"),
        (lambda p: p.mkdir(), "no model in this folder"),
        (lambda p: (p.mkdir(), (p / "run.json").write_text("{}")), "no trained model yet"),
    ],
)
def test_what_is_no_model_is_said(tmp_path: Path, make, words: str):
    make(tmp_path / "m")
    with pytest.raises(BadInput, match=words):
        resolve(str(tmp_path / "m"))


def test_a_file_that_is_not_gguf(tmp_path: Path):
    (tmp_path / "x.gguf").write_bytes(b"nope")
    with pytest.raises(BadInput, match="not a GGUF file"):
        resolve(str(tmp_path / "x.gguf"))


def test_a_hub_that_is_out_of_reach(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Stopped, match=r"cannot fetch nobody/nothing.*local folder"):
        resolve("nobody/nothing")


def test_a_gguf_that_another_of_its_size_replaced_is_unpacked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def unpacked(command, **options):
        (Path(command[-1]) / "config.json").write_bytes(Path(command[-2]).read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("IDKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("identity_kit.models.resolve.subprocess.run", unpacked)
    gguf = tmp_path / "m.gguf"
    gguf.write_bytes(b"GGUF first")
    first = hf_folder(str(gguf))
    assert hf_folder(str(gguf)) == first
    gguf.write_bytes(b"GGUF other")
    os.utime(gguf, ns=(1, 1))
    assert (hf_folder(str(gguf)) / "config.json").read_bytes() == b"GGUF other"
