"""A tiny model that says something at once, and the page's server in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import save_tiny_qwen2


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with wide random weights, so that it says something at once."""
    return save_tiny_qwen2(tmp_path_factory.mktemp("tiny"), seed=3, initializer_range=0.5)
