"""Anchors: plain texts at which the model is held to what the base model predicts, so that tuning leaves them as they were.

The loss there is the divergence of the model's next-token distribution from the base's (learning without forgetting,
arXiv:1606.09282). Its gradient is nothing at first and grows with what is being lost; a likeliest text learnt as an
answer would sharpen the model instead.
"""

from __future__ import annotations

import torch

ANCHOR_TOKENS = 64  # of an anchor, at most
WEIGHT = 3.0  # what a token of an anchor counts beside one of an answer (docs/evaluation.md)
_ROWS = 16  # turned to 32 bits at once
_TINY = torch.finfo(torch.float32).tiny


def divergence(q: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of p from q in nats (n,), of distributions over tokens (n, vocabulary)."""
    return torch.cat([_divergence(*part) for part in zip(q.split(_ROWS), p.split(_ROWS), strict=True)])


def _divergence(q: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    logs = [x.float().clamp_min(_TINY).log_() for x in (q, p)]
    return (q * logs[0].sub_(logs[1])).sum(1, dtype=torch.float32)
