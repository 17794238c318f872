"""Memory that a process lets go of."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from identity_kit.models import memory  # noqa: E402
from identity_kit.models.memory import forget_files, give_back_memory  # noqa: E402

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc of Linux")


def resident(kind: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind):
            return int(line.split()[1]) * 1024
    raise AssertionError(kind)


@linux
def test_a_copied_weight_of_a_mapped_file_leaves_memory_and_can_be_read_again(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    values = torch.arange(8_000_000, dtype=torch.float32)
    save_file({"big": values, "small": torch.ones(3)}, tmp_path / "model.safetensors")
    weights = load_file(tmp_path / "model.safetensors")
    assert torch.equal(weights["big"], values)
    before = resident("RssFile")
    forget_files([weights["big"]])
    assert before - resident("RssFile") > 0.9 * weights["big"].nbytes
    assert torch.equal(weights["big"], values) and weights["small"].tolist() == [1, 1, 1]


@linux
def test_a_weight_that_was_changed_in_memory_keeps_its_change(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_file({"a": torch.zeros(4_000_000), "b": torch.zeros(4_000_000)}, tmp_path / "model.safetensors")
    weights = load_file(tmp_path / "model.safetensors")
    weights["a"] += 1  # as merging an adapter does
    forget_files(weights.values())
    assert weights["a"].eq(1).all() and weights["b"].eq(0).all()


@linux
def test_memory_of_no_file_is_left_as_it_is() -> None:
    values = torch.full((4_000_000,), 7.0)
    forget_files([values])
    assert values.eq(7).all()


@linux
def test_freed_memory_is_given_back_only_above_the_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    now, given = [1000], []

    class Library:
        def malloc_trim(self, _: int) -> None:
            given.append(now[0])

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: Library())
    monkeypatch.setattr(memory, "_resident", lambda: now[0])
    give_back_memory()
    for now[0] in (1050, 1099, 1100, 1199, 1200):
        give_back_memory(spare=100)
    assert given == [1000, 1100, 1200]


def test_a_system_that_tells_nothing_loses_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_MAPS", tmp_path / "none")
    monkeypatch.setattr(memory, "_STATM", tmp_path / "none")
    values = torch.ones(3)
    forget_files([values])
    give_back_memory(spare=100)
    assert values.eq(1).all()
