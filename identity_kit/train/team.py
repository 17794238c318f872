"""The processes that train together: one, or those that `torchrun` started."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import torch

from identity_kit.train.recipe import Recipe
from identity_kit.ui import say


class Team:
    """This process's place among `size` processes. Process 0 leads: it alone writes and speaks."""

    def __init__(self, device: torch.device, recipe: Recipe) -> None:
        self.device, self.rank, self.size = device, 0, 1
        self.shares = recipe.parallel != "replicate"
        self.state = None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import PartialState

            self.state = PartialState(cpu=device.type == "cpu")
            self.rank, self.size = self.state.process_index, self.state.num_processes
            self.device = self.state.device

    @property
    def sharded(self) -> bool:
        """Whether each process holds a part of every weight, not a copy of all."""
        return self.size > 1 and self.shares

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def say(self, text: str) -> None:
        """Say a line once, not once a process."""
        if self.leads:
            say(text)

    def add_up(self, tensors: list[torch.Tensor]) -> None:
        """Replace each tensor by its sum over the processes."""
        if self.size > 1:
            for tensor in tensors:
                torch.distributed.all_reduce(tensor)

    def shard(self, model: Any) -> None:
        """Leave each process its part of every weight, layer by layer (FSDP), and bring that to its device."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.device.type, (self.size,))
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        for layer in base.get_decoder().layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)

    def turns(self, step: list[list[int]]) -> list[list[int]]:
        """This process's micro-batches of a step. Where processes share weights they must move together, so each takes
        as many turns as the others; an empty one has no rows of its own."""
        mine = step[self.rank :: self.size]
        if not self.sharded:
            return [batch for batch in mine if batch]
        return mine + [[]] * (-(-len(step) // self.size) - len(mine))

    def meet(self) -> None:
        """Go on once every process is here."""
        if self.state is not None:
            self.state.wait_for_everyone()

    def leave(self) -> None:
        """All is done together. A process that does not lead ends at once when the interpreter does.

        It has nothing left to write; but a thread of the group, torn down with the interpreter, now and then aborts it,
        and `torchrun` then stops the leader, which may still be writing.
        """
        if self.state is not None and not self.leads:
            atexit.register(_end_at_once)

    @contextlib.contextmanager
    def wait(self) -> Iterator[None]:
        """For those that do not lead: nothing to hold."""
        yield


def _end_at_once() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
