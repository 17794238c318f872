"""Rows packed without padding, beginnings that rows share computed once.

Rows of a micro-batch form a prefix tree: tokens after the same beginning have the same hidden state, so one copy serves
all rows, and its gradient is the sum over them. Nothing of a row reaches another row otherwise.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from identity_kit.train.tokens import Row


@dataclass(frozen=True)
class Pack:
    """A micro-batch as a prefix tree of `tokens` nodes.

    Attributes:
        ids, positions: (tokens,) the token of each node and its place in its rows.
        path: (rows, longest) the node at each place of each row; node 0 fills up short rows, at their end.
        owner: (tokens,) for each node a place in the flattened `path` where it stands.
        shared: whether any node serves several rows.
        where: (w,) the nodes that predict a label, in order.
        target, target_at, target_weight: (labels,) each distinct label, its index into `where`, how many rows have it;
            in the order of `where`.
        starts: for each of `where` which label is its first, and at the end how many labels there are.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    path: torch.Tensor
    owner: torch.Tensor
    shared: bool
    where: torch.Tensor
    target: torch.Tensor
    target_at: torch.Tensor
    target_weight: torch.Tensor
    starts: list[int]
    _cache: dict[tuple[str, int], torch.Tensor] = field(default_factory=dict, repr=False)

    def places(self, heads: int) -> torch.Tensor:
        """Which (node, head) of (tokens × heads) stands at each (row, head, place), flattened."""
        key = ("places", heads)
        if key not in self._cache:
            head = torch.arange(heads, device=self.path.device)[None, :, None]
            self._cache[key] = (self.path[:, None, :] * heads + head).reshape(-1)
        return self._cache[key]

    def owners(self, heads: int) -> torch.Tensor:
        """(tokens, heads): where in the flattened (row, head, place) each node's head stands."""
        key = ("owners", heads)
        if key not in self._cache:
            longest = self.path.shape[1]
            row, place = self.owner // longest, self.owner % longest
            head = torch.arange(heads, device=self.path.device)
            self._cache[key] = (row[:, None] * heads + head) * longest + place[:, None]
        return self._cache[key]


def pack(rows: Sequence[Row], device: torch.device) -> Pack:
    """Build the tree. A row's last token is only ever predicted, so it is no node."""
    ids: list[int] = []
    positions: list[int] = []
    paths: list[list[int]] = []
    owner: list[int] = []
    nodes: dict[tuple[int, int], int] = {}
    labels: dict[tuple[int, int], int] = {}
    longest = max(len(row) for row in rows) - 1
    visits = 0
    for number, row in enumerate(rows):
        path: list[int] = []
        parent = -1
        for place in range(len(row) - 1):
            key = (parent, row.ids[place])
            node = nodes.get(key)
            if node is None:
                node = nodes[key] = len(ids)
                ids.append(row.ids[place])
                positions.append(place)
                owner.append(number * longest + place)
            if row.mask[place + 1]:
                label = (node, row.ids[place + 1])
                labels[label] = labels.get(label, 0) + 1
            path.append(node)
            parent = node
        visits += len(path)
        paths.append(path + [0] * (longest - len(path)))
    where = sorted({node for node, _ in labels})
    index = {node: i for i, node in enumerate(where)}
    found = sorted(labels, key=lambda label: label[0])
    at = [index[node] for node, _ in found]

    def tensor(values: Sequence[object]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long, device=device)

    return Pack(
        ids=tensor(ids),
        positions=tensor(positions),
        path=tensor(paths),
        owner=tensor(owner),
        shared=visits > len(ids),
        where=tensor(where),
        target=tensor([token for _, token in found]),
        target_at=tensor(at),
        target_weight=tensor([labels[label] for label in found]),
        starts=[bisect.bisect_left(at, i) for i in range(len(where) + 1)],
    )


def split(rows: Sequence[Row], tokens: int) -> Iterator[list[Row]]:
    """Groups of rows of at most `tokens` in all (a longer row stands alone), in order of length."""
    group: list[Row] = []
    used = 0
    for row in sorted(rows, key=len):
        if group and used + len(row) > tokens:
            yield group
            group, used = [], 0
        group.append(row)
        used += len(row)
    if group:
        yield group
