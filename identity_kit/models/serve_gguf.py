"""The child process behind `local_server`: llama.cpp's server on one GGUF file, until stdin closes."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def serve(gguf: str, port: int, slots: int, context: int, template: str) -> None:
    """Serve until the parent closes our stdin, which it also does by dying."""
    import psutil
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = gguf
    params.model_alias = {Path(gguf).stem}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = slots
    params.n_ctx = slots * context
    params.kv_unified = False
    params.cache_ram_mib = 0
    params.ui = False
    params.use_jinja = True
    if template:
        params.chat_template = template
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count(logical=False) or 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = cores
    server = xllamacpp.Server(params)
    sys.stdin.read()
    del server


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), os.environ.get("IDKIT_TEMPLATE", ""))
    os._exit(0)
