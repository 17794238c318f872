"""What this machine can do: processor, memory, disk, GPU, packages, models, and which sizes can be trained."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from typing import Literal

from identity_kit.ui import tr


@dataclass(frozen=True)
class Finding:
    """One line of the examination. `state` "bad" means that the main job cannot run here; `fix` is what to do."""

    what: str
    state: Literal["ok", "note", "bad"]
    found: str
    fix: str = ""


# A rule of thumb, not a measurement: bytes a parameter for frozen weights (4 bit, bf16) with what is kept for the
# backward pass, and what a run takes whatever the model's size. The 0.5B took between 4.2 and 7.6 GB on two cores.
_BYTES = {"qlora": 1.1, "lora": 3.0}
_FIXED = 4.5e9
_SIZES = (0.5, 1.5, 3, 4, 7, 8, 14, 32, 70)


def examine() -> list[Finding]:
    """Every finding about this machine, in the order in which a person would ask."""
    return [_python(), _processor(), _memory(), _gpu(), _disk(), *_packages(), *_compiled(), _models(), _sizes()]


def _python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()} {platform.system()} {platform.machine()}")


def _processor() -> Finding:
    import torch

    from identity_kit.models.device import best_dtype
    from identity_kit.models.eight import multiplies_in_eight

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    native = best_dtype(torch.device("cpu")) is torch.bfloat16
    kind = tr("bf16 原生", "native bf16") if native else tr("无原生 bf16，用 fp32", "no native bf16, fp32 is used")
    if multiplies_in_eight():
        kind += tr("，8 位乘积", ", 8-bit products")
    return Finding(tr("处理器", "processor"), "ok", tr(f"{cores} 核，{kind}", f"{cores} cores, {kind}"))


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    found = tr(
        f"{memory.total / 1e9:.1f} GB，可用 {memory.available / 1e9:.1f} GB",
        f"{memory.total / 1e9:.1f} GB, {memory.available / 1e9:.1f} GB free",
    )
    if memory.available < 6e9:
        return Finding(
            tr("内存", "memory"),
            "note",
            found,
            tr("主流程约需 6 GB；关掉一些程序", "the main job takes about 6 GB; close some programs"),
        )
    return Finding(tr("内存", "memory"), "ok", found)


def _gpu() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("GPU", "note", tr("没有 CUDA 显卡，将在 CPU 上做 LoRA", "no CUDA GPU: LoRA on the CPU"))
    free, total = torch.cuda.mem_get_info()
    name = torch.cuda.get_device_name()
    return Finding("GPU", "ok", f"{name}, {total / 2**30:.0f} GiB ({free / 2**30:.0f} GiB free)")


def _disk() -> Finding:
    from identity_kit.models.embedded import cache_folder

    folder = cache_folder()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    what = tr("磁盘（模型缓存）", "disk (model cache)")
    found = tr(f"{folder}，剩余 {free / 1e9:.0f} GB", f"{folder}, {free / 1e9:.0f} GB free")
    if free < 5e9:
        fix = tr("腾出空间，或用 IDKIT_CACHE 指到别处", "free some, or point IDKIT_CACHE elsewhere")
        return Finding(what, "bad" if free < 2e9 else "note", found, fix)
    return Finding(what, "ok", found)


def _packages() -> list[Finding]:
    findings = []
    for name, module, needed in (
        ("torch", "torch", True),
        ("transformers", "transformers", True),
        ("peft", "peft", True),
        ("bitsandbytes", "bitsandbytes", True),
        ("xllamacpp", "xllamacpp", True),
        ("pip", "pip", True),
        ("vllm", "vllm", False),
    ):
        if importlib.util.find_spec(module) is not None:
            findings.append(Finding(name, "ok", importlib.metadata.version(name)))
        elif needed:
            fix = "python -m ensurepip" if name == "pip" else "python -m pip install identity-kit"
            findings.append(Finding(name, "bad", tr("没有安装", "not installed"), fix))
    return findings


def _compiled() -> list[Finding]:
    """What is built where there is a C compiler when the package is installed."""
    from identity_kit.rename import fast

    found = [("idkit rename", fast.COMPILED, tr("结果相同，慢约十倍", "the same results, about ten times as slow"))]
    with contextlib.suppress(ImportError):  # torch is not there
        from identity_kit.models import fused

        found.append(("idkit train", fused.COMPILED, tr("在 CPU 上慢约五分之一", "about a fifth slower on a CPU")))
    fix = tr("装好 C 编译器和 Python 头文件后重新安装", "install again with a C compiler and Python's headers present")
    return [
        Finding(what, "ok", tr("编译部分已安装", "its compiled part is installed"))
        if there
        else Finding(what, "note", tr(f"没有编译部分：{price}", f"without its compiled part: {price}"), fix)
        for what, there, price in found
    ]


def _models() -> Finding:
    from identity_kit.models.embedded import EMBEDDED, cache_folder

    here = [model.name for model in EMBEDDED if (cache_folder() / "gguf" / model.file_name).is_file()]
    what = tr("内置模型", "embedded models")
    if here:
        return Finding(what, "ok", ", ".join(here))
    return Finding(what, "note", tr("还没有取到", "none fetched yet"), "idkit models fetch qwen2.5-coder-0.5b")


def _sizes() -> Finding:
    """Which model sizes fit, estimated: a rule of thumb before `idkit train --dry-run` computes it for one model."""
    from identity_kit.models.device import best_device
    from identity_kit.train.plan import free_memory

    device = best_device()
    method, memory = "qlora" if device.type == "cuda" else "lora", free_memory(device)
    fitting = [size for size in _SIZES if size * 1e9 * _BYTES[method] + _FIXED <= memory]
    what = tr("可以训练", "can train")
    if not fitting:
        return Finding(what, "bad", tr("内存不足以训练 0.5B", "too little memory for a 0.5B model"))
    text = f"{method}: " + ", ".join(f"{size:g}B" for size in fitting)
    return Finding(
        what, "ok", text + tr("（估计；idkit train --dry-run 会细算）", " (estimated; idkit train --dry-run counts)")
    )
