"""GGUF files from a merged model: llama.cpp's converter in a child process, our quantiser, a trial in llama.cpp."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from identity_kit import ui
from identity_kit.errors import BadInput, Stopped
from identity_kit.export.identity import scan_text
from identity_kit.export.quantise import MIXES, quantise
from identity_kit.ui import tr

if TYPE_CHECKING:
    from identity_kit.persona import Persona

QUANTISATIONS = ("F16", *MIXES)


def quantisation_names(text: str) -> tuple[str, ...]:
    """The quantisations in a comma-separated list, in llama.cpp's spelling.

    Raises:
        BadInput: one is unknown; says which exist.
    """
    names = tuple(dict.fromkeys(part.strip().upper().replace("-", "_") for part in text.split(",") if part.strip()))
    unknown = [name for name in names if name not in QUANTISATIONS]
    if unknown or not names:
        raise BadInput(
            tr(
                f"没有量化类型 {unknown[0] if unknown else '（空）'}",
                f"no quantisation {unknown[0] if unknown else '(empty)'}",
            ),
            where="--quantize",
            fix=tr("可用：", "known: ") + ", ".join(QUANTISATIONS),
        )
    return names


def write_gguf(
    model: Path, folder: Path, quantisations: Sequence[str], persona: Persona, *, stem: str = "model"
) -> list[Path]:
    """Write one GGUF a quantisation into `folder`, as STEM-QUANTISATION.gguf; each one has answered in llama.cpp.

    Args:
        model: a merged Hugging Face folder with a neutral chat template.

    Raises:
        Stopped: the converter does not know the architecture, a file does not load, or the disk is full.
    """
    _check_room(model, folder, len(quantisations))
    made = []
    with tempfile.TemporaryDirectory(dir=folder, prefix=".convert.") as scratch:
        half = Path(scratch) / "f16.gguf"
        ui.say(tr("转换为 GGUF（F16）…", "converting to GGUF (F16) …"))
        convert(model, half, persona.name.get(persona.languages[0]))
        scan_metadata(half, persona)
        for name in quantisations:
            target = folder / f"{stem}-{name}.gguf"
            if name == "F16":
                shutil.copyfile(half, target)
            else:
                ui.say(tr(f"量化为 {name} …", f"quantising to {name} …"))
                quantise(half, target, name)
            try_gguf(target)
            made.append(target)
    return made


def _check_room(model: Path, folder: Path, files: int) -> None:
    weights = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    if shutil.disk_usage(folder).free < weights * (1 + files):
        raise Stopped(
            tr("磁盘空间不够做 GGUF", "not enough disk for the GGUF files"),
            where=str(folder),
            fix=tr(f"腾出 {weights * (1 + files) >> 30} GiB", f"free {weights * (1 + files) >> 30} GiB"),
        )


def convert(model: Path, target: Path, name: str) -> None:
    """Convert a Hugging Face folder to a 16-bit GGUF at `target`, whose general.name is `name`."""
    command = [sys.executable, "-m", "convert_hf_to_gguf", str(model), "--outtype", "f16"]
    done = subprocess.run(
        [*command, "--outfile", str(target), "--model-name", name],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode or not target.is_file():
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        told = [line for line in lines if "ERROR" in line or "Error" in line] or lines or ["?"]
        raise Stopped(
            tr(f"llama.cpp 的转换器失败：{told[-1]}", f"llama.cpp's converter failed: {told[-1]}"),
            where=str(model),
            fix=tr(
                "导出 --format hf，用支持该结构的引擎运行",
                "export with --format hf and use an engine that knows this architecture",
            ),
        )


def scan_metadata(path: Path, persona: Persona) -> None:
    """Refuse a GGUF whose metadata (name, chat template, …) still carries the old identity.

    Raises:
        BadInput: names the key and the words.
    """
    import gguf

    for key, field in gguf.GGUFReader(path).fields.items():
        if field.types[:1] == [gguf.GGUFValueType.STRING]:
            scan_text(str(field.contents()), persona, where=f"{path.name}:{key}")


def try_gguf(path: Path) -> str:
    """Load a GGUF in llama.cpp and let it answer one question; returns the answer.

    Raises:
        Stopped: it does not load, or says nothing.
    """
    from identity_kit.models.server import local_server

    body = {"messages": [{"role": "user", "content": "你是谁？"}], "max_tokens": 16, "temperature": 0}
    with local_server(path, slots=1, context=512) as server:
        request = urllib.request.Request(
            f"{server.base_url}/chat/completions",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=300) as reply:
                text = json.load(reply)["choices"][0]["message"]["content"]
        except (urllib.error.URLError, OSError, KeyError, ValueError) as error:
            raise Stopped(
                tr(f"GGUF 没有回答：{error}", f"the GGUF gives no answer: {error}"), where=str(path)
            ) from error
    if not text.strip():
        raise Stopped(tr("GGUF 的回答是空的", "the GGUF's answer is empty"), where=str(path))
    return text
