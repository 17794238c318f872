"""What an export starts from: a run with its adapter and persona, or a model folder that was exported before."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from identity_kit import ui
from identity_kit.errors import BadInput
from identity_kit.files import folder_lock, read_json, sha256_file
from identity_kit.ui import tr

if TYPE_CHECKING:
    from identity_kit.persona import Persona


@dataclass(frozen=True)
class Source:
    """Where an export takes its parts from.

    Attributes:
        folder: the RUN folder, or the merged model's folder itself.
        persona: whose identity the model has.
        adapter: the run's adapter, None for a folder that is merged already.
        merged: the merged model's folder; it may have to be made first.
        report: the run's report.json, where there is one.
    """

    folder: Path
    persona: Persona
    adapter: Path | None
    merged: Path
    report: Path | None


def find_source(folder: Path, persona: Persona | None = None) -> Source:
    """The parts of a RUN folder, or of a Hugging Face folder.

    Args:
        persona: overrides the run's persona.yaml; a folder that is not ours has none, so it must be given.

    Raises:
        BadInput: the folder holds neither, or whose identity it has is not known.
    """
    if (folder / "adapter" / "adapter_config.json").is_file() or (folder / "run.json").is_file():
        adapter = folder / "adapter"
        report = folder / "report" / "report.json"
        return Source(
            folder=folder,
            persona=persona or _run_persona(folder),
            adapter=adapter if (adapter / "adapter_config.json").is_file() else None,
            merged=folder / "merged",
            report=report if report.is_file() else None,
        )
    if not (folder / "config.json").is_file():
        raise BadInput(
            tr("不是运行目录，也不是模型目录", "neither a run folder nor a model folder"),
            where=str(folder),
            fix=tr("给出 idkit run 的 -o 目录", "give the -o folder of idkit run"),
        )
    return Source(folder, persona or _manifest_persona(folder), None, folder, None)


def _run_persona(run: Path) -> Persona:
    from identity_kit.persona import load_persona

    return load_persona(run / "persona.yaml")


def _manifest_persona(folder: Path) -> Persona:
    from identity_kit.export.folder import MANIFEST
    from identity_kit.persona import make_persona

    known = read_json(folder / MANIFEST).get("persona") if (folder / MANIFEST).is_file() else None
    if not known:
        raise BadInput(
            tr("不知道这个模型是谁", "whose identity this model has is not known"),
            where=str(folder),
            fix=tr("加上 --owner 名称，或 --persona persona.yaml", "give --owner NAME or --persona persona.yaml"),
        )
    return make_persona(where=str(folder / MANIFEST), **known)


def base_folder(source: Source) -> Path:
    """The unquantised folder that the run's adapter was trained on.

    Raises:
        BadInput: neither the adapter's configuration nor run.json names one that is still there.
    """
    from identity_kit.models.resolve import hf_folder

    recorded = _recorded_base(source.folder)
    folders = [name for name in (recorded.get("folder"), _adapter_base(source)) if name]
    for folder in folders:
        if (Path(folder) / "config.json").is_file():
            return Path(folder)
    name = run_model(source.folder)
    if name:
        return hf_folder(name)
    raise BadInput(
        tr("找不到训练时的底模", "the base that it was trained on is not there"),
        where=str(source.folder),
        fix=tr("用 --base 指出它", "name it with --base"),
    )


def _adapter_base(source: Source) -> str | None:
    if source.adapter is None:
        return None
    return read_json(source.adapter / "adapter_config.json").get("base_model_name_or_path")


def run_model(run: Path) -> str | None:
    """The base model's name that run.json records, as the user gave it."""
    return _recorded_base(run).get("name")


def _recorded_base(run: Path) -> dict[str, str]:
    path = run / "run.json"
    record: Any = read_json(path) if path.is_file() else {}
    return record.get("base") or {}


def ensure_merged(source: Source, base: Path | None = None) -> Path:
    """The merged model of a source, made now when it is missing or the adapter has changed since."""
    from identity_kit.export.folder import MANIFEST
    from identity_kit.export.merge import merge_adapter

    manifest = source.merged / MANIFEST
    if source.adapter is None:
        if not (source.merged / "config.json").is_file():
            raise BadInput(
                tr("还没有训练出适配器", "no adapter was trained yet"),
                where=str(source.folder),
                fix=tr("先把 idkit run 或 idkit train 做完", "finish idkit run or idkit train first"),
            )
        return source.merged
    if manifest.is_file():
        weights = source.adapter / "adapter_model.safetensors"
        if weights.is_file() and read_json(manifest).get("adapter_sha256") == sha256_file(weights):
            return source.merged
    ui.say(tr("合并适配器 …", "merging the adapter …"))
    with folder_lock(source.folder):
        merge_adapter(
            base or base_folder(source),
            source.adapter,
            source.merged,
            source.persona,
            report=source.report,
            source=str(source.folder),
        )
    return source.merged


def copy_model(folder: Path, target: Path) -> None:
    """Copy a model folder's files; the weights are hard links where the disk allows, so that they take no room."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            shutil.copytree(path, target / path.name, dirs_exist_ok=True)
        elif path.suffix == ".safetensors":
            try:
                (target / path.name).hardlink_to(path)
            except OSError:
                shutil.copy2(path, target / path.name)
        else:
            shutil.copy2(path, target / path.name)
