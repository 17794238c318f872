"""Recipe: how to train. A commented YAML file plus `--set key=value`, checked as a whole before anything is loaded."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from identity_kit.errors import BadInput
from identity_kit.resources import resource
from identity_kit.ui import tr

DEFAULT_RECIPE = "cpu-0.5b"


class Recipe(BaseModel):
    """Every knob of training. Frozen; unknown keys are an error.

    Rates are per optimiser step; lengths are in tokens; `batch_size` is rows a micro-batch and process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    # What is learnt, and which weights learn it.
    stage: Literal["sft", "dpo", "pretrain"] = "sft"
    method: Literal["lora", "qlora", "full", "prompt", "prefix"] = "lora"
    rank: int = Field(16, ge=1, le=1024)
    alpha: float = Field(32, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: str | tuple[str, ...] = "all-linear"
    last_layers: int | None = Field(None, ge=1)
    rslora: bool = False
    dora: bool = False
    init: str = Field("default", pattern=r"^(default|gaussian|pissa|pissa_niter_[0-9]+)$")
    loraplus_ratio: float = Field(1.0, ge=1)
    neftune_alpha: float = Field(0.0, ge=0)
    virtual_tokens: int = Field(20, ge=1, le=512)

    # How the base model is held.
    quantization: Literal["nf4", "fp4", "int8"] = "nf4"
    double_quant: bool = True
    quantize_on_cpu: bool = False
    dtype: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    gradient_checkpointing: bool = False
    int8_products: bool = False
    engine: Literal["auto", "fast", "plain"] = "auto"

    # How long, how much at once.
    epochs: float = Field(2.0, gt=0)
    max_steps: int | None = Field(None, ge=1)
    batch_size: int = Field(8, ge=1)
    batch_tokens: int | None = Field(None, ge=16)
    gradient_accumulation: int = Field(1, ge=1)
    max_length: int = Field(1024, ge=8)
    overlong: Literal["cut", "drop"] = "cut"
    group_by_length: bool = True

    # The optimiser.
    optimizer: Literal[
        "adamw", "adamw8bit", "paged_adamw32bit", "paged_adamw8bit", "lion8bit", "paged_lion8bit", "adafactor", "sgd"
    ] = "adamw"
    learning_rate: float = Field(2e-4, gt=0)
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = Field(1e-8, gt=0)
    max_grad_norm: float = Field(1.0, ge=0)
    margin: float | None = Field(None, gt=0)
    anchors: int = Field(0, ge=0)
    question_share: float = Field(0.0, ge=0, le=1)

    # Which system message rows without one are trained with.
    default_system: Literal["template", "none", "mixed"] = "mixed"
    chat_template: Literal["model", "chatml"] = "model"

    # Preference pairs.
    dpo_beta: float = Field(0.1, gt=0)
    dpo_sft_weight: float = Field(0.0, ge=0)

    # The run.
    seed: int = Field(42, ge=0)
    threads: int | None = Field(None, ge=1)
    log_every: int = Field(10, ge=1)
    save_every: int = Field(50, ge=1)
    keep_checkpoints: int = Field(2, ge=1)
    probe_every: int = Field(0, ge=0)
    parallel: Literal["replicate", "fsdp", "deepspeed"] = "replicate"

    @model_validator(mode="after")
    def _together(self) -> Recipe:
        problems = []
        if self.dora and self.method not in ("lora", "qlora"):
            problems.append(tr("dora 只能与 lora 或 qlora 同用", "dora goes with method lora or qlora only"))
        if self.last_layers and not self.is_lora:
            problems.append(
                tr(
                    "last_layers 只用于 LoRA（--set last_layers=null）",
                    "last_layers is for LoRA only (--set last_layers=null)",
                )
            )
        if self.init.startswith("pissa") and (self.method != "lora" or self.stage == "dpo"):
            problems.append(
                tr(
                    "init: pissa 会改动底座权重，只用于 method: lora，且不用于 stage: dpo",
                    "init: pissa changes the base weights: it goes with method lora only, and not with stage dpo",
                )
            )
        if self.loraplus_ratio != 1 and self.method not in ("lora", "qlora"):
            problems.append(tr("loraplus_ratio 只用于 LoRA", "loraplus_ratio is for LoRA only"))
        if self.stage == "dpo" and self.method in ("prompt", "prefix", "full"):
            problems.append(tr("stage: dpo 需要 lora 或 qlora", "stage: dpo needs method lora or qlora"))
        if self.parallel != "replicate":
            problems += self._not_shared()
        if self.engine == "fast" and (self.dropout or self.dora or self.neftune_alpha or self.method in _NOT_FAST):
            problems.append(
                tr(
                    "engine: fast 需要 LoRA，且 dropout、neftune_alpha 为 0，dora 关闭",
                    "engine: fast needs LoRA with dropout 0, neftune_alpha 0 and dora off",
                )
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _not_shared(self) -> list[str]:
        """What does not go with weights that processes share."""
        fits = {
            "method: lora | full": self.method in ("lora", "full"),
            "stage: sft | pretrain": self.stage != "dpo",
            "engine: auto | plain": self.engine != "fast",
            "optimizer: adamw": self.optimizer == "adamw"
            or (self.parallel == "fsdp" and self.optimizer != "adafactor"),
            "chat_template: model": self.chat_template == "model",
            "anchors: 0": not self.anchors,
        }
        how = f"parallel: {self.parallel}"
        return [tr(f"{how} 需要 {key}", f"{how} needs {key}") for key, fit in fits.items() if not fit]

    @property
    def going_on(self) -> Recipe:
        """The recipe that the adapter which this one leaves goes on with: PiSSA leaves a plain one of twice the rank."""
        if not self.init.startswith("pissa"):
            return self
        grown = 2 if not self.rslora else 2**0.5  # rsLoRA scales by alpha / sqrt(rank)
        return self.model_copy(update={"init": "default", "rank": 2 * self.rank, "alpha": grown * self.alpha})

    @property
    def strength(self) -> float:
        """What the adapter's update is scaled by."""
        return float(self.alpha / self.rank ** (0.5 if self.rslora else 1))

    @property
    def anchors_taken(self) -> int:
        """`anchors` where the base model is at hand to hold to: LoRA on conversations, its weights as they were; else 0."""
        return self.anchors if self.is_lora and self.stage == "sft" and not self.init.startswith("pissa") else 0

    @property
    def is_lora(self) -> bool:
        """Whether low-rank adapters are what is trained."""
        return self.method in ("lora", "qlora")


_NOT_FAST = ("full", "prompt", "prefix")


def recipe_path(name: str) -> Path:
    """The file of a shipped recipe's name, or of a path.

    Raises:
        BadInput: neither exists; names the nearest shipped one.
    """
    path = Path(name)
    if path.is_file():
        return path
    folder = resource("recipes")
    shipped = folder / f"{name}.yaml"
    if shipped.is_file():
        return shipped
    names = sorted(p.stem for p in folder.glob("*.yaml"))
    near = difflib.get_close_matches(path.stem, names, n=1, cutoff=0.4)
    fix = (
        tr(f"您是指 {near[0]}？", f"did you mean {near[0]}?")
        if near
        else tr(f"可用的有：{'、'.join(names)}", f"there are: {', '.join(names)}")
    )
    raise BadInput(tr(f"没有这个配方 {name}", f"no such recipe: {name}"), fix=fix)


def load_recipe(name: str = DEFAULT_RECIPE, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe from a shipped name or a YAML path, with `key=value` overrides on top.

    Raises:
        BadInput: no such recipe, not YAML (with the line), or keys or values that are wrong: all of them, at once, each
            unknown key with the nearest right one.
    """
    path = recipe_path(name)
    text = path.read_text(encoding="utf-8-sig")
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise BadInput(tr("不是有效的 YAML", "not valid YAML"), where=f"{path}{line}") from None
    if not isinstance(values, dict):
        raise BadInput(tr("应为 键: 值 的 YAML", "expected key: value YAML"), where=str(path))
    places = {key: f"{path}:{_line_of(text, str(key))}" for key in values}
    for override in overrides:
        key, equals, raw = override.partition("=")
        key = key.strip()
        if not equals or not key:
            raise BadInput(
                tr(f"“{override}” 不是 键=值", f'"{override}" is not key=value'),
                where="--set",
                fix=tr("例如 --set rank=32", "for example --set rank=32"),
            )
        try:
            values[key] = yaml.safe_load(raw)
        except yaml.YAMLError:
            values[key] = raw
        places[key] = "--set"
    return _validate(values, places)


def make_recipe(**values: Any) -> Recipe:
    """A recipe from keyword values, the defaults of the keys filling the rest.

    Raises:
        BadInput: wrong keys or values, all of them.
    """
    return _validate(values, {})


def _validate(values: Mapping[str, Any], places: Mapping[str, str]) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems = [_problem(dict(item), places) for item in error.errors(include_url=False)]
    raise BadInput("; ".join(dict.fromkeys(problems)))


def _problem(item: dict[str, Any], places: Mapping[str, str]) -> str:
    key = str(item["loc"][0]) if item["loc"] else ""
    place = f"{places[key]}: " if key in places else ""
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key.lower().replace("-", "_"), _spellings(), n=1, cutoff=0.5)
        hint = ""
        if near:
            right = _spellings()[near[0]]
            hint = tr(f"，您是指 {right}？", f", did you mean {right}?")
        return place + tr(f"未知的键 {key}{hint}", f"unknown key {key}{hint}")
    if item["type"] == "value_error":
        return place + str(item["ctx"]["error"])
    found = item.get("input")
    allowed = item.get("ctx", {}).get("expected")
    if allowed:
        return place + tr(f"{key} 是 {found!r}，应为 {allowed}", f"{key} is {found!r}, expected {allowed}")
    return place + tr(f"{key} 是 {found!r}：{item['msg']}", f"{key} is {found!r}: {item['msg']}")


def _spellings() -> dict[str, str]:
    """Right keys, and the names that other trainers give them."""
    other = {
        "lora_r": "rank",
        "r": "rank",
        "lora_alpha": "alpha",
        "lora_dropout": "dropout",
        "lr": "learning_rate",
        "num_train_epochs": "epochs",
        "per_device_train_batch_size": "batch_size",
        "gradient_accumulation_steps": "gradient_accumulation",
        "accumulative_counts": "gradient_accumulation",
        "lr_scheduler_type": "scheduler",
        "max_seq_length": "max_length",
        "cutoff_len": "max_length",
        "optim": "optimizer",
        "use_dora": "dora",
        "use_rslora": "rslora",
        "lora_target": "target_modules",
    }
    return {**{key: key for key in Recipe.model_fields}, **other}


def _line_of(text: str, key: str) -> int:
    lines = text.splitlines()
    return next((i for i, line in enumerate(lines, 1) if line.split(":")[0].strip() == key), 1)
