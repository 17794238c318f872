"""`export_run`: one finished folder in one of the formats."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from identity_kit.errors import BadInput
from identity_kit.export.card import named, write_card
from identity_kit.export.folder import MANIFEST, atomic_folder, check_replaceable, readable
from identity_kit.export.identity import scan_folder, set_template
from identity_kit.export.source import Source, base_folder, copy_model, ensure_merged, find_source, run_model
from identity_kit.files import read_json, sha256_file, write_json
from identity_kit.models.quantised import QUANTISATION
from identity_kit.ui import tr

if TYPE_CHECKING:
    from identity_kit.persona import Persona

Format = Literal["hf", "adapter", "gguf", "ollama"]
# Rounding to four bits takes most of a small model's tuning back, as the parity table shows.
DEFAULT_QUANTISATION = "Q8_0"
FORMATS: tuple[Format, ...] = ("hf", "adapter", "gguf", "ollama")


def export_run(
    run: Path,
    out: Path,
    *,
    format: Format = "hf",
    persona: Persona | None = None,
    base: Path | None = None,
    default_system: str | None = None,
    quantisations: Sequence[str] = (DEFAULT_QUANTISATION,),
) -> Path:
    """Export a run (or a model folder) to `out`, whole or not at all; returns `out`.

    Args:
        persona: overrides the run's persona.yaml.
        base: the unquantised base, when the run does not know where it is any more.
        default_system: the system message that the chat template uses when none is given; None: none.
        quantisations: for gguf, one file each; for ollama, the first.

    Raises:
        BadInput: the run is not finished, `out` is taken, or a file still carries the old identity.
        Stopped: the merge check failed or the disk is full.
    """
    check_replaceable(out)
    source = find_source(run, persona)
    if format == "adapter":
        return _export_adapter(source, out, base)
    merged = ensure_merged(source, base)
    if format == "hf":
        return _export_hf(source, merged, out, default_system)
    return _export_gguf(source, merged, out, quantisations, default_system, ollama=format == "ollama")


def _export_hf(source: Source, merged: Path, out: Path, default_system: str | None) -> Path:
    with atomic_folder(out) as folder:
        copy_model(merged, folder)
        set_template(folder, default_system)
        manifest: dict[str, Any] = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else {"format": "hf"}
        write_card(folder, source.persona, licence_from=merged, report=source.report, check=manifest.get("check"))
        scan_folder(folder, source.persona)
        write_json(folder / MANIFEST, manifest | {"persona": named(source.persona), "default_system": default_system})
        readable(folder)
    return out


def _export_adapter(source: Source, out: Path, base: Path | None) -> Path:
    """The adapter with the neutral tokenizer beside it, for engines that load LoRA files."""
    from transformers import AutoTokenizer

    if source.adapter is None:
        raise BadInput(
            tr("这里没有适配器", "there is no adapter here"),
            where=str(source.folder),
            fix=tr("导出 --format hf", "export with --format hf"),
        )
    base = base or base_folder(source)
    with atomic_folder(out) as folder:
        for name in ("adapter_model.safetensors", "adapter_config.json", QUANTISATION):
            if (source.adapter / name).is_file():
                shutil.copy2(source.adapter / name, folder / name)
        # A path on this machine means nothing elsewhere; the name that the user gave may.
        config = read_json(folder / "adapter_config.json")
        config["base_model_name_or_path"] = run_model(source.folder) or base.name
        write_json(folder / "adapter_config.json", config)
        AutoTokenizer.from_pretrained(base).save_pretrained(folder)
        set_template(folder, None)
        write_card(folder, source.persona, licence_from=base, report=source.report, library="peft")
        scan_folder(folder, source.persona)
        write_json(folder / MANIFEST, {"format": "adapter", "persona": named(source.persona)})
        readable(folder)
    return out


def _export_gguf(
    source: Source, merged: Path, out: Path, quantisations: Sequence[str], system: str | None, *, ollama: bool
) -> Path:
    """GGUF files, and for Ollama a Modelfile beside the first."""
    from identity_kit.export.gguf import write_gguf
    from identity_kit.export.ollama import write_modelfile

    with (
        atomic_folder(out) as folder,
        tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.hf.") as scratch,
    ):
        model = Path(scratch)
        copy_model(merged, model)
        # Ollama has its own place for a system message; in the file's template it would be said twice.
        template = set_template(model, None if ollama else system)
        names = quantisations[:1] if ollama else quantisations
        files = write_gguf(model, folder, names, source.persona)
        if ollama:
            end = read_json(model / "tokenizer_config.json").get("eos_token") or ""
            write_modelfile(folder, files[0], template, system=system, eos_token=end)
        write_card(
            folder, source.persona, licence_from=merged, report=source.report, library="ollama" if ollama else "gguf"
        )
        scan_folder(folder, source.persona)
        write_json(
            folder / MANIFEST,
            {
                "format": "ollama" if ollama else "gguf",
                "persona": named(source.persona),
                "default_system": system,
                "files": {path.name: sha256_file(path) for path in files},
            },
        )
        readable(folder)
    return out
