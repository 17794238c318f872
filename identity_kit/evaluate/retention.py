"""Whether general language was kept: bits per byte on texts that were written for this and trained on by nobody."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from identity_kit.evaluate.probes import Split
from identity_kit.evaluate.statistics import mean_difference
from identity_kit.files import sha256_text
from identity_kit.resources import resource

Costs = list[tuple[float, int]]
"""Bits and bytes of each paragraph of a text."""

# Rows of logits turned to 32 bits at a time; a whole text of them over a large vocabulary would take a gigabyte.
_ROWS = 128


def retention_texts(split: Split | None = "test") -> dict[str, str]:
    """The held-out texts by language: those for tuning, those for the final card, or (None) both."""
    folder, splits = resource("data", "retention"), ("dev", "test") if split is None else (split,)
    return {
        language: "\n".join((folder / f"{each}.{language}.txt").read_text(encoding="utf-8").strip() for each in splits)
        for language in ("zh", "en")
    }


def texts_hash(texts: Mapping[str, str]) -> str:
    """The SHA-256 of the texts, so that two figures can be told to be about the same ones."""
    return sha256_text("\n\n".join(f"{language}\n{texts[language]}" for language in sorted(texts)))


def paragraph_costs(model: Any, tokenizer: Any, texts: Mapping[str, str]) -> dict[str, Costs]:
    """Bits (-log2 p) and UTF-8 bytes of each paragraph of the texts, by language, without a paragraph's first token.

    Each paragraph is read on its own, so that no text is longer than a small model's window.
    """
    import torch

    device = next(model.parameters()).device
    measured: dict[str, Costs] = {}
    for language, text in texts.items():
        measured[language] = []
        for paragraph in filter(None, (part.strip() for part in text.split("\n"))):
            ids = tokenizer(paragraph, add_special_tokens=False)["input_ids"]
            if len(ids) < 2:
                continue
            tokens = torch.tensor([ids], device=device)
            bits = 0.0
            with torch.inference_mode():
                logits = model(input_ids=tokens).logits[0, :-1]
                for start in range(0, len(ids) - 1, _ROWS):
                    rows = torch.log_softmax(logits[start : start + _ROWS].float(), dim=-1)
                    wanted = tokens[0, 1 + start : 1 + start + len(rows)]
                    bits -= float(rows.gather(1, wanted[:, None]).sum()) / math.log(2)
            measured[language].append((bits, len(paragraph.encode()) - len(tokenizer.decode(ids[:1]).encode())))
    return measured


def bits_per_byte(costs: Mapping[str, Costs]) -> dict[str, float]:
    """The mean cost of a byte in bits, by language. Independent of the tokenizer, which per-token perplexity is not."""
    return {language: sum(b for b, _ in part) / sum(n for _, n in part) for language, part in costs.items()}


def more_bits(costs: Mapping[str, Costs], base: Mapping[str, Costs]) -> dict[str, tuple[float, float, float]]:
    """Bits per byte more than the base model's on the same paragraphs, and their 95 % interval, by language.

    A language with fewer than three paragraphs has none.
    """
    return {
        language: mean_difference([(b - b0, n) for (b, n), (b0, _) in zip(part, base[language], strict=True)])
        for language, part in costs.items()
        if len(part) >= 3
    }
