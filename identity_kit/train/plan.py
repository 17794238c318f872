"""What a run will take, before it starts: rows, steps, memory by part against what the machine has, and the way out if
it does not fit."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from identity_kit.errors import BadInput
from identity_kit.text import width
from identity_kit.train.anchors import ANCHOR_TOKENS
from identity_kit.train.batches import Step, plan_steps
from identity_kit.train.data import TrainingData, typical_tokens
from identity_kit.train.fast import FAMILIES, gates_kept, in_eight, keeps_transposed, labels_held, tokens_held
from identity_kit.train.memory import room_left
from identity_kit.train.model import Setting, settle
from identity_kit.train.recipe import Recipe
from identity_kit.ui import tr

_STATE_BYTES = {"adamw": 8, "paged_adamw32bit": 8, "adafactor": 4, "sgd": 4, "lion8bit": 1, "paged_lion8bit": 1}
_RUNTIME = {"cpu": 0.6e9, "cuda": 0.2e9}  # libraries and tokenizer; of a GPU, workspaces and holes
_ATTENTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True)
class Shape:
    """A model's sizes: weights in adaptable linears and elsewhere, and what activations depend on."""

    linear: int
    other: int
    adapter_rows: int  # in + out widths of all adaptable linears: × rank = LoRA's weights
    layers: int
    hidden: int
    inner: int
    qkv: int
    heads: int
    vocabulary: int
    feed_forward: int  # weights of the gate, up and down projections
    family: str

    @property
    def weights(self) -> int:
        """All weights."""
        return self.linear + self.other


@dataclass(frozen=True)
class Plan:
    """What a run will take. `memory` is bytes by part; `available` what the device has free now."""

    rows: int
    anchors: int
    tokens: int
    learnt: int
    steps: int
    exposures: float
    systems: dict[str, int]
    cut: int
    dropped: int
    weights: int
    trained: int
    memory: dict[str, int]
    available: int
    device: str
    dtype: str
    eight: bool
    method: str
    seconds: float | None = None

    @property
    def total(self) -> int:
        """Bytes in all, at the peak."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Whether the peak stays within what is free."""
        return self.total <= self.available


def read_shape(folder: Path) -> Shape:
    """The sizes of the model in a Hugging Face folder; no weight is read.

    Raises:
        BadInput: the folder's configuration is of no causal language model that transformers knows.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(folder)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInput(tr(f"读不了模型：{reason}", f"cannot load the model: {reason}"), where=str(folder)) from error
    head = model.get_output_embeddings()
    linears = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head}
    linear = sum(m.weight.numel() for m in linears.values())
    total = sum(p.numel() for p in model.parameters())
    layers = int(getattr(config, "num_hidden_layers", 1))
    qkv = sum(m.out_features for n, m in linears.items() if n.rsplit(".", 1)[-1] in _ATTENTIONS[:3])
    return Shape(
        linear=linear,
        other=total - linear,
        adapter_rows=sum(m.in_features + m.out_features for m in linears.values()),
        layers=layers,
        hidden=int(config.hidden_size),
        inner=int(getattr(config, "intermediate_size", 4 * config.hidden_size)),
        qkv=qkv // layers or 3 * int(config.hidden_size),
        heads=int(getattr(config, "num_attention_heads", 1)),
        vocabulary=int(config.vocab_size),
        feed_forward=sum(
            m.weight.numel() for n, m in linears.items() if n.endswith(("gate_proj", "up_proj", "down_proj"))
        ),
        family=str(config.model_type),
    )


def estimate(
    shape: Shape,
    setting: Setting,
    tokens: int,
    longest: int,
    *,
    transposed: bool = False,
    processes: int = 1,
    gates: float = 1.0,
) -> dict[str, int]:
    """Peak bytes by part: weights, adapter, optimiser, activations, logits, runtime.

    Args:
        tokens: tokens whose activations are held at once (padding included where the engine pads).
        longest: tokens of the longest row.
        transposed: whether the fast engine keeps the feed-forward weights a second time, transposed.
        processes: how many train together; the bytes are those of one of them.
        gates: the share of the layers that keep their gates on a GPU, where the fast engine may make them again.
    """
    recipe, cpu = setting.recipe, setting.device.type == "cpu"
    size = 4 if setting.dtype is torch.float32 else 2
    fast = _is_fast(shape, recipe)
    per_linear = float(size)
    if recipe.method == "qlora":
        # nf4: half a byte, and a scale for each 64 weights, 32-bit or (double quantisation) 8-bit; int8: a byte.
        per_linear = 1.03 if recipe.quantization == "int8" else 0.5 + (0.0165 if recipe.double_quant else 0.0625)
        if cpu and fast:
            per_linear += size  # a CPU keeps them unpacked as well
    weights: float = shape.linear * per_linear + shape.other * size
    if transposed and fast and recipe.method == "lora":
        weights += shape.feed_forward * size
    if fast and in_eight(recipe, setting.device):
        weights += shape.vocabulary * shape.hidden  # the head once more
    trained = _trained(shape, recipe)
    adapter = trained * (2 * size + (2 * size if fast else 0)) if recipe.method != "full" else trained * size
    master = 0 if size == 4 else 4  # the 32-bit copy
    optimiser = trained * (master + _STATE_BYTES.get(recipe.optimizer, 2))
    d, inner = shape.hidden, shape.inner
    kept = 5 * d + 2 * shape.qkv + 3 * inner + min(longest, 640) * shape.heads * (2 if cpu else 0)
    if fast:
        kept -= 2 * d + inner  # made again in the backward pass
    else:
        kept = 2 * kept + (4 * d + 2 * inner) * (2 if recipe.is_lora else 1)
    layers = (_adapted_layers(shape, recipe) if recipe.is_lora else shape.layers) * kept
    if recipe.gradient_checkpointing:
        layers = shape.layers * d + 2 * kept
    held = tokens * layers
    if fast and not recipe.gradient_checkpointing:
        share = gates_kept(tokens) if cpu else gates
        held -= int((1 - share) * tokens * _adapted_layers(shape, recipe) * 2 * inner)
    # On a CPU logits become probabilities in place; an anchor needs the base model's too.
    tables = (1 if cpu else 2) + bool(recipe.anchors_taken)
    logits = tables * min(tokens, labels_held(setting.device)) * shape.vocabulary * size
    if not fast:
        logits = min(tokens * shape.vocabulary * (size + 8), 3 * 64 * 2**20)
        if recipe.anchors_taken:
            logits = max(logits, 3 * ANCHOR_TOKENS * shape.vocabulary * 4)
    if fast and not cpu:  # what one layer's backward pass takes, where that is more than the logits take
        unpacked = inner * d if recipe.method == "qlora" else 0
        held += max(0, tokens * 8 * inner + unpacked - logits // size)
    gradient = trained * master  # in 32 bits, for the update, which comes when activations are gone
    if recipe.parallel != "replicate" and processes > 1:
        # A part of everything, and whole for their turn: what lies outside the layers, and two layers.
        weights = weights / processes + (shape.other + 2 * shape.linear / shape.layers) * size
        adapter, optimiser, gradient = (part // processes for part in (adapter, optimiser, gradient))
        logits = tokens * shape.vocabulary * (size + 8)
    parts = {
        "weights": weights,
        "adapter": adapter,
        "optimiser": optimiser,
        "activations": max(held * size, gradient),
        "logits": logits,
        "runtime": _RUNTIME.get(setting.device.type, 0.6e9),
    }
    return {name: int(value) for name, value in parts.items()}


def _is_fast(shape: Shape, recipe: Recipe) -> bool:
    plain = recipe.engine == "plain" or recipe.parallel != "replicate" or recipe.stage == "dpo" or not recipe.is_lora
    return not plain and shape.family in FAMILIES and not (recipe.dora or recipe.dropout or recipe.neftune_alpha)


def _adapted_layers(shape: Shape, recipe: Recipe) -> int:
    return min(recipe.last_layers or shape.layers, shape.layers)


def _trained(shape: Shape, recipe: Recipe) -> int:
    if recipe.method == "full":
        return shape.weights
    if recipe.method == "prompt":
        return recipe.virtual_tokens * shape.hidden
    if recipe.method == "prefix":
        return recipe.virtual_tokens * shape.layers * 2 * shape.hidden
    return shape.adapter_rows * recipe.rank * _adapted_layers(shape, recipe) // shape.layers


def free_memory(device: torch.device) -> int:
    """Bytes that the device has free: of a GPU, or of the system and of the container that this process is in."""
    import psutil

    room = room_left(device)
    if room is not None:
        return room
    free = int(psutil.virtual_memory().available)
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    with contextlib.suppress(OSError, ValueError):  # no container, or none with a limit
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return free


def make_plan(rows: TrainingData, model: Path, setting: Setting, *, processes: int = 1) -> Plan:
    """The plan of a run. No weight is read and nothing is written."""
    recipe = setting.recipe
    lengths = [len(row) for row in rows.rows]
    steps = plan_steps(lengths, recipe, processes=processes)
    shape = read_shape(model)
    tokens, longest = _in_flight(steps, rows, shape, setting)
    transposed = keeps_transposed(setting.device, setting.dtype, recipe, typical_tokens(rows, recipe))
    memory = estimate(shape, setting, tokens, longest, transposed=transposed, processes=processes)
    available = free_memory(setting.device)
    if setting.device.type == "cuda" and _is_fast(shape, recipe) and sum(memory.values()) > available:
        # It takes the rows of a step in parts and keeps fewer gates, until it fits: at the least, one row and no gates.
        least = estimate(shape, setting, longest, longest, processes=processes, gates=0.0)
        spare = int(0.95 * available) - sum(least.values())
        memory = {**least, "activations": least["activations"] + max(0, spare)}
    seen = sum(len(batch) for step in steps for batch in step)
    return Plan(
        rows=len(rows.rows) - rows.anchors,
        anchors=rows.anchors,
        tokens=rows.tokens,
        learnt=rows.learnt,
        steps=len(steps),
        exposures=seen / len(rows.rows),
        systems=rows.systems,
        cut=rows.cut,
        dropped=rows.dropped,
        weights=shape.weights,
        trained=_trained(shape, recipe),
        memory=memory,
        available=available,
        device=setting.device.type,
        dtype=str(setting.dtype).removeprefix("torch."),
        eight=_is_fast(shape, recipe) and in_eight(recipe, setting.device),
        method=recipe.method,
    )


def _in_flight(steps: list[Step], rows: TrainingData, shape: Shape, setting: Setting) -> tuple[int, int]:
    """The most tokens whose activations are held at once, and the longest row."""
    longest = max(len(row) for row in (*rows.rows, *rows.rejected))
    sides = 2 if rows.rejected else 1
    if not _is_fast(shape, setting.recipe):
        padded = (len(batch) * max((len(rows.rows[i]) for i in batch), default=0) for step in steps for batch in step)
        return sides * max(padded), longest
    largest = max(sum(len(rows.rows[i]) for i in batch) for step in steps for batch in step)
    return max(min(largest, tokens_held(setting.device)), longest), longest


def check_fits(
    plan: Plan, rows: TrainingData, model: Path, recipe: Recipe, device: torch.device, *, processes: int = 1
) -> None:
    """Refuse a run that does not fit, naming the nearest setting that does.

    Raises:
        BadInput: the estimate is above what is free.
    """
    if plan.fits:
        return
    fix = tr("换更小的模型，或内存更大的机器", "use a smaller model or a machine with more memory")
    for change in _leaner(recipe, device):
        leaner = make_plan(rows, model, settle(recipe.model_copy(update=change), device), processes=processes)
        if leaner.fits:
            fix = " ".join(f"--set {key}={str(value).lower()}" for key, value in change.items())
            fix += tr(f" 只需 {_gb(leaner.total)}", f" takes {_gb(leaner.total)}")
            break
    raise BadInput(
        tr(
            f"内存不够：估计需要 {_gb(plan.total)}，可用 {_gb(plan.available)}",
            f"not enough memory: about {_gb(plan.total)} needed, {_gb(plan.available)} free",
        ),
        fix=fix,
    )


def _leaner(recipe: Recipe, device: torch.device) -> list[dict[str, Any]]:
    """Changes that save memory, the mildest first."""
    changes: list[dict[str, Any]] = [{"gradient_checkpointing": True}]
    batch = recipe.batch_size
    while batch > 1:
        batch //= 2
        share = recipe.gradient_accumulation * max(1, recipe.batch_size // batch)
        changes.append({"gradient_checkpointing": True, "batch_size": batch, "gradient_accumulation": share})
    if recipe.method in ("full", "lora") and device.type == "cuda":
        changes = [*changes[:1], {"method": "qlora"}, {"method": "qlora", **changes[-1]}]
    elif recipe.method == "full":
        changes += [{"method": "lora"}, {"method": "lora", **changes[-1]}]
    last = changes[-1]
    changes += [{**last, "max_length": n} for n in (512, 256) if n < recipe.max_length]
    return changes


def describe(plan: Plan) -> list[tuple[str, str]]:
    """The plan as (what, how much) lines for a person."""
    names = {
        "weights": tr("权重", "weights"),
        "adapter": tr("适配器", "adapter"),
        "optimiser": tr("优化器", "optimiser"),
        "activations": tr("激活", "activations"),
        "logits": "logits",
        "runtime": tr("运行库", "libraries"),
    }
    lines = [
        (tr("数据", "data"), _data_words(plan)),
        (
            tr("步数", "steps"),
            tr(
                f"{plan.steps} 步，每行见 {plan.exposures:.3g} 次",
                f"{plan.steps}, each row seen {plan.exposures:.3g} times",
            ),
        ),
        (
            tr("方法", "method"),
            f"{plan.method}, {plan.dtype}{tr('（8 位乘积）', ' (8-bit products)') if plan.eight else ''}, {plan.device}; "
            + tr("训练 ", "trains ")
            + f"{plan.trained / 1e6:.1f} M / {plan.weights / 1e6:.0f} M ({plan.trained / plan.weights:.2%})",
        ),
        (
            tr("内存", "memory"),
            f"{_gb(plan.total)} / {_gb(plan.available)} {tr('可用', 'free')}: "
            + ", ".join(f"{names[name]} {_gb(size)}" for name, size in plan.memory.items()),
        ),
    ]
    if plan.seconds is not None:
        minutes, seconds = divmod(round(plan.seconds), 60)
        lines.append((tr("时间", "time"), tr(f"约 {minutes} 分 {seconds} 秒", f"about {minutes} min {seconds} s")))
    column = max(width(name) for name, _ in lines)
    return [(name + " " * (column - width(name)), words) for name, words in lines]


def _data_words(plan: Plan) -> str:
    systems = ", ".join(f"{kind} {count}" for kind, count in sorted(plan.systems.items()))
    words = tr(
        f"{plan.rows} 行{f'、{plan.anchors} 段锚文本' if plan.anchors else ''}，{plan.tokens} 词元，其中 {plan.learnt} 个要学；系统提示：{systems}",
        f"{plan.rows} rows, {f'{plan.anchors} anchors, ' if plan.anchors else ''}{plan.tokens} tokens, {plan.learnt} of them learnt; system messages: {systems}",
    )
    if plan.cut or plan.dropped:
        words += tr(f"；截短 {plan.cut} 行，舍弃 {plan.dropped} 行", f"; {plan.cut} rows cut, {plan.dropped} dropped")
    return words


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 0.95e8 else f"{size / 1e6:.0f} MB"
