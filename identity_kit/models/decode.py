"""Batched decoding in process: many short replies at once from a Hugging Face folder.

Rows that have ended leave the batch and waiting ones take their place; on a CPU this answers a probe set several times
faster than `generate()`, which carries every row to the end of the longest.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from identity_kit.errors import BadInput
from identity_kit.models.adapters import quiet_adapters
from identity_kit.models.device import best_device, best_dtype
from identity_kit.models.memory import give_back_memory
from identity_kit.models.quantised import round_as_trained
from identity_kit.ui import tr

if TYPE_CHECKING:
    import torch

Turns = Sequence[dict[str, str]]
Finished = tuple[int, list[int], bool]
"""(which conversation, the answer's token ids, whether it ended by itself)"""

REFILL = 4  # waiting rows join when a fourth of the batch is free: each joining copies the cache once
# A prompt is read together with shorter ones if it has at most so many times their tokens, and a few more.
_ALIKE, _ALIKE_TOKENS = 1.4, 2
_BLOCK = 128  # of the vocabulary, searched at once for its likeliest token
WORTH_PACKING = 16  # conversations from which on laying out the weights anew is sooner earned back


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
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = device or best_device()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype or best_dtype(device))
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInput(tr(f"读不了模型：{reason}", f"cannot load the model: {reason}"), where=str(folder)) from error
    if adapter is not None:
        round_as_trained(model, adapter)
        with quiet_adapters():
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(adapter))
    return model.to(device).eval(), tokenizer


def reply(
    model: Any,
    tokenizer: Any,
    conversations: Sequence[Turns],
    *,
    max_new_tokens: int | Sequence[int] = 96,
    batch_size: int = 48,
    temperature: float = 0.0,
    seed: int = 0,
    thinking: bool | None = None,
    done: Callable[[int, Reply], None] | None = None,
) -> list[Reply]:
    """Answer every conversation; the result is in the order given.

    Args:
        max_new_tokens: the cap on each answer, one for all or one each; an answer that reaches it has finish_reason
            "length".
        temperature: 0 is greedy; above it, sampled with `seed`.
        thinking: see `prompt_ids`.
        done: called with each answer as it ends, and which conversation it belongs to.
    """
    import torch

    from identity_kit.models.packed import packed_linears

    prompts = [prompt_ids(tokenizer, turns, thinking=thinking) for turns in conversations]
    limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    # Long answers begin first: those that begin last keep the batch busy alone.
    waiting = deque(sorted(range(len(prompts)), key=lambda i: (-limits[i], len(prompts[i]))))
    replies: list[Reply | None] = [None] * len(prompts)
    batch = Batch(model, tokenizer, temperature=temperature, seed=seed)
    many = packed_linears(model, rows=batch_size) if len(prompts) >= WORTH_PACKING else nullcontext()

    def together() -> Iterator[Finished]:
        while waiting or batch.rows:
            room = batch_size - len(batch.rows)
            if waiting and (not batch.rows or (batch.can_grow and room >= batch_size // REFILL)):
                chosen = [waiting.popleft() for _ in range(min(room, len(waiting)))]
                yield from batch.admit(chosen, [prompts[i] for i in chosen], [limits[i] for i in chosen])
            yield from batch.step()

    def one_by_one() -> Iterator[Finished]:
        torch.manual_seed(seed)
        for i in waiting:
            ids = _generated(model, prompts[i], limits[i], batch.ends, batch.pad, temperature)
            yield i, ids, ids[-1] in batch.ends

    with torch.inference_mode(), many:
        for i, ids, ended in one_by_one() if _has_virtual_tokens(model) else together():
            text = tokenizer.decode(ids, skip_special_tokens=True).strip()
            answer = replies[i] = Reply(text=text, finish_reason="stop" if ended else "length", tokens=len(ids))
            if done:
                done(i, answer)
    give_back_memory()
    return [answer for answer in replies if answer is not None]


def _has_virtual_tokens(model: Any) -> bool:
    """Whether an adapter puts trained tokens before what the model reads, as peft does within `generate` alone."""
    return any(config.is_prompt_learning for config in getattr(model, "peft_config", {}).values())


def _generated(
    model: Any, prompt: list[int], limit: int, ends: set[int], pad: int | None, temperature: float
) -> list[int]:
    """The tokens of one answer, its end token included."""
    import torch

    ids = torch.tensor([prompt], device=model.device)
    sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if temperature > 0:
        sampling = {"do_sample": True, "temperature": temperature, "top_p": 1.0, "top_k": 0}
    said = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=limit,
        eos_token_id=sorted(ends),
        pad_token_id=pad,
        use_cache=True,
        **sampling,
    )
    return said[0, len(prompt) :].tolist()


def prompt_ids(tokenizer: Any, turns: Turns, *, thinking: bool | None = None) -> list[int]:
    """The token ids of a conversation up to where the assistant speaks.

    Args:
        thinking: whether a model that can think first is to do so (the template's `enable_thinking`); None leaves it to
            the template. Templates that know no such thing pass over it.
    """
    told = {} if thinking is None else {"enable_thinking": thinking}
    text = tokenizer.apply_chat_template(list(turns), add_generation_prompt=True, tokenize=False, **told)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def end_ids(model: Any, tokenizer: Any) -> set[int]:
    """Every token that ends an answer: the tokenizer's and the generation configuration's."""
    ends = {tokenizer.eos_token_id}
    configured = getattr(model.generation_config, "eos_token_id", None)
    ends.update(configured if isinstance(configured, list) else [configured])
    return {end for end in ends if end is not None}


class Batch:
    """Rows that are answered together, each leaving as it ends and others taking the room. Wants `inference_mode`.

    Args:
        temperature: 0 is greedy; above it, sampled with `seed`.

    Attributes:
        rows: which conversation each row of the batch is.
        can_grow: whether rows may join those under way; a model with sliding windows or states cannot.
    """

    def __init__(self, model: Any, tokenizer: Any, *, temperature: float, seed: int) -> None:
        import torch
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer

        self.model, self.temperature = model, temperature
        self.generator = torch.Generator().manual_seed(seed)
        self.ends = end_ids(model, tokenizer)
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else next(iter(self.ends))
        self.device = next(model.parameters()).device
        self.new_cache = lambda: DynamicCache(config=model.config)
        self.can_grow = all(type(layer) is DynamicLayer for layer in self.new_cache().layers)
        self.rows: list[int] = []
        self.limits: list[int] = []
        self.said: list[list[int]] = []
        self.opening: list[int] = []  # what was read last of what all prompts begin with, and its cache
        self.opened: Any = None
        # Of the rows under way: what the model has read (rows, tokens read), the next token and its place (rows, 1).
        self.cache: Any = None
        self.mask: Any = None
        self.tokens: Any = None
        self.positions: Any = None

    def admit(self, rows: list[int], prompts: list[list[int]], limits: list[int]) -> list[Finished]:
        """Read new prompts and say the first token of each answer; the rows that end with it come back.

        Args:
            rows: which conversations they are.
            limits: the cap on each answer, in tokens.
        """
        opening = len(self.opening)
        again = opening and all(len(ids) > opening and ids[:opening] == self.opening for ids in prompts)
        shared = opening if again else _shared_prefix(prompts)
        finished: list[Finished] = []
        for group in _alike(prompts, shared):
            self.limits += [limits[i] for i in group]
            finished += self._admit([rows[i] for i in group], [prompts[i] for i in group], shared)
        return finished

    def _admit(self, rows: list[int], prompts: list[list[int]], shared: int) -> list[Finished]:
        import torch

        cache = self._opened(prompts[0][:shared], len(prompts))
        rests = [ids[shared:] for ids in prompts]
        width = max(len(rest) for rest in rests)
        ids = torch.tensor([[self.pad] * (width - len(rest)) + rest for rest in rests], device=self.device)
        mask = torch.tensor(
            [[1] * shared + [0] * (width - len(rest)) + [1] * len(rest) for rest in rests], device=self.device
        )
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        chosen = self._forward(ids, mask, positions[:, shared:], cache)
        self._join(rows, cache, mask, chosen, positions[:, -1:] + 1)
        return self._take(chosen, len(rows))

    def _opened(self, opening: list[int], rows: int) -> Any:
        """A cache of so many rows that have read `opening`: the template's beginning, a system message.

        It is read once, not once a row, and not again while the prompts that follow begin alike.
        """
        import torch

        if not opening:
            return self.new_cache()
        if opening != self.opening:
            self.opening, self.opened = opening, self.new_cache()
            ids = torch.tensor([opening], device=self.device)
            self.model(input_ids=ids, past_key_values=self.opened, logits_to_keep=self._last(ids))
        cache = copy.deepcopy(self.opened)
        cache.batch_repeat_interleave(rows)
        return cache

    def step(self) -> list[Finished]:
        """One more token for every row; the rows that end with it come back."""
        import torch

        if not self.rows:
            return []
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.rows), 1)], dim=1)
        chosen = self._forward(self.tokens, self.mask, self.positions, self.cache)
        self.tokens, self.positions = chosen[:, None], self.positions + 1
        return self._take(chosen, len(self.rows))

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any) -> torch.Tensor:
        step = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=self._last(ids),
        )
        return _choose(step.logits[:, -1], self.temperature, self.generator)

    def _last(self, ids: torch.Tensor) -> torch.Tensor:
        """Where the last token is, as an index: a slice leaves the hidden states strided, and torch then multiplies
        each row by its own copy of the output weights where these are frozen, as under an adapter."""
        import torch

        return torch.tensor([ids.shape[1] - 1], device=self.device)

    def _join(
        self, rows: list[int], cache: Any, mask: torch.Tensor, chosen: torch.Tensor, positions: torch.Tensor
    ) -> None:
        """Put new rows below those under way, both padded on the left to the same length."""
        import torch
        from torch.nn.functional import pad

        tokens = chosen[:, None]
        if self.rows:
            unread = int(self.mask.any(0).int().argmax())  # columns that only rows which have left had filled
            length = max(mask.shape[1], self.mask.shape[1] - unread)
            for old, new in zip(self.cache.layers, cache.layers, strict=True):
                for name in ("keys", "values"):
                    above, below = getattr(old, name)[:, :, unread:], getattr(new, name)
                    both = [pad(part, (0, 0, length - part.shape[2], 0)) for part in (above, below)]
                    setattr(new, name, torch.cat(both))
            above = self.mask[:, unread:]
            mask = torch.cat([pad(part, (length - part.shape[1], 0)) for part in (above, mask)])
            tokens, positions = torch.cat([self.tokens, tokens]), torch.cat([self.positions, positions])
        self.cache, self.mask, self.tokens, self.positions = cache, mask, tokens, positions
        self.rows += rows
        self.said += [[] for _ in rows]

    def _take(self, chosen: torch.Tensor, count: int) -> list[Finished]:
        """Write down the tokens of the last `count` rows, and let go of those that have ended."""
        import torch

        first = len(self.rows) - count
        going, finished = list(range(first)), []
        for slot, token in enumerate(chosen.tolist(), start=first):
            ended = token in self.ends
            if not ended:
                self.said[slot].append(token)
            if ended or len(self.said[slot]) >= self.limits[slot]:
                finished.append((self.rows[slot], self.said[slot], ended))
            else:
                going.append(slot)
        if finished:
            self.rows, self.said = [self.rows[slot] for slot in going], [self.said[slot] for slot in going]
            self.limits = [self.limits[slot] for slot in going]
            keep = torch.tensor(going, device=self.device, dtype=torch.long)
            self.cache.batch_select_indices(keep)
            self.mask, self.tokens, self.positions = self.mask[keep], self.tokens[keep], self.positions[keep]
        return finished


def _shared_prefix(prompts: list[list[int]]) -> int:
    """How many tokens all prompts begin with, one short of the shortest prompt at most."""
    if len(prompts) < 2:
        return 0
    first, last = min(prompts), max(prompts)
    limit = min(len(ids) for ids in prompts) - 1
    return next((i for i in range(limit) if first[i] != last[i]), max(limit, 0))


def _alike(prompts: list[list[int]], shared: int) -> list[list[int]]:
    """The prompts in groups of like length, since those read together are padded to the longest: lists of indices."""
    groups: list[list[int]] = []
    for i in sorted(range(len(prompts)), key=lambda i: len(prompts[i])):
        if not groups or len(prompts[i]) - shared > _ALIKE * (len(prompts[groups[-1][0]]) - shared) + _ALIKE_TOKENS:
            groups.append([])
        groups[-1].append(i)
    return groups


def _choose(logits: torch.Tensor, temperature: float, generator: torch.Generator) -> torch.Tensor:
    if temperature <= 0:
        return likeliest(logits)
    import torch

    weights = torch.softmax(logits.float() / temperature, dim=-1).cpu()
    return torch.multinomial(weights, 1, generator=generator)[:, 0].to(logits.device)


def likeliest(logits: torch.Tensor) -> torch.Tensor:
    """The first of the largest of each row of (rows, vocabulary), as `argmax` finds it: (rows,).

    On a CPU by blocks of the vocabulary, whose largest values are found several times faster than where they stand.
    """
    rows, vocabulary = logits.shape
    block = math.gcd(vocabulary, _BLOCK)
    if logits.device.type != "cpu" or block == 1:
        return logits.argmax(-1)
    blocks = logits.reshape(rows, -1, block)
    which = blocks.amax(-1).argmax(-1)
    inside = blocks.gather(1, which[:, None, None].expand(-1, 1, block))[:, 0].argmax(-1)
    return which * block + inside
