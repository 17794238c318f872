"""From the name of a model to its files: a folder, a run, a GGUF file, a hub id, or `embedded:NAME`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from identity_kit.errors import BadInput, Stopped
from identity_kit.files import folder_lock, read_json, sha256_text
from identity_kit.models.embedded import EMBEDDED, cache_folder, embedded_model, fetch
from identity_kit.ui import say, tr

Kind = Literal["hf", "run", "adapter", "gguf"]
Hub = Literal["hf", "modelscope"]

DEFAULT_MODEL = "embedded:qwen2.5-coder-0.5b"


@dataclass(frozen=True)
class ModelRef:
    """Where a model's files are.

    Args:
        label: the name as the user gave it.
        folder: a plain Hugging Face folder, when there is one.
        gguf: a GGUF file, when there is one.
        adapter: a peft adapter that goes on top of `folder`.
        embedded: the embedded model's name, when it is one.
    """

    label: str
    kind: Kind
    folder: Path | None = None
    gguf: Path | None = None
    adapter: Path | None = None
    embedded: str | None = None


def resolve(name: str, *, hub: Hub = "hf") -> ModelRef:
    """Find a model's files; embedded models and hub models are fetched when they are not there yet.

    Raises:
        BadInput: no such model, or a folder that holds none; says what was looked for.
        Stopped: it could not be fetched.
    """
    if name.startswith("embedded:"):
        model = embedded_model(name)
        return ModelRef(label=name, kind="gguf", gguf=fetch(model), embedded=model.name)
    path = Path(name).expanduser()
    if path.suffix.lower() == ".gguf":
        return ModelRef(label=name, kind="gguf", gguf=_gguf(path))
    if path.is_dir():
        return _from_folder(name, path)
    if any(model.name == name for model in EMBEDDED):
        return resolve(f"embedded:{name}")
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return ModelRef(label=name, kind="hf", folder=_from_hub(name, hub))
    raise BadInput(
        tr(f"找不到模型 {name}", f"no such model: {name}"),
        fix=tr(
            "给出一个 Hugging Face 目录、运行目录、.gguf 文件、hub id 或 " + DEFAULT_MODEL,
            "give a Hugging Face folder, a run folder, a .gguf file, a hub id or " + DEFAULT_MODEL,
        ),
    )


def hf_folder(name: str, *, hub: Hub = "hf") -> Path:
    """A plain 16-bit Hugging Face folder of the model; a GGUF is unpacked once and kept in the cache.

    Raises:
        BadInput: the name is an adapter alone, or nothing at all.
    """
    ref = resolve(name, hub=hub)
    if ref.folder is not None and ref.kind != "adapter":
        return ref.folder
    if ref.gguf is None:
        raise BadInput(
            tr("这是一个适配器，没有合并后的模型", "this is an adapter without a merged model"),
            where=name,
            fix=tr("先 idkit export --format hf", "run idkit export --format hf first"),
        )
    return unpack(ref.gguf, ref.embedded)


def unpack(gguf: Path, embedded: str | None = None) -> Path:
    """The GGUF's weights as a plain bf16 safetensors folder with tokenizer and chat template, made once and cached.

    The work is done in a child process, so that its memory is given back.

    Args:
        embedded: the name of the embedded model that the file is, if it is one.

    Raises:
        Stopped: the disk is full, or the file's architecture cannot be read.
    """
    folder = unpacked_folder(gguf, embedded)
    if (folder / "config.json").is_file():
        return folder
    with folder_lock(folder.parent / f".{folder.name}", wait=True):
        if (folder / "config.json").is_file():
            return folder
        if shutil.disk_usage(folder.parent).free < gguf.stat().st_size * 5:
            raise Stopped(
                tr("磁盘空间不够解开模型", "not enough disk to unpack the model"),
                where=str(folder.parent),
                fix=tr("腾出空间，或用 IDKIT_CACHE 指到别处", "free some, or point IDKIT_CACHE elsewhere"),
            )
        say(tr(f"把 {gguf.name} 解成 16 位目录（只做一次）…", f"unpacking {gguf.name} to a 16-bit folder (once) …"))
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        command = [sys.executable, "-m", "identity_kit.models.unpack", str(gguf), str(partial)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
        if done.returncode:
            shutil.rmtree(partial, ignore_errors=True)
            reason = (done.stderr.strip().splitlines() or ["?"])[-1]
            raise Stopped(tr(f"解不开 GGUF：{reason}", f"cannot unpack the GGUF: {reason}"), where=str(gguf))
        partial.replace(folder)
    shutil.rmtree(folder.parent / f".{folder.name}", ignore_errors=True)
    return folder


def unpacked_folder(gguf: Path, embedded: str | None = None) -> Path:
    """Where `unpack` keeps the GGUF's weights, whether they are there yet or not."""
    stat = gguf.stat()
    # An embedded model's content is pinned; another file may be replaced by one of the same name and size.
    name = embedded or f"{gguf.stem}-{sha256_text(f'{gguf.resolve()} {stat.st_mtime_ns}')[:12]}"
    return cache_folder() / "hf" / f"{name}-{stat.st_size:x}"


def _gguf(path: Path) -> Path:
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise BadInput(tr(f"打不开：{error.strerror}", f"cannot open: {error.strerror}"), where=str(path)) from None
    if magic != b"GGUF":
        raise BadInput(tr("不是 GGUF 文件", "not a GGUF file"), where=str(path))
    return path


def _from_folder(name: str, path: Path) -> ModelRef:
    if (path / "run.json").is_file():
        merged, adapter = path / "merged", path / "adapter"
        if not (merged / "config.json").is_file():
            if (adapter / "adapter_config.json").is_file():
                return _from_folder(name, adapter)
            raise BadInput(
                tr("这个运行目录里还没有训练好的模型", "this run has no trained model yet"),
                where=str(path),
                fix=tr("重复开始它的那条命令，把它做完", "repeat the command that began it, to finish it"),
            )
        return ModelRef(label=name, kind="run", folder=merged, adapter=adapter if adapter.is_dir() else None)
    if (path / "adapter_config.json").is_file():
        base = read_json(path / "adapter_config.json").get("base_model_name_or_path") or ""
        if base.startswith("embedded:"):  # as in a blank or an exported adapter, which other machines get too
            folder: Path | None = hf_folder(base)
        else:
            folder = Path(base) if base and Path(base).is_dir() else None
        return ModelRef(label=name, kind="adapter", folder=folder, adapter=path)
    if (path / "config.json").is_file():
        return ModelRef(label=name, kind="hf", folder=path)
    raise BadInput(
        tr(
            "目录里没有模型（找过 run.json、adapter_config.json、config.json）",
            "no model in this folder (looked for run.json, adapter_config.json, config.json)",
        ),
        where=str(path),
    )


def _from_hub(name: str, hub: Hub) -> Path:
    try:
        if hub == "modelscope":
            from modelscope import snapshot_download  # type: ignore[import-not-found]

            return Path(snapshot_download(name))
        from huggingface_hub import snapshot_download as hf_download

        patterns = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.tiktoken"]
        return Path(hf_download(name, allow_patterns=patterns))
    except ImportError:
        raise BadInput(
            tr("没有安装 modelscope", "modelscope is not installed"), fix="python -m pip install modelscope"
        ) from None
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Stopped(
            tr(f"取不到 {name}：{reason}", f"cannot fetch {name}: {reason}"),
            fix=tr(
                f"检查名称与网络，或用本地目录，或 {DEFAULT_MODEL}",
                f"check the name and the network, or use a local folder or {DEFAULT_MODEL}",
            ),
        ) from None
