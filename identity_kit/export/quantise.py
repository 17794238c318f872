"""From a 16-bit GGUF to a quantised one: which tensor takes which type, and the writing of the file.

The mixes follow llama.cpp's own quantiser (src/llama-quant.cpp): the output matrix and some layers' value and
down-projection matrices get more bits than the rest; rows that 256 does not divide fall back to a type of 32-blocks.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from identity_kit.errors import BadInput
from identity_kit.ui import tr

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Mix:
    """A file type: `plain` for most tensors, `output` for the output matrix, llama.cpp's number for the file."""

    plain: str
    output: str
    number: int


MIXES = {
    "Q8_0": Mix("Q8_0", "Q8_0", 7),
    "Q6_K": Mix("Q6_K", "Q6_K", 18),
    "Q5_K_M": Mix("Q5_K", "Q6_K", 17),
    "Q5_K_S": Mix("Q5_K", "Q6_K", 16),
    "Q4_K_M": Mix("Q4_K", "Q6_K", 15),
    "Q4_K_S": Mix("Q4_K", "Q6_K", 14),
    "Q3_K_M": Mix("Q3_K", "Q6_K", 12),
}

# 256-blocks do not fit every row length; what is used instead, and its block of 32.
_FALLBACK = {"Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}

# Bytes of float32 weights that one worker holds at a time.
_SLAB = 32 << 20


def tensor_type(name: str, row: int, mix_name: str, *, layers: int, tied: bool, experts: int = 0) -> str | None:
    """The type of a weight matrix in a quantised file; None when it stays as it is.

    Args:
        name: the tensor's GGUF name, e.g. "blk.3.attn_v.weight".
        row: its row length.
        mix_name: a key of MIXES.
        layers: how many transformer blocks the model has.
        tied: there is no output.weight, so that token_embd is the output matrix too.
        experts: how many experts a mixture has.
    """
    mix = MIXES[mix_name]
    if not name.endswith(".weight") or "norm" in name or name.endswith("ffn_gate_inp.weight"):
        return None
    wanted = mix.plain
    if name == "output.weight" or (name == "token_embd.weight" and tied):
        wanted = mix.output
    elif name.startswith("blk."):
        layer, part = int(name.split(".")[1]), name.split(".")[2]
        wanted = _layer_type(part, layer, mix_name, layers, experts) or mix.plain
    return fitting(wanted, row)


def fitting(wanted: str, row: int) -> str:
    """`wanted`, or what is used where its block does not divide the row."""
    if wanted in _FALLBACK and row % 256:
        wanted = _FALLBACK[wanted]
    return "F16" if row % 32 else wanted


def _layer_type(part: str, layer: int, mix: str, layers: int, experts: int) -> str | None:
    """The type of one part of one block where it differs from the mix's plain one."""
    if experts == 8 and part in ("attn_v", "attn_k"):
        return "Q8_0"
    if part == "attn_v":
        if mix in ("Q4_K_M", "Q5_K_M"):
            return "Q6_K" if _more_bits(layer, layers) else None
        return {"Q4_K_S": "Q5_K" if layer < 4 else None, "Q3_K_M": "Q5_K" if layer < 2 else "Q4_K"}.get(mix)
    if part.startswith("ffn_down"):
        if mix in ("Q4_K_M", "Q5_K_M"):
            return "Q6_K" if _more_bits(layer, layers) else None
        if mix == "Q4_K_S":
            return "Q5_K" if layer < layers // 8 else None
        if mix == "Q3_K_M":
            return "Q5_K" if layer < layers // 16 else "Q4_K" if _more_bits(layer, layers) else None
    if part == "attn_output" and mix == "Q3_K_M":
        return "Q4_K"
    return None


def _more_bits(layer: int, layers: int) -> bool:
    """The first and the last eighth of the blocks, and every third between them."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def quantise(source: Path, target: Path, mix: str) -> None:
    """Write the GGUF at `source` (16 or 32 bit) as `target` in one of MIXES, with all its metadata.

    Raises:
        BadInput: no such mix.
    """
    import gguf

    if mix not in MIXES:
        raise BadInput(
            tr(f"没有量化类型 {mix}", f"no quantisation {mix}"),
            fix=tr("可用：", "known: ") + ", ".join(("F16", *MIXES)),
        )
    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, architecture)
    _copy_metadata(reader, writer, MIXES[mix].number)
    types = _plan(reader, mix, architecture)
    for tensor in reader.tensors:
        kind = gguf.GGMLQuantizationType[types[tensor.name]]
        shape = [int(n) for n in reversed(tensor.shape)]
        count = int(tensor.n_elements)
        block, size = gguf.GGML_QUANT_SIZES[kind]
        row_bytes = shape[-1] // block * size
        writer.add_tensor_info(
            tensor.name, [*shape[:-1], row_bytes], _byte_type(), count // block * size, raw_dtype=kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for tensor in reader.tensors:
            writer.write_tensor_data(_encode(tensor, types[tensor.name], pool))
    writer.close()


def _byte_type() -> Any:
    import numpy as np

    return np.dtype("uint8")


def _copy_metadata(reader: Any, writer: Any, number: int) -> None:
    import gguf

    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        part = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, sub_type=part)
    writer.add_file_type(number)


def _plan(reader: Any, mix: str, architecture: str) -> dict[str, str]:
    """Every tensor's type by name."""
    names = {tensor.name for tensor in reader.tensors}
    layers = int(reader.fields[f"{architecture}.block_count"].contents())
    experts = reader.fields.get(f"{architecture}.expert_count")
    result = {}
    for tensor in reader.tensors:
        wanted = None
        if len(tensor.shape) > 1:
            wanted = tensor_type(
                tensor.name,
                int(tensor.shape[0]),
                mix,
                layers=layers,
                tied="output.weight" not in names,
                experts=int(experts.contents()) if experts else 0,
            )
        result[tensor.name] = wanted or tensor.tensor_type.name
    return result


def _encode(tensor: Any, kind: str, pool: ThreadPoolExecutor) -> np.ndarray:
    """A tensor's bytes in the type `kind`, one row of bytes a row, made in slabs by several threads."""
    import gguf
    import libgguf
    import numpy as np

    data = tensor.data.reshape(-1, tensor.data.shape[-1])
    shape = [int(n) for n in reversed(tensor.shape)]
    if kind == tensor.tensor_type.name:
        return tensor.data.view(np.uint8).reshape(*shape[:-1], -1)

    def encode(bounds: tuple[int, int]) -> np.ndarray:
        rows = gguf.quants.dequantize(data[slice(*bounds)], tensor.tensor_type)
        coded = libgguf.quantize_rows(np.ascontiguousarray(rows, dtype=np.float32), gguf.GGMLQuantizationType[kind])
        return coded.view(np.uint8).reshape(len(rows), -1)

    slabs = list(_slabs(len(data), max(1, _SLAB // (4 * shape[-1]))))
    return np.concatenate(list(pool.map(encode, slabs))).reshape(*shape[:-1], -1)


def _slabs(rows: int, step: int) -> Iterator[tuple[int, int]]:
    yield from itertools.pairwise([*range(0, rows, step), rows])
