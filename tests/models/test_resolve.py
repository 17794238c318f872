"""From a model's name to its files."""

import json
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


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, "no such model"),
        (lambda p: p.mkdir(), "no model in this folder"),
        (lambda p: (p.mkdir(), (p / "run.json").write_text("{}")), "no merged model yet"),
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
