"""The processes that train together: one, or those that `torchrun` started."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from identity_kit.train.recipe import Recipe
from identity_kit.ui import say


class Team:
    """This process's place among `size` processes. Process 0 leads: it alone writes and speaks."""

    def __init__(self, device: torch.device, recipe: Recipe) -> None:
        self.device, self.rank, self.size = device, 0, 1
        self.state = None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import PartialState

            self.state = PartialState(cpu=device.type == "cpu")
            self.rank, self.size = self.state.process_index, self.state.num_processes
            self.device = self.state.device

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

    def meet(self) -> None:
        """Go on once every process is here."""
        if self.state is not None:
            self.state.wait_for_everyone()

    @contextlib.contextmanager
    def wait(self) -> Iterator[None]:
        """For those that do not lead: nothing to hold."""
        yield
