"""`run`: from one name to a proven model. The stages in order, each skipped when nothing that it depends on has changed.

persona ─► data ─► check ─► train ─► merge ─► evaluate
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from identity_kit.blank import known_answers
from identity_kit.errors import BadInput, Stopped, resumed_by
from identity_kit.files import folder_lock, read_json, sha256_file, sha256_text, write_json
from identity_kit.models.fingerprint import folder_fingerprint
from identity_kit.models.resolve import Hub, hf_folder
from identity_kit.persona import Persona, save_persona
from identity_kit.ui import say, tr

if TYPE_CHECKING:
    from identity_kit.check import Schedule
    from identity_kit.evaluate.card import Card
    from identity_kit.evaluate.probes import Split
    from identity_kit.generate.settings import GenerateSettings
    from identity_kit.llm.endpoint import Endpoint
    from identity_kit.train.recipe import Recipe

STAGES = ("model", "data", "check", "train", "merge", "evaluate")


@dataclass(frozen=True)
class Job:
    """Everything that decides a run's result.

    Args:
        model: the name of the model to tune, as `models.resolve` takes it.
        settings: how much data of which kind.
        recipe: how to train.
        writer: an endpoint that writes and varies questions and answers; None composes them from the banks.
        rehearser: an endpoint that serves the untuned model; None serves it here.
        start: an adapter folder that training begins with; None begins at the model.
        suites: evaluation suites to ask; empty for all.
        split: whose probes: "test", or "dev" where settings are being chosen.
        per_family: at most so many probes of a family and language; None for all.
    """

    persona: Persona
    model: str
    settings: GenerateSettings
    recipe: Recipe
    writer: Endpoint | None = None
    rehearser: Endpoint | None = None
    hub: Hub = "hf"
    start: Path | None = None
    suites: tuple[str, ...] = ()
    split: Split = "test"
    per_family: int | None = None


@dataclass
class Outcome:
    """What a run came to: the report card, and where the time went."""

    folder: Path
    card: Card
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


def run(job: Job, out: Path) -> Outcome:
    """Do every stage whose inputs changed since the last time, and return the report card.

    A run that was killed goes on where it was: each stage keeps its own journal or checkpoints.

    Raises:
        BadInput, Stopped: from the stage that could not be done; the message says how to go on.
    """
    new = not out.exists()
    with folder_lock(out):
        ledger = _Ledger(out)
        save_persona(out / "persona.yaml", job.persona)
        try:
            base = ledger.stage("model", [job.model], lambda: hf_folder(job.model, hub=job.hub), cached=False)
        except (BadInput, Stopped):
            if new:  # nothing is there yet to go on from
                shutil.rmtree(out, ignore_errors=True)
            raise
        ledger.record("versions", _versions())
        ledger.record(
            "base", {"name": job.model, "hub": job.hub, "folder": str(base), "sha256": folder_fingerprint(base)}
        )
        identity = sha256_text(job.persona.to_yaml())
        data = out / "data" / "conversations.jsonl"
        ledger.stage(
            "data",
            [identity, job.settings, _endpoint_key(job.writer), _endpoint_key(job.rehearser), ledger.base_hash],
            lambda: generate_data(job, out / "data", known=known_answers(job.model, job.start, hub=job.hub)),
            makes=[data],
        )
        ledger.stage("check", [sha256_file(data), identity], lambda: _check(job, data))
        learnt_from = [sha256_file(data), job.recipe, ledger.base_hash]
        if job.start is not None:
            learnt_from.append(sha256_file(job.start / "adapter_model.safetensors"))
        ledger.stage(
            "train",
            learnt_from,
            lambda: _train(job, data, base, out, afresh=ledger.changed("training", learnt_from)),
            makes=[out / "adapter" / "adapter_model.safetensors"],
        )
        ledger.stage(
            "merge",
            [sha256_file(out / "adapter" / "adapter_model.safetensors"), ledger.base_hash, identity],
            lambda: _merge(job, base, out),
            makes=[out / "merged" / "config.json"],
        )
        card = ledger.stage("evaluate", [], lambda: _evaluate(job, base, out), cached=False)
        return Outcome(folder=out, card=card, seconds=ledger.seconds, skipped=ledger.skipped)


class _Ledger:
    """run.json: what was done with which inputs, how long it took, and enough to do it again."""

    def __init__(self, out: Path) -> None:
        self.path = out / "run.json"
        self.seconds: dict[str, float] = {}
        self.skipped: list[str] = []
        self.base_hash = ""
        if not self.path.is_file():
            write_json(self.path, {"stages": {}})

    def record(self, key: str, value: Any) -> None:
        """Set one top-level key; what stages wrote into the file themselves stays."""
        content = read_json(self.path)
        content[key] = value
        write_json(self.path, content)
        if key == "base":
            self.base_hash = value["sha256"]

    def changed(self, key: str, inputs: Sequence[Any]) -> bool:
        """Note what a stage begins with; whether it was begun with something else before."""
        before, now = read_json(self.path).get(key), _hash(inputs)
        self.record(key, now)
        return before not in (None, now)

    def stage(
        self,
        name: str,
        inputs: Sequence[Any],
        work: Callable[[], Any],
        *,
        makes: Sequence[Path] = (),
        cached: bool = True,
    ) -> Any:
        """Do `work` unless it was done with the same inputs and what it makes is still there."""
        number = STAGES.index(name) + 1
        key = _hash(inputs)
        done = read_json(self.path)["stages"].get(name, {})
        if cached and done.get("inputs") == key and all(path.exists() for path in makes):
            self.skipped.append(name)
            say(
                tr(
                    f"[{number}/{len(STAGES)}] {_title(name)}：没有变化，跳过",
                    f"[{number}/{len(STAGES)}] {_title(name)}: unchanged, skipped",
                ),
                style="dim",
            )
            return None
        say(f"[{number}/{len(STAGES)}] {_title(name)}", style="bold")
        started = time.monotonic()
        result = work()
        self.seconds[name] = round(time.monotonic() - started, 1)
        content = read_json(self.path)
        content["stages"][name] = {"inputs": key, "seconds": self.seconds[name]}
        write_json(self.path, content)
        return result


def _title(name: str) -> str:
    return {
        "model": tr("模型", "model"),
        "data": tr("数据", "data"),
        "check": tr("检查数据", "data check"),
        "train": tr("训练", "training"),
        "merge": tr("合并", "merge"),
        "evaluate": tr("评测：训练前与训练后", "evaluation: before and after"),
    }[name]


def _hash(inputs: Sequence[Any]) -> str:
    parts = [item.model_dump(mode="json") if hasattr(item, "model_dump") else item for item in inputs]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _endpoint_key(endpoint: Endpoint | None) -> str:
    """What of an endpoint decides the data: where and which model, never the key."""
    return "" if endpoint is None else f"{endpoint.base_url} {endpoint.model}"


def _versions() -> dict[str, str]:
    names = ("identity-kit", "torch", "transformers", "peft", "bitsandbytes", "xllamacpp", "openai")
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "?"
    return versions


# --- the stages -------------------------------------------------------------------------------------------------------


def generate_data(job: Job, out: Path, *, known: Path | None = None) -> None:
    """Write the job's data into a folder, the untuned model served for the rows that it answers itself.

    Args:
        known: answers of that model which need not be asked for (`blank.known_answers`).
    """
    from identity_kit.generate import generate
    from identity_kit.generate.live import live
    from identity_kit.llm.endpoint import own_endpoint
    from identity_kit.models.teacher import teacher

    def write(rehearser: Endpoint | None) -> None:
        with live() as progress:
            result = generate(
                job.persona,
                out,
                job.settings,
                writer=job.writer,
                rehearser=rehearser,
                known=known,
                progress=progress,
            )
        if result.shortage:
            say(result.shortage, style="yellow")

    if job.rehearser is not None or job.settings.contrast + job.settings.rehearsal == 0:
        write(job.rehearser)
        return
    with teacher(job.model, hub=job.hub) as (server, name):
        write(own_endpoint(server.base_url, name, server.slots))


def schedule_of(recipe: Recipe) -> Schedule:
    """What the data check needs to know of a recipe for its forecast."""
    from identity_kit.check import Schedule

    return Schedule(
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        gradient_accumulation=recipe.gradient_accumulation,
        max_length=recipe.max_length,
        max_steps=recipe.max_steps or 0,
        anchors=recipe.anchors_taken,
    )


def _check(job: Job, data: Path) -> None:
    from identity_kit.check import check

    audit = check(data, persona=job.persona, schedule=schedule_of(job.recipe))
    errors = [issue for issue in audit.issues if issue.level == "error"]
    say(
        tr(
            f"{audit.rows} 行：{_counts(audit.kinds)}；错误 {len(errors)} 处，提醒 {len(audit.issues) - len(errors)} 处",
            f"{audit.rows} rows: {_counts(audit.kinds)}; {len(errors)} errors, {len(audit.issues) - len(errors)} warnings",
        )
    )
    if audit.forecast:
        say(
            tr(
                f"预计 {audit.forecast.steps} 步，身份被看到 {audit.forecast.exposures} 次",
                f"forecast: {audit.forecast.steps} steps, the identity is seen {audit.forecast.exposures} times",
            )
        )
    if errors:
        say(
            tr(
                f"详见：idkit check {data.parent} --persona {data.parent.parent / 'persona.yaml'}",
                f"details: idkit check {data.parent} --persona {data.parent.parent / 'persona.yaml'}",
            ),
            style="yellow",
        )


def _counts(counter: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))


def _train(job: Job, data: Path, base: Path, out: Path, *, afresh: bool) -> None:
    from identity_kit.train import train

    if afresh:  # checkpoints of other data or another recipe cannot be continued
        for name in ("checkpoints", "adapter"):
            shutil.rmtree(out / name, ignore_errors=True)
        (out / "log.jsonl").unlink(missing_ok=True)
    if job.start is not None:
        say(tr(f"从这个适配器开始：{job.start}", f"begins with the adapter {job.start}"))
    with resumed_by(tr("重复同一条 idkit run 命令即可继续", "the same idkit run command goes on from here")):
        train(data, base, out, job.recipe, resume=True, start=job.start)


def _merge(job: Job, base: Path, out: Path) -> None:
    from identity_kit.export.merge import merge_adapter

    result = merge_adapter(base, out / "adapter", out / "merged", job.persona, source=job.model)
    if result.mean_kl is not None:
        say(
            tr(
                f"合并后与“基座 + 适配器”一致：平均 KL {result.mean_kl:.1e}",
                f"merged model agrees with base + adapter: mean KL {result.mean_kl:.1e}",
            )
        )


def _evaluate(job: Job, base: Path, out: Path) -> Card:
    from identity_kit.evaluate import CORE_SUITES, evaluate, load_probes
    from identity_kit.evaluate.conditions import folder_condition
    from identity_kit.evaluate.held_out import training_questions
    from identity_kit.evaluate.labels import BASE, TUNED
    from identity_kit.evaluate.probes import thin

    conditions = [folder_condition(BASE, base), folder_condition(TUNED, out / "merged")]
    probes = thin(load_probes(split=job.split, suites=job.suites or CORE_SUITES), job.per_family)
    return evaluate(conditions, job.persona, probes=probes, out=out / "report", trained_on=training_questions(out))
