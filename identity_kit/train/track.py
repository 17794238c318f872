"""Experiment trackers: the figures of each step, sent to a tool that the user already has."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from identity_kit.errors import BadInput
from identity_kit.train.recipe import Recipe
from identity_kit.ui import tr

Track = Callable[[Mapping[str, float], int], None]
"""(figures by name, step)"""

TRACKERS = ("tensorboard", "wandb", "swanlab", "mlflow")


def open_trackers(names: Sequence[str], out: Path, recipe: Recipe, leads: bool) -> list[Track]:
    """A function a tracker that takes figures; none for a process that does not lead.

    Raises:
        BadInput: a name that is none of TRACKERS, or a tracker that is not installed.
    """
    unknown = [name for name in names if name not in TRACKERS]
    if unknown:
        raise BadInput(
            tr(f"未知的记录工具 {unknown[0]}", f"unknown tracker {unknown[0]}"),
            fix=tr(f"可用：{'、'.join(TRACKERS)}", f"there are: {', '.join(TRACKERS)}"),
        )
    return [_open(name, out, recipe) for name in names] if leads else []


def _open(name: str, out: Path, recipe: Recipe) -> Track:
    settings: dict[str, Any] = recipe.model_dump(mode="json")
    if name == "tensorboard":
        board = _module("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(out / "tensorboard"))

        def to_board(figures: Mapping[str, float], step: int) -> None:
            for key, value in figures.items():
                board.add_scalar(f"train/{key}", value, step)
            board.flush()

        return to_board
    if name == "mlflow":
        mlflow = _module("mlflow", "mlflow")
        mlflow.start_run(run_name=out.name)
        mlflow.log_params(settings)
        return lambda figures, step: mlflow.log_metrics(dict(figures), step=step)
    module = _module(name, name)  # wandb and swanlab share their calls
    run = (
        module.init(project="identity-kit", name=out.name, config=settings, dir=str(out))
        if name == "wandb"
        else (
            module.init(project="identity-kit", experiment_name=out.name, config=settings, logdir=str(out / "swanlab"))
        )
    )
    return lambda figures, step: run.log(dict(figures), step=step)


def _module(path: str, package: str) -> Any:
    try:
        return importlib.import_module(path)
    except ImportError as error:
        raise BadInput(
            tr(f"没有安装 {package}", f"{package} is not installed"), fix=f"python -m pip install {package}"
        ) from error
