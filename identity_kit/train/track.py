"""Experiment trackers: the figures of each step, sent to a tool that the user already has."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from identity_kit.errors import BadInput
from identity_kit.train.recipe import Recipe
from identity_kit.ui import tr

Track = Callable[[Mapping[str, float], int], None]
"""(figures by name, step)"""

TRACKERS = ("tensorboard", "wandb", "swanlab", "mlflow")


def check_trackers(names: Sequence[str]) -> None:
    """Refuse, before anything is loaded, what `open_trackers` could not open.

    Raises:
        BadInput: a name that is none of TRACKERS, or a tracker that is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise BadInput(
                tr(f"未知的记录工具 {name}", f"unknown tracker {name}"),
                fix=tr(f"可用：{'、'.join(TRACKERS)}", f"there are: {', '.join(TRACKERS)}"),
            )
        if importlib.util.find_spec(name) is None:
            raise BadInput(tr(f"没有安装 {name}", f"{name} is not installed"), fix=f"python -m pip install {name}")


def open_trackers(names: Sequence[str], out: Path, recipe: Recipe, leads: bool) -> list[Track]:
    """A function a tracker that takes figures; none for a process that does not lead."""
    return [_open(name, out, recipe) for name in names] if leads else []


def _open(name: str, out: Path, recipe: Recipe) -> Track:
    settings: dict[str, Any] = recipe.model_dump(mode="json")
    if name == "tensorboard":
        board = importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(out / "tensorboard"))

        def to_board(figures: Mapping[str, float], step: int) -> None:
            for key, value in figures.items():
                board.add_scalar(f"train/{key}", value, step)
            board.flush()

        return to_board
    if name == "mlflow":
        mlflow: Any = importlib.import_module("mlflow")
        mlflow.start_run(run_name=out.name)
        mlflow.log_params(settings)
        return lambda figures, step: mlflow.log_metrics(dict(figures), step=step)
    module: Any = importlib.import_module(name)  # wandb and swanlab share their calls
    run = (
        module.init(project="identity-kit", name=out.name, config=settings, dir=str(out))
        if name == "wandb"
        else (
            module.init(project="identity-kit", experiment_name=out.name, config=settings, logdir=str(out / "swanlab"))
        )
    )
    return lambda figures, step: run.log(dict(figures), step=step)
