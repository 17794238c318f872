"""The training loop, top to bottom: set up, resume, step, save, finish."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from identity_kit import ui
from identity_kit.conversation import Conversation
from identity_kit.errors import BadInput, Stopped
from identity_kit.files import folder_lock, read_json, sha256_file, sha256_text, write_json
from identity_kit.models.memory import give_back_memory
from identity_kit.train.batches import Step, plan_steps
from identity_kit.train.checkpoint import (
    Checkpoint,
    clear_checkpoints,
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from identity_kit.train.data import TrainingData, load_data
from identity_kit.train.engine import Engine, make_engine
from identity_kit.train.log import StepLog, draw_loss
from identity_kit.train.memory import PeakMemory
from identity_kit.train.model import Setting, adapt, load_base, load_tokenizer, save_trained, saves_tokenizer, settle
from identity_kit.train.optimiser import Optimiser
from identity_kit.train.pissa import split_off
from identity_kit.train.plan import Plan, check_fits, describe, make_plan
from identity_kit.train.recipe import Recipe
from identity_kit.train.team import Team
from identity_kit.train.track import check_trackers, open_trackers
from identity_kit.train.view import view
from identity_kit.train.watch import Watch, Watcher
from identity_kit.train.zero import ZeroOptimiser
from identity_kit.ui import say, tr

_SPARE = 400 * 2**20  # bytes that a step on a CPU may leave for the next one, which would have to fetch them anew


@dataclass(frozen=True)
class TrainResult:
    """What a run came to. Seconds, tokens and rows are of the loop alone; padding is not counted as tokens.

    `adapter` is a peft folder, or a whole Hugging Face folder where every weight was trained.
    """

    steps: int
    seconds: float
    final_loss: float
    tokens_per_second: float
    rows_per_second: float
    peak_memory_bytes: int
    adapter: Path


def train(
    data: Path | Sequence[Conversation],
    model: Path,
    out: Path,
    recipe: Recipe,
    *,
    resume: bool = False,
    progress: bool = True,
    start: Path | None = None,
    watch: Watch | None = None,
    trackers: Sequence[str] = (),
) -> TrainResult:
    """Train and leave in `out`: adapter/, checkpoints/, log.jsonl, report/loss.png, and `train` in run.json.

    Args:
        data: a JSONL file or folder of ours, or conversations; for `stage: pretrain` documents.
        model: a plain Hugging Face folder.
        resume: go on from the newest whole checkpoint; without one, start at the beginning.
        progress: show a bar (on a terminal) or a line now and then.
        start: an adapter of the same model and shape to go on from; without one, training starts at the model.
        watch: questions to ask while it trains, and when to stop.
        trackers: `tensorboard`, `wandb`, `swanlab` or `mlflow`: where else the figures of each step go.

    Raises:
        BadInput: data, model or recipe do not fit; or `out` holds an unfinished run and `resume` is false.
        Stopped: a signal, a full disk or a loss that is no number; says from which step `resume` goes on.
        KeyboardInterrupt: Ctrl-C, after the state was saved.
    """
    check_trackers(trackers)
    setting = settle(recipe)
    recipe = setting.recipe
    team = Team(setting.device, recipe)
    for remark in setting.remarks:
        team.say(remark)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    tokenizer = load_tokenizer(model, recipe)
    rows = load_data(data, tokenizer, recipe)
    planned = make_plan(rows, model, setting, processes=team.size)
    for what, words in describe(planned):
        team.say(f"{what}  {words}")
    check_fits(planned, rows, model, recipe, setting.device, processes=team.size)
    with folder_lock(out / "checkpoints") if team.leads else team.wait():
        run_id = _fingerprint(recipe, rows, model, start)
        parts = team if team.sharded else None
        checkpoint = _to_resume(out, load_checkpoint(out / "checkpoints", team=parts), run_id, resume)
        team.meet()  # nobody writes before everybody has read
        torch.manual_seed(recipe.seed)
        # Weights that processes share come to a device in parts: none need hold them all.
        whole = replace(setting, device=torch.device("cpu")) if team.sharded else setting
        adapted = adapt(load_base(model, whole), tokenizer, recipe, model, start=start)
        if watch is None and not saves_tokenizer(recipe):
            tokenizer = None  # a hundred megabytes, and nobody asks it again
        first = split_off(adapted, recipe, checkpoint.tensors if checkpoint else None)
        steps = plan_steps([len(row) for row in rows.rows], recipe, processes=team.size)
        optimiser = _make_optimiser(adapted, setting, team, len(steps))
        engine = make_engine(adapted, setting, rows, sharded=team.sharded, optimiser=optimiser)
        torch.manual_seed(recipe.seed)
        log = StepLog(out / "log.jsonl", leads=team.leads, trackers=open_trackers(trackers, out, recipe, team.leads))
        done = 0
        if checkpoint is not None:
            optimiser.load(checkpoint)
            restore_random_state(checkpoint.tensors)
            engine.refresh()
            done = checkpoint.step
            team.say(tr(f"从第 {done} 步继续", f"going on from step {done}"))
        if team.leads and not done:
            clear_checkpoints(out / "checkpoints")
        log.start(after=done)
        loop = _Loop(team, recipe, rows, engine, optimiser, log, out, run_id, done, first)
        if checkpoint is not None:
            loop.seconds = float(checkpoint.notes.get("seconds", 0.0))
            if checkpoint.notes.get("of") == done:  # it had come to its end, perhaps before all steps
                steps = steps[:done]
        loop.watcher = _watcher(watch, team, adapted, tokenizer, optimiser, log)
        loop.run(steps, progress=progress)
        weights = optimiser.whole_weights(adapted) if team.sharded else None
        adapter = out / "adapter"
        if team.leads:
            adapter = save_trained(adapted, tokenizer, recipe, out, weights=weights, first=first)
        result = _finish(loop, steps, adapter, out, start)
        team.leave()
        return result


def preview(data: Path | Sequence[Conversation], model: Path, recipe: Recipe, *, measure: bool = True) -> Plan:
    """What `train` would take; nothing is written.

    Args:
        measure: load the model and take two steps' gradients, for the time that the run will take; left out where the
            memory would not do.
    """
    setting = settle(recipe)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    tokenizer = load_tokenizer(model, setting.recipe)
    rows = load_data(data, tokenizer, setting.recipe)
    planned = make_plan(rows, model, setting)
    if not measure or not planned.fits:
        return planned
    adapted = adapt(load_base(model, setting), tokenizer, setting.recipe, model)
    engine = make_engine(adapted, setting, rows)
    steps = plan_steps([len(row) for row in rows.rows], setting.recipe)
    Optimiser(adapted.named_parameters(), setting.recipe, len(steps))  # gives the parameters their gradients
    for batch in steps[0][:1]:
        engine.accumulate(batch, 1.0)  # the first one sets things up
    began = time.perf_counter()
    for step in steps[:2]:
        for batch in step:
            if batch:
                engine.accumulate(batch, 1.0)
    took = time.perf_counter() - began
    measured = sum(_size(rows, step)[0] for step in steps[:2])
    return replace(planned, seconds=took / measured * sum(_size(rows, step)[0] for step in steps))


def _watcher(
    watch: Watch | None, team: Team, model: Any, tokenizer: Any, optimiser: Optimiser, log: StepLog
) -> Watcher | None:
    """Who asks the questions while it trains; None where nobody does.

    Raises:
        BadInput: an early stop was asked for, and several processes train.
    """
    if watch is None:
        return None
    if team.sharded:
        team.say(tr("多个进程分担权重：训练中不提问", "processes share the weights: no questions while training"))
        return None
    if not team.leads:
        return None
    if watch.stop and team.size > 1:
        raise BadInput(tr("--stop-when 只用于单进程", "--stop-when is for one process"))
    return Watcher(watch, model, tokenizer, optimiser, log)


def _make_optimiser(model: Any, setting: Setting, team: Team, steps: int) -> Optimiser:
    """The optimiser of a run. Where processes share the weights, each is left its part first."""
    recipe = setting.recipe
    if team.sharded and recipe.parallel == "deepspeed":
        return ZeroOptimiser(model, recipe, steps, setting.dtype)
    if team.sharded:
        team.shard(model)
    return Optimiser(model.named_parameters(), recipe, steps)


class _Loop:
    """The state of a run: what is trained, on what, and how far it has come."""

    def __init__(
        self,
        team: Team,
        recipe: Recipe,
        rows: TrainingData,
        engine: Engine,
        optimiser: Optimiser,
        log: StepLog,
        out: Path,
        run_id: str,
        done: int,
        first: dict[str, torch.Tensor],
    ) -> None:
        self.team, self.recipe, self.rows, self.engine, self.optimiser = team, recipe, rows, engine, optimiser
        self.log, self.out, self.run_id, self.done, self.first = log, out, run_id, done, first
        self.memory = PeakMemory(team.device)
        self.seconds = 0.0
        self.steps = 0
        self.watcher: Watcher | None = None
        self.stop_requested: int | None = None

    def run(self, steps: list[Step], *, progress: bool) -> None:
        """Take every step that is left, saving now and then, and at a signal."""
        self.steps = len(steps)
        with self._signals(), view(steps, self.rows, show=progress and self.team.leads) as show:
            if not self.done:
                self._look(len(steps))
            for step in steps[self.done :]:
                began = time.perf_counter()
                loss, norm = self.take(step)
                took = time.perf_counter() - began
                self.seconds += took
                self.done += 1
                tokens, count = _size(self.rows, step)
                self.log.add(
                    step=self.done,
                    loss=loss,
                    learning_rate=self.optimiser.rate(self.done - 1),
                    grad_norm=norm,
                    tokens=tokens,
                    rows=count,
                    seconds=round(took, 4),
                    **self.engine.figures(),
                )
                show(self.done, loss, self.optimiser.rate(self.done - 1), tokens, took, self.memory.peak())
                if self.stop_requested is not None:
                    self._stop()
                if self.done % self.recipe.save_every == 0 or self.done == len(steps):
                    self.save()
                if self._look(len(steps)):
                    self.steps = self.done
                    self.save()
                    break

    def _look(self, last: int) -> bool:
        """Ask the probes where they are due; whether to stop."""
        every = self.recipe.probe_every
        due = self.done in (0, last) or (every and self.done % every == 0)
        if self.watcher is None or not due:
            return False
        reason = self.watcher.look(self.done)
        if reason:
            self.engine.refresh()
            self.team.say(reason)
        return reason is not None and self.done > 0

    def take(self, step: Step) -> tuple[float, float]:
        """One optimiser step: the mean loss over its labels, and the gradient's norm before clipping.

        Raises:
            Stopped: one of them is no number, or a GPU's memory did not do; the weights are as they were.
        """
        weight = sum(self.engine.weight(batch) for batch in step)
        # Sharing averages gradients over the processes by itself; those of replicas are added up here.
        scale = (self.team.size if self.team.sharded else 1) / weight
        sums = torch.zeros(2, dtype=torch.float64, device=self.team.device)  # the loss; who was told to stop
        turns = self.team.turns(step)
        self.optimiser.begin_step(len(turns))
        try:
            for batch in turns:
                sums[0] += self.engine.accumulate(batch, scale)
        except torch.OutOfMemoryError:
            raise Stopped(
                tr(f"第 {self.done + 1} 步显存不够", f"step {self.done + 1} ran out of the GPU's memory"),
                fix=tr(
                    "减小 max_length，或加 --set gradient_checkpointing=true，重新训练",
                    "train again with a smaller max_length, or with --set gradient_checkpointing=true",
                ),
            ) from None
        sums[1] = self.stop_requested is not None
        if self.team.device.type == "cpu":
            give_back_memory(spare=_SPARE)
        self.team.add_up([*self.optimiser.flat_gradients(), sums])
        if sums[1] and self.stop_requested is None:
            self.stop_requested = signal.SIGTERM  # another process was told: all stop after the same step
        loss = float(sums[0]) / weight
        norm = self.optimiser.step() if math.isfinite(loss) else math.nan
        if not math.isfinite(norm):
            last = self.done // self.recipe.save_every * self.recipe.save_every
            raise Stopped(
                tr(
                    f"第 {self.done + 1} 步的损失或梯度不是数",
                    f"the loss or gradient of step {self.done + 1} is no number",
                ),
                fix=tr(
                    f"检查点（第 {last} 步）完好；调低 learning_rate 重新训练",
                    f"the checkpoint of step {last} is good; train again with a lower learning_rate",
                ),
            )
        self.engine.refresh()
        return loss, norm

    def save(self) -> None:
        """Write a checkpoint of the state after the last step."""
        if self.team.leads or self.team.sharded:
            tensors = {**self.optimiser.state(), **random_state(), **self.first}
            notes = {"run": self.run_id, "seconds": self.seconds, "of": self.steps}
            parts = self.team if self.team.sharded else None
            keep = self.recipe.keep_checkpoints
            save_checkpoint(
                self.out / "checkpoints",
                self.done,
                tensors,
                notes,
                keep=keep,
                team=parts,
                more=self.optimiser.save_files,
            )

    def _stop(self) -> None:
        self.save()
        words = tr(f"已保存第 {self.done} 步", f"saved step {self.done}")
        if self.stop_requested == signal.SIGINT:
            self.team.say(words + tr("；加 --resume 继续", "; go on with --resume"))
            raise KeyboardInterrupt
        raise Stopped(
            tr("收到终止信号", "told to stop") + ", " + words, fix=tr("加 --resume 继续", "go on with --resume")
        )

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and Ctrl-C are noted, and obeyed after the step; a second Ctrl-C is obeyed at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, _frame: Any) -> None:
            if self.stop_requested is not None and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.stop_requested = number
            self.team.say(tr("这一步做完就保存并停下…", "saving after this step, then stopping…"))

        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _size(rows: TrainingData, step: Step) -> tuple[int, int]:
    """Tokens and rows of a step, both sides of a pair counted."""
    numbers = [row for batch in step for row in batch]
    tokens = sum(len(rows.rows[i]) + (len(rows.rejected[i]) if rows.rejected else 0) for i in numbers)
    return tokens, len(numbers)


def _fingerprint(recipe: Recipe, rows: TrainingData, model: Path, start: Path | None = None) -> str:
    """What must be alike for a checkpoint to be continued."""
    free = {"log_every", "save_every", "keep_checkpoints", "threads", "probe_every"}
    config = model / "config.json"
    parts = [
        json.dumps(recipe.model_dump(mode="json", exclude=free), sort_keys=True),
        rows.fingerprint(),
        config.read_text(encoding="utf-8") if config.is_file() else "",
    ]
    if start is not None:
        parts.append(sha256_file(start / "adapter_model.safetensors"))
    return sha256_text("\n".join(parts))


def _to_resume(out: Path, checkpoint: Checkpoint | None, run_id: str, resume: bool) -> Checkpoint | None:
    """The checkpoint to go on from; None to start at the beginning.

    Raises:
        BadInput: an unfinished run would be overwritten, or is of other data, another model or another recipe.
    """
    if checkpoint is None:
        return None
    finished = checkpoint.step == checkpoint.notes.get("of")
    alike = checkpoint.notes.get("run") == run_id
    if resume and alike:
        return checkpoint
    if finished:
        return None
    if resume:
        raise BadInput(
            tr("检查点来自别的数据、模型或配方", "the checkpoint is of other data, another model or another recipe"),
            where=str(out / "checkpoints"),
            fix=tr("恢复原来的设置，或换一个 -o", "restore the settings it was made with, or choose another -o"),
        )
    raise BadInput(
        tr(f"这里有未完成的训练（{checkpoint.step} 步）", f"an unfinished run is here, at step {checkpoint.step}"),
        where=str(out),
        fix=tr("加 --resume 继续，或换一个 -o", "go on with --resume, or choose another -o"),
    )


def _finish(loop: _Loop, steps: list[Step], adapter: Path, out: Path, start: Path | None) -> TrainResult:
    """Write the loss picture and run.json's `train`, and say how it went."""
    sizes = [_size(loop.rows, step) for step in steps[: loop.done]]
    seconds = max(loop.seconds, 1e-9)
    history = loop.log.read()
    tail = [entry["loss"] for entry in history[-loop.recipe.log_every :]]
    result = TrainResult(
        steps=loop.done,
        seconds=loop.seconds,
        final_loss=sum(tail) / len(tail) if tail else math.nan,
        tokens_per_second=sum(tokens for tokens, _ in sizes) / seconds,
        rows_per_second=sum(count for _, count in sizes) / seconds,
        peak_memory_bytes=loop.memory.peak(),
        adapter=adapter,
    )
    if loop.team.leads:
        draw_loss(history, out / "report" / "loss.png")
        path = out / "run.json"
        run = read_json(path) if path.is_file() else {}
        numbers = {k: v for k, v in asdict(result).items() if k not in ("adapter", "final_loss")}
        run["train"] = {**numbers, "final_loss": result.final_loss, "recipe": loop.recipe.model_dump(mode="json")}
        if start is not None:
            run["train"]["start"] = {
                "folder": str(start.resolve()),
                "sha256": sha256_file(start / "adapter_model.safetensors"),
            }
        write_json(path, run)
        if not ui.quiet():
            say(
                tr(
                    f"训练完成：{result.steps} 步，{result.seconds:.0f} 秒，损失 {result.final_loss:.3f}，"
                    f"{result.tokens_per_second:.0f} 词元/秒",
                    f"trained: {result.steps} steps in {result.seconds:.0f} s, loss {result.final_loss:.3f}, "
                    f"{result.tokens_per_second:.0f} tokens/s",
                )
            )
    return result
