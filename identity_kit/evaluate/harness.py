"""Public benchmarks through lm-evaluation-harness, where the user has installed it (`pip install lm-eval`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from identity_kit.errors import BadInput, Stopped
from identity_kit.models.device import best_device
from identity_kit.ui import tr

if TYPE_CHECKING:
    from identity_kit.evaluate.models import Subject


def run_harness(subject: Subject, tasks: Sequence[str], *, limit: int | None = None) -> dict[str, float]:
    """The main score of each task, by task name.

    Args:
        tasks: names that the harness knows, or paths of task YAML files.
        limit: only so many items of each task.

    Raises:
        BadInput: the harness is not installed, a task is unknown, or the model is not a Hugging Face folder.
        Stopped: the harness failed, for instance because it could not fetch a data set.
    """
    if subject.folder is None:
        raise BadInput(
            tr("--harness 需要 Hugging Face 目录", "--harness needs a Hugging Face folder"), where=subject.name
        )
    try:
        from lm_eval import simple_evaluate  # type: ignore[import-not-found]
        from lm_eval.tasks import TaskManager  # type: ignore[import-not-found]
    except ImportError:
        raise BadInput(
            tr("没有安装 lm-evaluation-harness", "lm-evaluation-harness is not installed"),
            where="--harness",
            fix="python -m pip install 'lm-eval[hf]'",
        ) from None
    files = [Path(task) for task in tasks if task.endswith((".yaml", ".yml"))]
    wanted = [_task_name(Path(task)) if Path(task) in files else task.strip() for task in tasks if task.strip()]
    manager = TaskManager(include_path=[str(path.resolve().parent) for path in files] or None)
    unknown = [task for task in wanted if not manager.match_tasks([task])]
    if unknown:
        raise BadInput(tr(f"没有任务 {unknown[0]}", f"no task {unknown[0]}"), where="--harness", fix="lm-eval ls tasks")
    arguments = {"pretrained": str(subject.folder), "dtype": "auto"}
    if subject.adapter:
        arguments["peft"] = str(subject.adapter)
    try:
        done = simple_evaluate(
            model="hf", model_args=arguments, tasks=wanted, limit=limit, task_manager=manager, device=str(best_device())
        )
    except Exception as error:  # the harness raises whatever its tasks' loaders raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Stopped(
            tr(f"harness 没跑完：{reason}", f"the harness did not finish: {reason}"),
            where=", ".join(wanted),
            fix=tr(
                "检查任务名与数据集能否取到，或去掉 --harness",
                "check that its data set can be fetched, or leave out --harness",
            ),
        ) from error
    return {task: score for task, scores in done["results"].items() if (score := _main_score(scores)) is not None}


def _task_name(path: Path) -> str:
    """The name that a task file gives its task."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return str(content["task"])
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        raise BadInput(tr("不是任务文件（没有 task:）", "no task file (no task:)"), where=str(path)) from None


def _main_score(scores: dict[str, object]) -> float | None:
    """The first figure that is a score, normalised accuracy before plain; keys look like `acc,none`."""
    figures = {
        key.partition(",")[0]: float(value)
        for key, value in scores.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and "stderr" not in key and "," in key
    }
    for name in ("acc_norm", "acc", "exact_match", "f1"):
        if name in figures:
            return figures[name]
    return next(iter(figures.values()), None)
