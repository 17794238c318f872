"""What is refused before anything is sent. Sending itself needs somebody's login and a hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from identity_kit.errors import BadInput, Stopped
from identity_kit.export.push import push_folder


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    (tmp_path / "idkit.json").write_text("{}")
    return tmp_path


def test_a_name_without_an_owner(exported: Path) -> None:
    with pytest.raises(BadInput, match="is not OWNER/NAME"):
        push_folder(exported, "name")


def test_a_folder_that_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no folder that idkit exported"):
        push_folder(tmp_path, "me/name")


def test_nobody_is_logged_in(exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(BadInput, match="nobody is logged in") as caught:
        push_folder(exported, "me/name")
    assert caught.value.fix == "hf auth login"


def test_a_hub_that_is_not_there(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 20)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Stopped, match="did not succeed"):
        push_folder(exported, "me/name")
