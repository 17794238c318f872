"""GGUF to a plain 16-bit Hugging Face folder. Run as a module, in a process of its own: `unpack GGUF FOLDER`."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any


def unpack(gguf: Path, folder: Path) -> None:
    """Write `folder` with bf16 safetensors, config, tokenizer and chat template, all read from the GGUF file."""
    _read_once()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model: Any = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16)
    # The loaded weights are plain tensors; what still calls them quantised would refuse to save or to train them.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.quantization_method = None
    model.is_quantized = False
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def _read_once() -> None:
    """Make the reading of a GGUF's header three times as fast, in this process.

    transformers opens the file once each for config, tokenizer and weights, and looks names up anew for every module;
    the reader walks 300,000 header strings through numpy's slow memmap class. The file does not change meanwhile, so
    one reader, on a plain array, serves all.
    """
    import gguf
    import numpy as np

    class PlainReader(gguf.GGUFReader):
        @property  # type: ignore[override]
        def data(self) -> Any:
            return self._data

        @data.setter
        def data(self, value: np.ndarray) -> None:
            self._data = value.view(np.ndarray)

    @functools.lru_cache
    def reader(path: Any, *_: Any) -> Any:
        return PlainReader(path)

    gguf.GGUFReader = reader  # type: ignore[misc, assignment]
    gguf.get_tensor_name_map = functools.lru_cache(gguf.get_tensor_name_map)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
