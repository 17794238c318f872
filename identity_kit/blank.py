"""`blank`: an adapter that has learnt when a question is about the assistant itself, but not whose assistant it is.

data for a stand-in ─► each row for another invented owner ─► adapter, with which runs begin (`run --start`, `train --start`)
adapters of several passes ─► their mean (`blank --mean`)

Telling such questions from all others takes thousands of rows; a name takes a few hundred. So the first is learnt once for
a model, and every owner after it costs a fraction of the time. What the untuned model answered for it is kept beside the
adapter: most questions that a run needs answered are among them, and need not be asked again.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from identity_kit.conversation import Conversation, read_conversations, write_conversations
from identity_kit.errors import BadInput, resumed_by
from identity_kit.evaluate.held_out import QUESTIONS, training_questions
from identity_kit.files import atomic_open, folder_lock, read_json, sha256_file, write_json, write_text
from identity_kit.llm.journal import share_answers
from identity_kit.models.embedded import EMBEDDED
from identity_kit.models.fingerprint import folder_fingerprint
from identity_kit.models.resolve import Hub, hf_folder
from identity_kit.persona import Persona, make_persona
from identity_kit.resources import resource
from identity_kit.text import TextLanguage
from identity_kit.ui import say, tr

if TYPE_CHECKING:
    from identity_kit.generate.settings import GenerateSettings
    from identity_kit.train.recipe import Recipe

ROWS = 6000  # of a blank's own data
ROWS_FROM_START = 1100  # that a run takes which begins with one
STAND_IN = make_persona(owner="归云阁")  # in no bank, and no part of another word: it can be taken out again
ANSWERS = "base_answers.jsonl"
WEIGHTS = "adapter_model.safetensors"
# How often a row's owner has a Chinese name, by the row's language; how often its assistant has a name of its own.
_CHINESE_OWNER = {"zh": 0.85, "en": 0.4}
_OWN_NAME = 0.25
# What of a recipe decides an adapter's shape and strength: with other values it is not one to begin with.
_SHAPE = ("rank", "alpha", "rslora", "dora", "target_modules", "last_layers", "init")
_SHARED = ("base", "base_sha256", "recipe")  # what blanks that are put together have in common


@dataclass(frozen=True)
class Blank:
    """A blank that was made: its adapter, how many rows it learnt from, and of how many owners they are."""

    adapter: Path
    rows: int
    owners: int


@functools.cache
def _parts() -> dict[str, dict[str, list[str]]]:
    content: dict[str, dict[str, list[str]]] = yaml.safe_load(
        resource("data", "owners.yaml").read_text(encoding="utf-8")
    )
    return content


def invented(language: TextLanguage, chance: random.Random) -> Persona:
    """A persona with an owner, and now and then a name, that is made up; for a row of `language`."""
    parts = _parts()
    of_owner = parts["zh" if chance.random() < _CHINESE_OWNER[language] else "en"]
    owner = chance.choice(of_owner["first"]) + chance.choice(of_owner["second"])
    name = chance.choice(parts[language]["names"]) if chance.random() < _OWN_NAME else None
    return make_persona(owner=owner, name=name)


def for_another(row: Conversation, persona: Persona) -> Conversation:
    """A row about the stand-in, made one about `persona`."""

    def swapped(text: str) -> str:
        for language in ("zh", "en"):  # names before the owner, which stands in them
            text = text.replace(STAND_IN.name.get(language), persona.name.get(language))
        return text.replace(STAND_IN.owner.get("zh"), persona.owner.get("zh"))

    messages = tuple(message.model_copy(update={"content": swapped(message.content)}) for message in row.messages)
    return row.model_copy(update={"messages": messages})


def make_blank(
    model: str,
    out: Path,
    settings: GenerateSettings,
    recipe: Recipe,
    *,
    hub: Hub = "hf",
    seed: int = 0,
    start: Path | None = None,
) -> Blank:
    """Write the data, train, and leave the adapter in OUT/adapter. Killed, the same call goes on.

    Args:
        start: the adapter of a blank to go on from; its answers and its list of questions go over to the new one.

    Raises:
        BadInput, Stopped: from the stage that could not be done; the message says how to go on.
    """
    from identity_kit.pipeline import Job, generate_data
    from identity_kit.train import train

    base = hf_folder(model, hub=hub)
    with folder_lock(out):
        job = Job(persona=STAND_IN, model=model, settings=settings, recipe=recipe, hub=hub)
        known = known_answers(model, start, hub=hub)
        generate_data(job, out / "stand-in", known=known)
        rows, owners = _for_others(read_conversations(out / "stand-in"), seed)
        data = out / "data" / "conversations.jsonl"
        write_conversations(data, rows)
        say(tr(f"{len(rows)} 行，{owners} 个虚构的归属者", f"{len(rows)} rows, {owners} invented owners"))
        with resumed_by(tr("重复同一条 idkit blank 命令即可继续", "the same idkit blank command goes on from here")):
            result = train(data, base, out, recipe, resume=True, start=start)
        if not Path(model).is_dir():  # others begin with it too: the model's name, not where this machine keeps it
            config = result.adapter / "adapter_config.json"
            write_json(config, {**read_json(config), "base_model_name_or_path": model})
        write_json(
            result.adapter / "blank.json",
            {
                "base": model,
                "base_sha256": folder_fingerprint(base),
                "data_sha256": sha256_file(data),
                "start_sha256": sha256_file(start / WEIGHTS) if start else None,
                "rows": len(rows),
                "owners": owners,
                "recipe": recipe.model_dump(mode="json"),
            },
        )
        journal = out / "stand-in" / "journal.jsonl"
        share_answers([known, journal] if known else [journal], result.adapter / ANSWERS)
        _list_questions(result.adapter, {" ".join(text.split()) for text in training_questions(out)})
    return Blank(result.adapter, len(rows), owners)


def mean_blank(folders: Sequence[Path], out: Path) -> Path:
    """The mean of the weights of several blanks, in OUT/adapter: what one learnt from another, or passes in a row.

    What the passes have in common stays, what each of them costs in general language partly cancels out (model soups,
    arXiv:2203.05482; measured in docs/evaluation.md). Their questions and the base model's answers are put together.

    Args:
        folders: blanks, or their adapter folders, of one model and one shape; one given twice counts twice.

    Returns:
        the adapter folder.

    Raises:
        BadInput: they do not go together, or an adapter is in OUT already.
    """
    import torch
    from safetensors.torch import load_file, save

    parts = that_go_together(folders)
    made = [read_json(part / "blank.json") for part in parts]
    adapter = out / "adapter"
    with folder_lock(out):
        if _adapter_in(out):
            raise BadInput(
                tr("这里已有适配器", "an adapter is here already"),
                where=str(out),
                fix=tr("换一个 -o", "choose another -o"),
            )
        tensors = [load_file(part / WEIGHTS) for part in parts]
        mean = {
            name: torch.stack([each[name].float() for each in tensors]).mean(0).to(first.dtype)
            for name, first in tensors[0].items()
        }
        write_json(adapter / "adapter_config.json", read_json(parts[-1] / "adapter_config.json"))
        write_json(
            adapter / "blank.json",
            {
                **{key: made[-1][key] for key in _SHARED},
                "mean_of": [
                    {"sha256": sha256_file(part / WEIGHTS), **{key: its[key] for key in its if key not in _SHARED}}
                    for part, its in zip(parts, made, strict=True)
                ],
            },
        )
        share_answers([part / ANSWERS for part in parts if (part / ANSWERS).is_file()], adapter / ANSWERS)
        _list_questions(adapter, {q for part in parts for q in (part / QUESTIONS).read_text("utf-8").splitlines()})
        with atomic_open(adapter / WEIGHTS, "wb") as stream:  # last: without it the folder is no adapter
            stream.write(save(mean, metadata={"format": "pt"}))
    return adapter


def that_go_together(folders: Sequence[Path]) -> list[Path]:
    """The adapter folders of blanks whose mean can be taken.

    Raises:
        BadInput: fewer than two, no blank, or blanks of another model or shape than the first.
    """
    if len(folders) < 2:
        raise BadInput(tr("至少要两个目录", "at least two folders are needed"), where="--mean")
    parts = [_blank_in(folder) for folder in folders]
    first, *others = (read_json(part / "blank.json") for part in parts)
    for part, made in zip(parts[1:], others, strict=True):
        if made["base_sha256"] != first["base_sha256"] or _shape(made["recipe"]) != _shape(first["recipe"]):
            raise BadInput(
                tr(
                    f"与 {parts[0]} 不是同一个模型、同一种形状的适配器",
                    f"not an adapter of the same model and shape as {parts[0]}",
                ),
                where=str(part),
            )
    return parts


def _blank_in(folder: Path) -> Path:
    adapter = _adapter_in(folder)
    if adapter is None or not all((adapter / name).is_file() for name in ("blank.json", QUESTIONS)):
        raise BadInput(
            tr("这里没有空白适配器", "no blank here"),
            where=str(folder),
            fix=tr("给 idkit blank 做出来的目录", "give a folder that idkit blank made"),
        )
    return adapter


def _adapter_in(folder: Path) -> Path | None:
    """The adapter of a run or blank, or the folder itself where it is one."""
    return next((place for place in (folder / "adapter", folder) if (place / WEIGHTS).is_file()), None)


def _shape(recipe: Mapping[str, Any]) -> list[Any]:
    return [recipe[key] for key in _SHAPE]


def _list_questions(adapter: Path, asked: Iterable[str]) -> None:
    """Write down what was asked: by this an evaluation sees whether its probes were learnt from."""
    write_text(adapter / QUESTIONS, "".join(text + "\n" for text in sorted(asked)))


def _for_others(stand_in: Iterable[Conversation], seed: int) -> tuple[list[Conversation], int]:
    """The rows, each about an owner of its own, and how many different owners there are."""
    rows: list[Conversation] = []
    owners: set[str] = set()
    for number, row in enumerate(stand_in):
        persona = invented("zh" if row.meta.language == "zh" else "en", random.Random(f"{seed}/{number}"))
        rows.append(for_another(row, persona))
        if rows[-1].messages != row.messages:
            owners.add(persona.owner.get("zh"))
    return rows, len(owners)


def find_start(given: str, model: str, recipe: Recipe) -> Path | None:
    """The adapter folder that a run begins with.

    Args:
        given: "none"; a folder (an adapter, a blank or a run); or "auto": the shipped blank of an embedded model, where
            there is one and the recipe trains an adapter of its shape.

    Raises:
        BadInput: the folder holds no adapter.
    """
    if given == "none":
        return None
    if given == "auto":
        return _shipped(model, recipe)
    adapter = _adapter_in(Path(given))
    if adapter is None:
        raise BadInput(
            tr("这里没有适配器", "no adapter here"),
            where=given,
            fix=tr(
                "给 idkit blank 或 idkit run 的目录，或 --start none",
                "give a folder of idkit blank or idkit run, or --start none",
            ),
        )
    return adapter


def known_answers(model: str, start: Path | None = None, *, hub: Hub = "hf") -> Path | None:
    """What the untuned MODEL answered when a blank was made of it: that which a run begins with, or the shipped one.

    Raises:
        BadInput, Stopped: the model cannot be found or fetched.
    """
    for blank in (start, _shipped_for(model)):
        if blank is not None and (blank / ANSWERS).is_file():
            made = read_json(blank / "blank.json")
            if made["base_sha256"] == folder_fingerprint(hf_folder(model, hub=hub)):
                return blank / ANSWERS
    return None


def _shipped(model: str, recipe: Recipe) -> Path | None:
    folder = _shipped_for(model)
    if folder is None:
        return None
    shape = _shape(read_json(folder / "blank.json")["recipe"])
    return folder if recipe.is_lora and _shape(recipe.model_dump(mode="json")) == shape else None


def _shipped_for(model: str) -> Path | None:
    name = model.removeprefix("embedded:")
    if name not in {embedded.name for embedded in EMBEDDED} or Path(model).is_dir():
        return None
    folder = resource("data", "blanks") / name
    return folder if (folder / "blank.json").is_file() else None
