"""Batched decoding in process: many short replies at once from a Hugging Face folder.

Rows that have ended leave the batch, so that no step is spent on them; on a CPU this answers a probe set several times
faster than `generate()`, which carries every row to the end of the longest.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from identity_kit.errors import BadInput
from identity_kit.models.device import best_device, best_dtype
from identity_kit.ui import tr

if TYPE_CHECKING:
    import torch

Turns = Sequence[dict[str, str]]


@dataclass(frozen=True)
class Reply:
    """One answer: its text without special tokens, whether it ended by itself, and its length in tokens."""

    text: str
    finish_reason: Literal["stop", "length"]
    tokens: int


def load_model(
    folder: Path, *, adapter: Path | None = None, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> tuple[Any, Any]:
    """A model for inference and its tokenizer, from a Hugging Face folder and, optionally, a peft adapter on top.

    Raises:
        BadInput: the folder holds no model that transformers can read without remote code.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = device or best_device()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype or best_dtype(device))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInput(tr(f"读不了模型：{reason}", f"cannot load the model: {reason}"), where=str(folder)) from error
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter))
    return model.to(device).eval(), tokenizer


def reply(
    model: Any,
    tokenizer: Any,
    conversations: Sequence[Turns],
    *,
    max_new_tokens: int = 96,
    batch_size: int = 48,
    temperature: float = 0.0,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[Reply]:
    """Answer every conversation; the result is in the order given.

    Args:
        max_new_tokens: the cap on each answer; an answer that reaches it has finish_reason "length".
        temperature: 0 is greedy; above it, sampled with `seed`.
        progress: called with the number of answers done since the last call.
    """
    import torch

    prompts = [prompt_ids(tokenizer, turns) for turns in conversations]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    generator = torch.Generator().manual_seed(seed)
    replies: list[Reply | None] = [None] * len(prompts)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        outputs = _decode(model, tokenizer, [prompts[i] for i in chosen], max_new_tokens, temperature, generator)
        for i, (ids, ended) in zip(chosen, outputs, strict=True):
            text = tokenizer.decode(ids, skip_special_tokens=True).strip()
            replies[i] = Reply(text=text, finish_reason="stop" if ended else "length", tokens=len(ids))
        if progress:
            progress(len(chosen))
    gc.collect()
    return [answer for answer in replies if answer is not None]


def prompt_ids(tokenizer: Any, turns: Turns) -> list[int]:
    """The token ids of a conversation up to where the assistant speaks."""
    text = tokenizer.apply_chat_template(list(turns), add_generation_prompt=True, tokenize=False)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def end_ids(model: Any, tokenizer: Any) -> set[int]:
    """Every token that ends an answer: the tokenizer's and the generation configuration's."""
    ends = {tokenizer.eos_token_id}
    configured = getattr(model.generation_config, "eos_token_id", None)
    ends.update(configured if isinstance(configured, list) else [configured])
    return {end for end in ends if end is not None}


def _decode(
    model: Any, tokenizer: Any, prompts: list[list[int]], limit: int, temperature: float, generator: torch.Generator
) -> list[tuple[list[int], bool]]:
    """Token ids and whether they ended, for one left-padded batch of prompts."""
    import torch
    from transformers import DynamicCache

    ends = end_ids(model, tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else next(iter(ends))
    device = next(model.parameters()).device
    cache = DynamicCache(config=model.config)
    shared = _shared_prefix(prompts)
    longest = max(len(ids) for ids in prompts) - shared
    rests = [ids[shared:] for ids in prompts]
    tokens = torch.tensor([[pad] * (longest - len(ids)) + ids for ids in rests], device=device)
    mask = torch.tensor([[1] * shared + [0] * (longest - len(ids)) + [1] * len(ids) for ids in rests], device=device)
    positions = ((mask.cumsum(1) - 1).clamp(min=0))[:, shared:]
    outputs: list[list[int]] = [[] for _ in prompts]
    ended = [False] * len(prompts)
    rows = list(range(len(prompts)))  # which prompt each row of the batch is
    with torch.inference_mode():
        if shared:
            # What all prompts begin with (the template's opening, a system message) is read once, not once a row.
            model(input_ids=torch.tensor([prompts[0][:shared]], device=device), past_key_values=cache, logits_to_keep=1)
            cache.batch_repeat_interleave(len(prompts))
        while rows:
            step = model(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            chosen = _choose(step.logits[:, -1], temperature, generator)
            going = []
            for slot, (row, token) in enumerate(zip(rows, chosen.tolist(), strict=True)):
                if token in ends:
                    ended[row] = True
                    continue
                outputs[row].append(token)
                if len(outputs[row]) < limit:
                    going.append(slot)
            if len(going) < len(rows):
                rows = [rows[slot] for slot in going]
                if not rows:
                    break
                keep = torch.tensor(going, device=device)
                cache.batch_select_indices(keep)
                mask, positions, chosen = mask[keep], positions[keep], chosen[keep]
            tokens = chosen[:, None]
            positions = positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
    return list(zip(outputs, ended, strict=True))


def _shared_prefix(prompts: list[list[int]]) -> int:
    """How many tokens all prompts begin with, one short of the shortest prompt at most."""
    if len(prompts) < 2:
        return 0
    first, last = min(prompts), max(prompts)
    limit = min(len(ids) for ids in prompts) - 1
    return next((i for i in range(limit) if first[i] != last[i]), max(limit, 0))


def _choose(logits: torch.Tensor, temperature: float, generator: torch.Generator) -> torch.Tensor:
    if temperature <= 0:
        return logits.argmax(-1)
    import torch

    weights = torch.softmax(logits.float() / temperature, dim=-1).cpu()
    return torch.multinomial(weights, 1, generator=generator)[:, 0].to(logits.device)
