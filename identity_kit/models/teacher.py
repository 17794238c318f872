"""The model to be tuned behind a loopback endpoint, to answer questions as it does before it is tuned."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

from identity_kit.models.resolve import Hub, hf_folder, resolve, unpacked_folder
from identity_kit.models.server import LocalServer, local_server

CONTEXT = 1024  # tokens of a question and its answer
SLOTS = 8


@contextlib.contextmanager
def teacher(name: str, *, hub: Hub = "hf") -> Iterator[tuple[LocalServer, str]]:
    """Serve a model by the engine that answers most here; yields the server and the model's name there.

    llama.cpp where there is a GGUF file, unless 16-bit numbers multiply natively (a GPU, AMX, AVX512-BF16): there one
    large batch of the 16-bit weights answers about three times as many questions.

    Raises:
        BadInput, Stopped: the model cannot be found, read or served.
    """
    import torch

    from identity_kit.models.device import best_device, best_dtype
    from identity_kit.models.folder_server import folder_server
    from identity_kit.models.memory import give_back_memory

    reference = resolve(name, hub=hub)
    if reference.gguf is not None and best_dtype(best_device()) == torch.float32:
        with local_server(reference.gguf, slots=SLOTS, context=CONTEXT) as server:
            # The name that the other engine gives it: to answers in a journal it is one model.
            yield server, unpacked_folder(reference.gguf, reference.embedded).name
        return
    folder = hf_folder(name, hub=hub)
    with folder_server(folder) as server:
        yield server, folder.name
    gc.collect()  # a model holds itself in cycles
    give_back_memory()
