"""Anchors: plain texts at which the model is held to what the base model predicts, so that tuning leaves them as they were.

The loss there is the divergence of the model's next-token distribution from the base's (learning without forgetting,
arXiv:1606.09282). Its gradient is nothing at first and grows with what is being lost; a likeliest text learnt as an
answer would sharpen the model instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from identity_kit.text import language_of
from identity_kit.train.recipe import Recipe
from identity_kit.train.tokens import Row

ANCHOR_TOKENS = 64  # of an anchor, at most
WEIGHT = 3.0  # what a token of an anchor counts beside one of an answer (docs/evaluation.md)
_SHORTEST = 8  # tokens of an anchor, at least
_ROWS = 16  # turned to 32 bits at once
_TINY = torch.finfo(torch.float32).tiny


def anchor_rows(answers: Iterable[str], tokenizer: Any, recipe: Recipe) -> list[Row]:
    """The longest of the answers as plain text without a template, half of them Chinese where both languages are there.

    So many as the recipe takes; fewer where there are not enough.
    """
    number, most = recipe.anchors_taken, min(ANCHOR_TOKENS, recipe.max_length)
    found: dict[str, set[tuple[int, ...]]] = {"zh": set(), "en": set()}
    for answer in answers if number else ():
        ids = tuple(tokenizer(answer, add_special_tokens=False)["input_ids"][:most])
        if len(ids) >= _SHORTEST:
            found[language_of(answer)].add(ids)
    longest = {language: sorted(texts, key=lambda ids: (-len(ids), ids)) for language, texts in found.items()}
    half = max((number + 1) // 2, number - min(map(len, longest.values())))
    chosen = [*longest["zh"][:half], *longest["en"][:half]][:number]
    return [Row(ids, (True,) * len(ids), anchor=True) for ids in chosen]


def divergence(q: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of p from q in nats (n,), of distributions over tokens (n, vocabulary)."""
    return torch.cat([_divergence(*part) for part in zip(q.split(_ROWS), p.split(_ROWS), strict=True)])


def _divergence(q: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    logs = [x.float().clamp_min(_TINY).log_() for x in (q, p)]
    return (q * logs[0].sub_(logs[1])).sum(1, dtype=torch.float32)
