"""GGUF to a plain 16-bit Hugging Face folder. Run as a module, in a process of its own: `unpack GGUF FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path


def unpack(gguf: Path, folder: Path) -> None:
    """Write `folder` with bf16 safetensors, config, tokenizer and chat template, all read from the GGUF file."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16)
    # The loaded weights are plain tensors; what still calls them quantised would refuse to save or to train them.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.quantization_method = None
    model.is_quantized = False
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
