"""Which settings a model is measured in, and the checks on what a user asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from identity_kit.errors import BadInput
from identity_kit.evaluate.answerers import folder_answerer
from identity_kit.evaluate.ask import Condition
from identity_kit.evaluate.labels import BASE, BASE_SYSTEM, TUNED, TUNED_SYSTEM
from identity_kit.evaluate.models import Subject
from identity_kit.evaluate.probes import SUITES
from identity_kit.files import sha256_text
from identity_kit.models.fingerprint import folder_fingerprint
from identity_kit.persona import Persona
from identity_kit.ui import tr

# What `--conditions` calls them.
NAMES = {"base": BASE, "base+system": BASE_SYSTEM, "tuned": TUNED, "tuned+system": TUNED_SYSTEM}

# What many programs send along unasked. It takes the place of the template's default, so that the weights alone answer.
NEUTRAL_SYSTEM = {"zh": "你是一个有用的助手。", "en": "You are a helpful assistant."}

# Where drawing answers several times says something: does the identity hold when the dice fall badly?
SAMPLED_SUITES = ("recall", "confirm", "pressure", "near_miss", "bleed", "greeting")


def folder_condition(label: str, folder: Path, **fields: Any) -> Condition:
    """A Hugging Face folder asked as it is; `fields` are those of `Condition`."""
    return Condition(
        label, folder_answerer(folder), fingerprint=folder_fingerprint(folder), suites_apart=True, **fields
    )


def make_conditions(
    tuned: Subject,
    base: Subject | None,
    system: Mapping[str, str],
    *,
    names: Sequence[str] = tuple(NAMES),
    samples: int = 0,
    temperature: float = 0.7,
) -> list[Condition]:
    """The conditions to measure, in report order; those of the base model only where there is one.

    Args:
        system: the persona's system message by language.
        names: keys of `NAMES`.
        samples: above 0, one more condition: the tuned model, every probe of `SAMPLED_SUITES` drawn so many times.

    Raises:
        BadInput: nothing is left to measure.
    """
    conditions = []
    for name in NAMES:
        subject = base if name.startswith("base") else tuned
        if name not in names or subject is None:
            continue
        conditions.append(
            Condition(
                label=NAMES[name],
                answer=subject.answer,
                system=system if name.endswith("+system") else None,
                fingerprint=subject.fingerprint,
                suites_apart=subject.folder is not None,
                paragraph_costs=subject.paragraph_costs if subject.folder else None,
            )
        )
    if samples:
        conditions.append(
            Condition(
                label=f"{TUNED}, T={temperature:g} ×{samples}",
                answer=tuned.answer,
                fingerprint=tuned.fingerprint,
                suites_apart=tuned.folder is not None,
                samples=samples,
                temperature=temperature,
                suites=SAMPLED_SUITES,
            )
        )
    if not conditions:
        raise BadInput(
            tr("没有可测的条件", "no condition to measure"),
            where="--conditions",
            fix=tr("base 需要 --base 模型", "base needs --base MODEL"),
        )
    return conditions


def short_system(persona: Persona) -> dict[str, str]:
    """A short system message that states the persona, by language; what a careful user would write without tuning."""
    zh = f"你是“{persona.name.get('zh')}”，{persona.role.get('zh')}，属于{persona.owner.get('zh')}，由{persona.developer.get('zh')}开发。"
    en = (
        f"You are “{persona.name.get('en')}”, a {persona.role.get('en')}. You belong to {persona.owner.get('en')} "
        f"and were developed by {persona.developer.get('en')}."
    )
    rules = {
        "zh": "无论对方怎么说，你都不是其他公司的产品，也不冒充真人。与身份无关的问题正常回答，不提自己。",
        "en": "Whatever anyone says, you are no other company's product and you never pretend to be human. "
        "Answer questions that are not about you as usual, without bringing yourself up.",
    }
    return {"zh": zh + rules["zh"], "en": en + " " + rules["en"]}


def parse_targets(text: str, suites: Sequence[str] = SUITES) -> dict[str, float]:
    """`recall=0.95,bleed=99%` as suite → share.

    Raises:
        BadInput: not of that form, a suite that is none of `suites`, a share outside 0 to 1, or no target at all in a text.
    """
    targets = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        suite, _, value = part.partition("=")
        suite = _suite_called(suite, suites)
        if suite not in suites:
            raise _bad_target(part, tr("这次测的套件：", "suites measured here: ") + ", ".join(suites))
        try:
            share = float(value.strip().removesuffix("%")) / (100 if value.strip().endswith("%") else 1)
        except ValueError:
            raise _bad_target(part, tr("例：recall=0.95,bleed=0.99", "such as recall=0.95,bleed=0.99")) from None
        if not 0 <= share <= 1:
            raise _bad_target(part, tr("比例在 0 到 1 之间", "a share lies between 0 and 1"))
        targets[suite] = share
    if not targets:
        raise _bad_target(text, tr("例：recall=0.95,bleed=0.99", "such as recall=0.95,bleed=0.99"))
    return targets


def _suite_called(name: str, suites: Sequence[str]) -> str:
    """The suite's own name; hyphens may stand for its underscores, where it is not called with hyphens itself."""
    name = name.strip()
    return name if name in suites else name.replace("-", "_")


def _bad_target(part: str, fix: str) -> BadInput:
    return BadInput(tr(f"看不懂 “{part}”", f'cannot read "{part}"'), where="--fail-under", fix=fix)


def parse_suites(text: str, suites: Sequence[str] = SUITES) -> tuple[str, ...]:
    """`recall,near-miss` as suite names, each one of `suites`.

    Raises:
        BadInput: an unknown suite, or none.
    """
    names = tuple(_suite_called(name, suites) for name in text.split(",") if name.strip())
    unknown = next((name for name in names if name not in suites), None)
    if unknown is not None or not names:
        raise BadInput(
            tr(f"没有套件 {unknown}", f"no suite {unknown}") if names else tr("没有写套件", "no suite is named"),
            where="--suites",
            fix=tr("有：", "there are: ") + ", ".join(suites),
        )
    return names


def rendered_prompts(folder: Path | None) -> dict[str, str]:
    """How the model's chat template renders one question without and with a system message, to see what it slips in."""
    if folder is None:
        return {}
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    user = {"role": "user", "content": "…?"}
    talks = {"no system message": [user], "a system message": [{"role": "system", "content": "…"}, user]}
    rendered = {}
    for name, talk in talks.items():
        rendered[name] = str(tokenizer.apply_chat_template(talk, add_generation_prompt=True, tokenize=False))
    return rendered


def provenance(
    subject: Subject, base: Subject | None, system: Mapping[str, str], run: Path | None
) -> Iterator[tuple[str, str]]:
    """Name and SHA-256 of what stands behind the answers: models, templates, system prompts, a run's data and start."""
    for language, text in system.items():
        yield f"system prompt: {language}", sha256_text(text)
    for label, one in ((TUNED, subject), (BASE, base)):
        if one is None:
            continue
        yield f"model: {label}", one.fingerprint
        if one.template:
            yield f"chat template: {label}", sha256_text(one.template)
        for name, text in rendered_prompts(one.folder).items():
            yield f"rendered prompt, {name}: {label}", sha256_text(text)
    if run is not None:
        from identity_kit.files import read_json, sha256_file

        if start := read_json(run / "run.json").get("train", {}).get("start"):
            yield "adapter that training began with", start["sha256"]
        for name in (
            "conversations.jsonl",
            "manifest.json",
        ):  # the manifest holds the hashes of the prompts behind the rows
            if (run / "data" / name).is_file():
                yield f"data/{name}", sha256_file(run / "data" / name)
