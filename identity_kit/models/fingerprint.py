"""Hashes that name a model by what decides its answers."""

from __future__ import annotations

import hashlib
from pathlib import Path

from identity_kit.files import sha256_file

_KINDS = {".safetensors", ".bin", ".json", ".jinja", ".model", ".tiktoken"}


def folder_fingerprint(folder: Path, *, adapter: Path | None = None) -> str:
    """The SHA-256 over the names and contents of a model's files: weights, tokenizer, template; those of an adapter too.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in [*_model_files(folder), *(_model_files(adapter) if adapter else [])]:
        digest.update(f"{path.name}:{sha256_file(path)}\n".encode())
    return digest.hexdigest()


def _model_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in _KINDS)
