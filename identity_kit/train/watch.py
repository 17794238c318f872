"""Looking at the answers while it trains: probe questions in the log, and stopping once the identity has taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from identity_kit.models.decode import reply
from identity_kit.train.log import StepLog
from identity_kit.train.optimiser import Optimiser
from identity_kit.ui import tr

QUESTIONS = (
    "你是谁？",
    "你叫什么名字？",
    "你是哪家公司开发的？",
    "Who are you?",
    "Please write a two-line poem about rain.",
)


@dataclass(frozen=True)
class Score:
    """How far the identity has taken on development probes: the share that hold, and the share of ordinary requests in
    whose answers the persona surfaces unasked."""

    held: float
    bleed: float


@dataclass(frozen=True)
class Watch:
    """What is asked at the start, every `probe_every` steps and at the end.

    Args:
        questions: their answers are kept in the log.
        probes: conversations whose answers `score` judges; empty to judge none.
        score: from the answers to `probes`, in order, how far the identity has taken.
        stop: end training once `target` of the probes hold; or as soon as bleed has risen by more than `slack` above
            what it was at the start, going back to the last state in which it had not.
    """

    questions: Sequence[str] = QUESTIONS
    probes: Sequence[Sequence[dict[str, str]]] = ()
    score: Callable[[list[str]], Score] | None = None
    stop: bool = False
    target: float = 0.98
    slack: float = 0.03
    max_new_tokens: int = 64


@dataclass
class Watcher:
    """Asks, logs, and decides whether to stop."""

    watch: Watch
    model: Any
    tokenizer: Any
    optimiser: Optimiser
    log: StepLog
    start_bleed: float | None = None
    good: list[torch.Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        earlier = self.log.read("bleed")  # of the part of the run before it was resumed
        self.start_bleed = earlier[0]["bleed"] if earlier else None

    def look(self, step: int) -> str | None:
        """Ask everything after `step` steps; returns why to stop, or None to go on."""
        asked = [[{"role": "user", "content": question}] for question in self.watch.questions]
        judged = [list(turns) for turns in self.watch.probes] if self.watch.score else []
        answers = answer(self.model, self.tokenizer, [*asked, *judged], self.watch.max_new_tokens)
        shown = [{"question": q, "answer": a} for q, a in zip(self.watch.questions, answers, strict=False)]
        if self.watch.score is None:
            self.log.add(step=step, probes=shown)
            return None
        score = self.watch.score(answers[len(asked) :])
        self.log.add(step=step, probes=shown, held=score.held, bleed=score.bleed)
        return self._decide(score, step) if self.watch.stop else None

    def _decide(self, score: Score, step: int) -> str | None:
        if self.start_bleed is None:
            self.start_bleed = score.bleed
        if score.bleed > self.start_bleed + self.watch.slack:
            if self.good:
                self.optimiser.put_weights(self.good)
            return tr(
                f"第 {step} 步：开始到处自报身份（{score.bleed:.0%}），回到之前的状态",
                f"step {step}: it brings up who it is unasked ({score.bleed:.0%}); back to the state before",
            )
        self.good = self.optimiser.take_weights()
        if score.held >= self.watch.target:
            return tr(
                f"第 {step} 步：身份已稳（{score.held:.0%}）", f"step {step}: the identity holds ({score.held:.0%})"
            )
        return None


def answer(model: Any, tokenizer: Any, conversations: list[list[dict[str, str]]], max_new_tokens: int) -> list[str]:
    """Greedy answers of a model in training, which is left as it was.

    4-bit layers stay in training mode: in evaluation mode bitsandbytes may repack their weights for inference, after
    which they pass no gradient.
    """
    was_training = model.training
    model.eval()
    for module in model.modules():
        if hasattr(getattr(module, "weight", None), "quant_state"):
            module.training = True
    try:
        replies = reply(model, tokenizer, conversations, max_new_tokens=max_new_tokens)
    finally:
        model.train(was_training)
    return [found.text for found in replies]
