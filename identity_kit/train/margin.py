"""Labels that are far enough ahead are left alone: what is learnt by heart only wears down the rest of the model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


def behind(p: torch.Tensor, row: torch.Tensor, label: torch.Tensor, margin: float) -> torch.Tensor:
    """Which labels do not lead every other token by `margin` nats (labels,), bool.

    Args:
        p: (n, vocabulary) probabilities or, up to a factor, what is proportional to them; unchanged afterwards.
        row: (labels,) the row of p that each label stands in.
        label: (labels,) its token.
    """
    own = p[row, label]
    if len(row) == len(p):  # one in each row
        p[row, label] = 0
        rival = p.amax(1)
        p[row, label] = own
    else:
        rival = p[row].scatter_(1, label[:, None], 0).amax(1)
    return own.float() < math.exp(margin) * rival.float()


@dataclass
class Learnt:
    """How many labels were seen and how many of them were learnt from, since the last look."""

    seen: float = 0.0
    learnt: float = 0.0

    def add(self, share: torch.Tensor, taken: torch.Tensor) -> torch.Tensor:
        """Count labels of weight `share` (labels,); returns it with those that are not `taken` at zero."""
        left = share * taken
        self.seen += float(share.sum())
        self.learnt += float(left.sum())
        return left

    def figures(self) -> dict[str, float]:
        """The share learnt from, since the last call."""
        if not self.seen:
            return {}
        share = self.learnt / self.seen
        self.seen = self.learnt = 0.0
        return {"learnt": round(share, 4)}
