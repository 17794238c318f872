"""Serving a model: which engine runs it, the engine's own OpenAI-compatible server, and lines to try it with."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from identity_kit import ui
from identity_kit.errors import BadInput, Stopped
from identity_kit.files import folder_lock, read_json
from identity_kit.models.fingerprint import folder_fingerprint
from identity_kit.models.resolve import ModelRef
from identity_kit.ui import tr

# The ranks that vLLM has kernels for (vllm/config/lora.py).
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_STARTUP_SECONDS = 900
_TRIAL_TOKENS = 200  # of the printed lines: a small model that loops would otherwise talk until its context is full


@dataclass(frozen=True)
class Plan:
    """How a model will be served.

    Attributes:
        engine: "llama.cpp" or "vllm".
        model: the GGUF file for llama.cpp (None: it is made from `folder` first), the folder for vLLM.
        folder: the Hugging Face folder, where there is one.
        adapter: a LoRA folder that vLLM puts on top.
        name: what the endpoint calls the model.
    """

    engine: Literal["llama.cpp", "vllm"]
    name: str
    model: Path | None = None
    folder: Path | None = None
    adapter: Path | None = None


def plan_serving(ref: ModelRef, *, vllm: bool) -> Plan:
    """Choose the engine: llama.cpp for a GGUF and wherever vLLM cannot run; vLLM for folders where it can.

    Args:
        vllm: whether vLLM is installed and there is a GPU; see `has_vllm`.

    Raises:
        BadInput: an adapter without its base, or one that the engine cannot load.
    """
    name = Path(ref.label.removeprefix("embedded:")).name or "model"
    if ref.gguf is not None:
        return Plan("llama.cpp", ref.gguf.stem, model=ref.gguf)
    if ref.folder is None:
        raise BadInput(
            tr("这是单独的适配器，找不到它的底模", "this is an adapter alone, and its base model is not here"),
            where=ref.label,
            fix=tr("先合并：idkit export --format hf", "merge it first: idkit export --format hf"),
        )
    if ref.kind == "adapter" and ref.adapter is not None:
        reason = vllm_refuses(ref.adapter) if vllm else tr("llama.cpp 要合并后的模型", "llama.cpp wants a merged model")
        if reason:
            raise BadInput(
                reason,
                where=ref.label,
                fix=tr("先合并：idkit export --format hf", "merge it first: idkit export --format hf"),
            )
        return Plan("vllm", name, folder=ref.folder, adapter=ref.adapter)
    return Plan("vllm" if vllm else "llama.cpp", name, folder=ref.folder)


def has_vllm() -> bool:
    """Whether vLLM is installed here and there is a CUDA GPU for it."""
    if importlib.util.find_spec("vllm") is None:
        return False
    import torch

    return torch.cuda.is_available()


def vllm_refuses(adapter: Path) -> str | None:
    """Why vLLM cannot serve an adapter unmerged (rank, DoRA, bias, whole modules); None when it can."""
    config = read_json(adapter / "adapter_config.json")
    if config.get("use_dora"):
        return tr("vLLM 不支持 DoRA 适配器", "vLLM does not load DoRA adapters")
    if config.get("modules_to_save"):
        return tr("vLLM 不支持 modules_to_save", "vLLM does not load modules_to_save")
    if config.get("bias", "none") != "none":
        return tr("vLLM 不支持带偏置的适配器", "vLLM does not load adapters with biases")
    if config["r"] > VLLM_RANKS[-1]:
        return tr(f"秩 {config['r']} 超过 vLLM 的上限", f"rank {config['r']} is above vLLM's limit")
    return None


def vllm_command(plan: Plan, *, port: int, slots: int, context: int) -> list[str]:
    """The command line of vLLM's own server, on loopback."""
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(plan.folder)]
    command += [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--max-model-len",
        str(context),
        "--max-num-seqs",
        str(slots),
    ]
    if plan.adapter is None:
        return [*command, "--served-model-name", plan.name]
    rank = read_json(plan.adapter / "adapter_config.json")["r"]
    fitting = next(size for size in VLLM_RANKS if size >= rank)
    command += ["--served-model-name", f"{plan.name}-base", "--enable-lora", "--max-lora-rank", str(fitting)]
    command += ["--lora-modules", f"{plan.name}={plan.adapter}"]
    # The adapter's folder carries the template without the old identity; the base's own has it.
    template = plan.adapter / "chat_template.jinja"
    return [*command, "--chat-template", str(template)] if template.is_file() else command


@contextlib.contextmanager
def serving(
    plan: Plan, *, port: int, slots: int, context: int, quantisation: str = "Q8_0"
) -> Iterator[tuple[str, str]]:
    """Run the engine's server for the length of the block; yields (base_url, the model's name there).

    Raises:
        BadInput: the port is taken.
        Stopped: the server did not come up.
    """
    if port:
        _check_port(port)
    if plan.engine == "llama.cpp":
        from identity_kit.models.server import local_server

        gguf = plan.model or cached_gguf(plan, quantisation)
        with local_server(gguf, slots=slots, context=context, port=port) as server:
            yield server.base_url, _first_model(server.base_url)
        return
    from identity_kit.models.server import free_port

    port = port or free_port()
    process = subprocess.Popen(vllm_command(plan, port=port, slots=slots, context=context), stdout=sys.stderr)
    try:
        _wait_for(process, port)
        yield f"http://127.0.0.1:{port}/v1", plan.name
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise BadInput(
                tr(
                    f"端口 {port} 用不了，可能已被占用", f"port {port} cannot be used; something may be listening there"
                ),
                where="--port",
                fix=tr("换一个，或 --port 0 自动选", "choose another, or --port 0 for a free one"),
            ) from None


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _STARTUP_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    raise Stopped(
        tr("vLLM 没有起来，原因见上面它的输出", "vLLM did not start; its words above say why"),
        fix=tr("显存不够时减小 --context 或 --slots", "with too little GPU memory, lower --context or --slots"),
    )


def _first_model(base_url: str) -> str:
    with urllib.request.urlopen(f"{base_url}/models", timeout=30) as reply:
        return json.load(reply)["data"][0]["id"]


def cached_gguf(plan: Plan, quantisation: str) -> Path:
    """A GGUF of the plan's folder, made once a content of the folder and kept in the user cache."""
    from identity_kit.export.gguf import convert
    from identity_kit.export.quantise import quantise
    from identity_kit.models.embedded import cache_folder

    assert plan.folder is not None
    key = folder_fingerprint(plan.folder)[:16]
    target = cache_folder() / "gguf" / key / f"{plan.name}-{quantisation}.gguf"
    if target.is_file():
        return target
    with folder_lock(target.parent, wait=True):
        if target.is_file():
            return target
        ui.say(
            tr(
                f"为 llama.cpp 做一个 GGUF（{quantisation}，只做一次）…",
                f"making a GGUF for llama.cpp ({quantisation}, once) …",
            )
        )
        half, partial = target.with_suffix(".f16.part"), target.with_suffix(".part")
        try:
            convert(plan.folder, half, plan.name)
            if quantisation == "F16":
                half.replace(partial)
            else:
                quantise(half, partial, quantisation)
            partial.replace(target)
        finally:
            half.unlink(missing_ok=True)
            partial.unlink(missing_ok=True)
    return target


def curl_line(base_url: str, model: str, question: str) -> str:
    """A shell line that asks the server one question, to be pasted as it is."""
    messages = [{"role": "user", "content": question}]
    body = json.dumps({"model": model, "max_tokens": _TRIAL_TOKENS, "messages": messages}, ensure_ascii=False)
    return f"curl -s {base_url}/chat/completions -H 'Content-Type: application/json' -d {shlex.quote(body)}"


def python_snippet(base_url: str, model: str, question: str) -> str:
    """A Python program that asks the server one question and prints the answer as it comes."""
    return "\n".join(
        [
            "from openai import OpenAI",
            f'client = OpenAI(base_url="{base_url}", api_key="none")',
            f"stream = client.chat.completions.create(model={json.dumps(model, ensure_ascii=False)}, stream=True,",
            f'    max_tokens={_TRIAL_TOKENS}, messages=[{{"role": "user", "content": {json.dumps(question, ensure_ascii=False)}}}])',
            "for chunk in stream:",
            '    print(chunk.choices[0].delta.content or "", end="", flush=True)',
        ]
    )
