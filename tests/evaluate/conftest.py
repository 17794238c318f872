"""A real model made in the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import save_tiny_qwen2


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_qwen2(tmp_path_factory.mktemp("tiny"), initializer_range=0.02)
