"""`improve`: measure a run on development probes, write more data for what is weak, train on, keep the best.

card ─► plan ─► data ─► train on ─► merge ─► card ─► … ─► best ─► final card on probes that were never seen
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from identity_kit.blank import known_answers
from identity_kit.errors import BadInput, resumed_by
from identity_kit.evaluate.card import Card, load_card
from identity_kit.evaluate.plan import KEPT, More, better, plan_more, shortfall
from identity_kit.files import folder_lock, read_json, sha256_file, write_json, write_text
from identity_kit.persona import Persona, load_persona
from identity_kit.ui import say, tr

if TYPE_CHECKING:
    from identity_kit.generate.settings import GenerateSettings
    from identity_kit.models.resolve import Hub
    from identity_kit.train.recipe import Recipe

# Rounds in a row without a gain after which nothing more is expected.
PATIENCE = 2


@dataclass(frozen=True)
class Budget:
    """How much may be spent: rounds of training, and minutes in all (None: no limit). Looked at before each round."""

    rounds: int = 3
    minutes: float | None = None


@dataclass(frozen=True)
class Round:
    """One line of the table: what was added and why, what it came to on the development probes, whether it was kept."""

    number: int
    rows: int
    why: tuple[str, ...]
    figures: dict[str, str]
    shortfall: float
    kept: bool
    seconds: float


@dataclass(frozen=True)
class Improvement:
    """What came of it: every round, why it ended, the best round's number (0: the run as it was), and the final card."""

    rounds: tuple[Round, ...]
    ended: str
    best: int
    final: Card


@dataclass(frozen=True)
class _Source:
    """A finished run and what is needed to train on: its persona, base model and recipe; how it is to be measured."""

    run: Path
    persona: Persona
    base_name: str
    base: Path
    recipe: Recipe
    hub: Hub
    per_family: int | None

    @property
    def home(self) -> Path:
        return self.run / "improve"

    def folder(self, number: int) -> Path:
        """The folder of a round; round 0 is the run as it was."""
        return self.home / f"round-{number}"

    def merged(self, number: int) -> Path:
        """The merged model of a round."""
        return self.folder(number) / "merged" if number else self.run / "merged"


def improve(
    run: Path,
    targets: Mapping[str, float],
    budget: Budget,
    *,
    learning_rate: float | None = None,
    epochs: float = 1.0,
    seed: int = 0,
    per_family: int | None = None,
) -> Improvement:
    """Improve a finished run in place; RUN/improve holds every round's data and card, and the adapter it began with.

    Only development probes steer it. Killed, it goes on with the same call; called again later, it begins anew.

    Args:
        targets: suite → share that must hold on the development probes; facts must not fall below the base model.
        learning_rate: of the rounds; None takes half of the run's own.
        epochs: of each round, over its new rows and as many old ones.
        per_family: ask at most so many probes of each family; None asks all.

    Raises:
        BadInput: the folder is no finished LoRA run.
        Stopped: a stage stopped; the same call goes on from there.
    """
    source = _source(run, per_family)
    recipe = source.recipe.model_copy(
        update={"epochs": epochs, "learning_rate": learning_rate or source.recipe.learning_rate / 2, "init": "default"}
    )
    with folder_lock(run / ".improve"):
        rounds, best = _resume(source, targets)
        started = time.monotonic() - sum(one.seconds for one in rounds)
        best_card = load_card(source.folder(best))
        while True:
            more = plan_more(best_card, targets)
            ended = _why_end(more, rounds, budget, started)
            if ended or more is None:
                break
            number, began = len(rounds), time.monotonic()
            say(tr(f"第 {number} 轮：", f"round {number}: ") + "; ".join(map(str, more.needs)), style="bold")
            _train_on(source, number, more, best, recipe, _kept_rounds(rounds), seed + 1000 * number)
            card = _measure(source, number)
            kept = better(card, best_card, targets)
            rounds.append(_round(number, more, card, targets, kept, time.monotonic() - began))
            beaten = best if kept else number
            if beaten:  # round 0 is the run's own model
                shutil.rmtree(source.merged(beaten), ignore_errors=True)
            if kept:
                best, best_card = number, card
            _save(source, rounds, best)
        final = _finish(source, best, targets)
        _save(source, rounds, best, ended)
        write_text(source.home / "improve.md", markdown_table(rounds, best, ended))
        return Improvement(tuple(rounds), ended, best, final)


def check_run(run: Path) -> dict[str, Any]:
    """The run.json of a finished LoRA run.

    Raises:
        BadInput: the folder is no run, or one that is not finished.
    """
    if not (run / "run.json").is_file():
        raise BadInput(
            tr("这不是运行目录（没有 run.json）", "this is no run folder (no run.json)"),
            where=str(run),
            fix=tr("先 idkit run --owner 名称", "make one with idkit run --owner NAME"),
        )
    content = read_json(run / "run.json")
    missing = [
        name for name in ("adapter/adapter_model.safetensors", "merged/config.json") if not (run / name).is_file()
    ]
    if missing or "recipe" not in content.get("train", {}) or "base" not in content:
        raise BadInput(
            tr(
                f"运行还没有做完（缺 {', '.join(missing) or 'run.json 的内容'}）",
                f"this run is not finished ({', '.join(missing) or 'run.json'} lacks)",
            ),
            where=str(run),
            fix=tr("重复 idkit run 那条命令", "repeat its idkit run command"),
        )
    return content


def _source(run: Path, per_family: int | None) -> _Source:
    from identity_kit.models.resolve import hf_folder
    from identity_kit.train import make_recipe

    content = check_run(run)
    name, hub = content["base"]["name"], content["base"].get("hub", "hf")
    base = Path(content["base"]["folder"])
    return _Source(
        run=run,
        persona=load_persona(run / "persona.yaml"),
        base_name=name,
        base=base if (base / "config.json").is_file() else hf_folder(name, hub=hub),
        recipe=make_recipe(**content["train"]["recipe"]).going_on,
        hub=hub,
        per_family=per_family,
    )


def _resume(source: _Source, targets: Mapping[str, float]) -> tuple[list[Round], int]:
    """The rounds so far and the best one; a session that cannot be gone on with is put aside and a new one begun."""
    path = source.home / "improve.json"
    state = read_json(path) if path.is_file() else {}
    if state and not _goes_on(source, state):
        number = 1
        while (aside := source.run / f"improve-{number}").exists():
            number += 1
        source.home.rename(aside)
        state = {}
    if state:
        return [Round(**{**row, "why": tuple(row["why"])}) for row in state["rounds"]], state["best"]
    first = source.folder(0)
    if first.is_dir() and _adapter(first) != _adapter(source.run):
        shutil.rmtree(first)
    if not (first / "adapter").is_dir():
        shutil.copytree(source.run / "adapter", first / "adapter.part", dirs_exist_ok=True)
        (first / "adapter.part").rename(first / "adapter")
    began = time.monotonic()
    rounds = [_round(0, None, _measure(source, 0), targets, True, time.monotonic() - began)]
    _save(source, rounds, 0)
    return rounds, 0


def _goes_on(source: _Source, state: Mapping[str, Any]) -> bool:
    """Whether the session has not ended, and was of the run's own model, measured as it is to be now."""
    own = {_adapter(source.folder(number)) for number in (0, state["best"])}
    return not state["ended"] and _adapter(source.run) in own and state.get("per_family") == source.per_family


def _adapter(folder: Path) -> str:
    path = folder / "adapter" / "adapter_model.safetensors"
    return sha256_file(path) if path.is_file() else ""


def _save(source: _Source, rounds: Sequence[Round], best: int, ended: str = "") -> None:
    state = {"rounds": [asdict(one) for one in rounds], "best": best, "ended": ended, "per_family": source.per_family}
    write_json(source.home / "improve.json", state)


def _why_end(more: More | None, rounds: Sequence[Round], budget: Budget, started: float) -> str:
    if more is None:
        return tr("目标都已达到", "every target holds")
    tried = [one for one in rounds if one.number]
    if len(tried) >= PATIENCE and not any(one.kept for one in tried[-PATIENCE:]):
        return tr(f"连续 {PATIENCE} 轮没有进步", f"{PATIENCE} rounds in a row gained nothing")
    if len(tried) >= budget.rounds:
        return tr(f"用完了 {budget.rounds} 轮", f"rounds used up: {budget.rounds}")
    if budget.minutes is not None and time.monotonic() - started >= 60 * budget.minutes:
        return tr(f"用完了 {budget.minutes:g} 分钟", f"the {budget.minutes:g} minutes are used up")
    return ""


def _round(
    number: int, more: More | None, card: Card, targets: Mapping[str, float], kept: bool, seconds: float
) -> Round:
    cells = {suite: card.cell(card.subject, suite) for suite in card.suites}
    return Round(
        number=number,
        rows=more.rows if more else 0,
        why=tuple(str(need) for need in more.needs) if more else (),
        figures={suite: f"{cell.passed:g}/{cell.total}" for suite, cell in cells.items() if cell},
        shortfall=shortfall(card, targets),
        kept=kept,
        seconds=round(seconds, 1),
    )


def _kept_rounds(rounds: Sequence[Round]) -> list[int]:
    return [one.number for one in rounds if one.kept and one.number]


# --- one round --------------------------------------------------------------------------------------------------------


def _train_on(
    source: _Source, number: int, more: More, best: int, recipe: Recipe, kept: Sequence[int], seed: int
) -> None:
    from identity_kit.conversation import write_conversations
    from identity_kit.export.merge import merge_adapter
    from identity_kit.pipeline import Job, generate_data
    from identity_kit.train import train

    folder = source.folder(number)
    job = Job(
        persona=source.persona, model=source.base_name, settings=_settings(more, seed), recipe=recipe, hub=source.hub
    )
    generate_data(job, folder / "data", known=known_answers(job.model, hub=job.hub))
    mixed = folder / "mixed.jsonl"
    write_conversations(mixed, _mix(source, folder, kept, more.replay, seed))
    with resumed_by(tr("重复同一条 idkit improve 命令即可继续", "the same idkit improve command goes on from here")):
        train(mixed, source.base, folder, recipe, resume=True, start=source.folder(best) / "adapter")
    merge_adapter(source.base, folder / "adapter", folder / "merged", source.persona, source=source.base_name)


def _settings(more: More, seed: int) -> GenerateSettings:
    from identity_kit.generate.settings import GenerateSettings

    few, many = 1 - more.many_turns, more.many_turns
    return GenerateSettings.model_validate(
        {
            "identity": more.identity,
            "contrast": more.contrast,
            "rehearsal": more.rehearsal,
            "domain": more.domain,
            "seed": seed,
            "pressure_share": more.pressure_share,
            "zh_share": more.zh_share,
            "turn_shares": (0.88 * few, 0.07 * few, 0.03 * few + many / 2, 1 - 0.98 * few - many / 2),
        }
    )


def _mix(source: _Source, folder: Path, kept: Sequence[int], replay: int, seed: int) -> list[Any]:
    """The round's new rows and a drawn sample of all rows that the best model was trained on, shuffled."""
    from identity_kit.conversation import read_conversations

    new = list(read_conversations(folder / "data"))
    earlier = [source.run / "data", *(source.folder(one) / "data" for one in kept)]
    old = [row for path in earlier for row in read_conversations(path)]
    chance = random.Random(seed)
    rows = new + chance.sample(old, min(replay, len(old)))
    chance.shuffle(rows)
    return rows


def _measure(source: _Source, number: int) -> Card:
    """The round's card on the development probes; the base model is asked only what must not get worse."""
    from identity_kit.evaluate import SUITES, evaluate
    from identity_kit.evaluate.answerers import release
    from identity_kit.evaluate.conditions import folder_condition
    from identity_kit.evaluate.probes import development_probes, thin

    folder, merged = source.folder(number), source.merged(number)
    if (folder / "report.json").is_file() and number == 0:
        return load_card(folder)
    conditions = [folder_condition("base", source.base, suites=KEPT), folder_condition("tuned", merged)]
    probes = thin(development_probes(SUITES), source.per_family)
    card = evaluate(conditions, source.persona, probes=probes, out=folder, cache=source.home / "answers.jsonl")
    release()  # training needs the memory
    return card


def _finish(source: _Source, best: int, targets: Mapping[str, float]) -> Card:
    """Put the best round in the run's place and measure it on the test probes: what its card had, and every target."""
    from identity_kit.evaluate import CORE_SUITES, SUITES, evaluate, load_probes
    from identity_kit.evaluate.answerers import release
    from identity_kit.evaluate.conditions import folder_condition
    from identity_kit.evaluate.held_out import training_questions
    from identity_kit.evaluate.probes import thin

    release()
    if best:
        old, adapter = source.home / "old-merged", source.run / "adapter"
        if source.merged(best).is_dir():
            if (source.run / "merged").is_dir():
                (source.run / "merged").rename(old)
            source.merged(best).rename(source.run / "merged")
        shutil.rmtree(old, ignore_errors=True)
        for path in (source.folder(best) / "adapter").iterdir():
            shutil.copy2(path, adapter / f".{path.name}.part")
            (adapter / f".{path.name}.part").replace(adapter / path.name)
    report, merged = source.run / "report", source.run / "merged"
    measured = load_card(report).suites if (report / "report.json").is_file() else ()
    suites = [suite for suite in SUITES if suite in {*CORE_SUITES, *targets, *measured}]
    conditions = [folder_condition("base", source.base), folder_condition("tuned", merged)]
    return evaluate(
        conditions,
        source.persona,
        probes=thin(load_probes(split="test", suites=suites), source.per_family),
        out=report,
        trained_on=training_questions(source.run),
    )


# --- the table --------------------------------------------------------------------------------------------------------


def table_rows(rounds: Sequence[Round], best: int) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of rounds."""
    suites = list(dict.fromkeys(suite for one in rounds for suite in one.figures))
    head = [
        tr("轮", "round"),
        tr("新行", "new rows"),
        *suites,
        tr("差距", "shortfall"),
        tr("留下", "kept"),
        tr("秒", "s"),
    ]
    body = [
        [
            f"{one.number}{' *' if one.number == best else ''}",
            str(one.rows),
            *(one.figures.get(suite, "–") for suite in suites),
            f"{one.shortfall:.3f}",
            tr("是", "yes") if one.kept else tr("否", "no"),
            f"{one.seconds:.0f}",
        ]
        for one in rounds
    ]
    return head, body


def markdown_table(rounds: Sequence[Round], best: int, ended: str) -> str:
    """The rounds as Markdown: development figures, and what each round was for."""
    head, body = table_rows(rounds, best)
    lines = [tr("# 改进记录（开发探针）", "# Improvement (development probes)"), ""]
    lines += ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)]
    lines += ["", tr(f"结束：{ended}。* 为最好的一轮。", f"Ended: {ended}. * marks the best round.")]
    for one in rounds:
        lines += ["", tr(f"第 {one.number} 轮：", f"Round {one.number}: ") + "; ".join(one.why)] if one.why else []
    return "\n".join(lines) + "\n"
