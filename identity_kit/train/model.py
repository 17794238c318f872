"""The model to train: loaded in the type that the machine is fast in, quantised if asked, and given its adapter."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from identity_kit.errors import BadInput, Stopped
from identity_kit.files import os_errors
from identity_kit.models.adapters import quiet_adapters
from identity_kit.models.device import best_device, best_dtype
from identity_kit.models.quantised import note_quantisation
from identity_kit.train.pissa import as_plain_adapter
from identity_kit.train.recipe import Recipe
from identity_kit.train.tokens import CHATML
from identity_kit.ui import tr


@dataclass(frozen=True)
class Setting:
    """What the recipe comes to on this machine: where, in which type, and what had to give way (`remarks`)."""

    device: torch.device
    dtype: torch.dtype
    recipe: Recipe
    remarks: tuple[str, ...]


def settle(recipe: Recipe, device: torch.device | None = None) -> Setting:
    """Fit a recipe to the machine: no GPU turns QLoRA into LoRA, no fast bf16 turns into fp32, each with a remark."""
    device = device or best_device()
    remarks: list[str] = []
    if recipe.method == "qlora" and device.type != "cuda" and not recipe.quantize_on_cpu:
        recipe = recipe.model_copy(update={"method": "lora"})
        remarks.append(tr("没有 CUDA 显卡，QLoRA 改为 LoRA", "no CUDA GPU: QLoRA becomes LoRA"))
    if device.type != "cuda" and recipe.optimizer not in ("adamw", "adafactor", "sgd"):
        remarks.append(
            tr(
                f"没有 CUDA 显卡，优化器 {recipe.optimizer} 改为 adamw",
                f"no CUDA GPU: {recipe.optimizer} becomes adamw",
            )
        )
        recipe = recipe.model_copy(update={"optimizer": "adamw"})
    named = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    fast = best_dtype(device)
    dtype = named.get(recipe.dtype, fast)
    if recipe.dtype == "bf16" and fast is not torch.bfloat16:
        dtype = torch.float32
        remarks.append(tr("这台机器没有快速的 bf16，改用 fp32", "no fast bf16 on this machine: fp32 instead"))
    if dtype is torch.float16:  # half precision needs loss scaling to train in; nothing here is worth that
        dtype = torch.float32
        remarks.append(tr("fp16 训练不稳定，改用 fp32", "fp16 trains unstably: fp32 instead"))
    return Setting(device, dtype, recipe, tuple(remarks))


def load_tokenizer(folder: Path, recipe: Recipe) -> Any:
    """The folder's tokenizer, with ChatML as its chat template if the recipe says so."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from error
    if recipe.chat_template == "chatml":
        tokenizer.chat_template = CHATML
        tokenizer.eos_token = "<|im_end|>"
    return tokenizer


def load_base(folder: Path, setting: Setting) -> Any:
    """The base model on its device, frozen; 4- or 8-bit for QLoRA.

    Raises:
        BadInput: the folder holds no causal language model that transformers reads without remote code.
    """
    from transformers import AutoModelForCausalLM

    recipe = setting.recipe
    options: dict[str, Any] = {"dtype": setting.dtype}
    if recipe.method == "qlora":
        options["quantization_config"] = _quantization(recipe, setting.dtype)
        options["device_map"] = {"": setting.device}
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, **options)
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from error
    if recipe.method != "qlora":
        model = model.to(setting.device)  # type: ignore[arg-type]
    if setting.device.type == "cuda":
        torch.cuda.empty_cache()  # what loading left there
    model.config.use_cache = False
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def _unreadable(folder: Path, error: Exception) -> BadInput:
    reason = str(error).strip().splitlines()[0]
    return BadInput(
        tr(f"读不了模型：{reason}", f"cannot load the model: {reason}"),
        where=str(folder),
        fix=tr("--model 应是 Hugging Face 目录", "--model takes a Hugging Face folder"),
    )


def _quantization(recipe: Recipe, dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    if recipe.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=recipe.quantization,
        bnb_4bit_use_double_quant=recipe.double_quant,
        bnb_4bit_compute_dtype=dtype,
    )


def adapt(model: Any, tokenizer: Any, recipe: Recipe, folder: Path, *, start: Path | None = None) -> Any:
    """The model with what the recipe trains: a peft adapter, or for `full` every weight.

    Args:
        start: a peft adapter folder whose weights the new adapter begins with.

    Raises:
        BadInput: target modules that the model has not, control tokens that it has no embeddings for, or an adapter
            to start with that is of another shape.
    """
    with quiet_adapters():
        import peft

    torch.manual_seed(recipe.seed)
    tokens = _new_control_tokens(model, tokenizer, recipe)
    if recipe.method == "full":
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        return model
    if recipe.is_lora:
        config: Any = peft.LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,  # type: ignore[arg-type]
            lora_dropout=recipe.dropout,
            **_targets(model, recipe),
            use_rslora=recipe.rslora,
            use_dora=recipe.dora,
            init_lora_weights=True if recipe.init != "gaussian" else "gaussian",
            trainable_token_indices=tokens or None,
            task_type="CAUSAL_LM",
        )
    elif recipe.method == "prompt":
        config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=recipe.virtual_tokens)
    else:
        config = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=recipe.virtual_tokens)
    config.base_model_name_or_path = str(folder)
    try:
        with quiet_adapters():
            adapted = peft.get_peft_model(model, config, autocast_adapter_dtype=False)
    except ValueError as error:
        names = sorted({n.rsplit(".", 1)[-1] for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)})
        raise BadInput(
            tr(f"target_modules 不适用于这个模型：{error}", f"target_modules does not fit this model: {error}"),
            fix=tr(f"可选：{'、'.join(names)}", f"it has: {', '.join(names)}"),
        ) from None
    dtype = model.dtype if model.dtype.is_floating_point else torch.float32
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    if start is not None:
        _start_with(adapted, start, recipe)
    return adapted


def _start_with(adapted: Any, start: Path, recipe: Recipe) -> None:
    """Put the weights of an adapter into a new one of the same shape."""
    import peft
    from safetensors.torch import load_file

    try:
        weights = load_file(start / "adapter_model.safetensors")
    except (FileNotFoundError, OSError):
        raise BadInput(tr("没有可接着训练的适配器", "no adapter to go on from"), where=str(start)) from None
    own = peft.get_peft_model_state_dict(adapted)
    fits = own.keys() == weights.keys() and all(own[key].shape == weights[key].shape for key in own)
    fits = fits and math.isclose(_strength(start) or recipe.strength, recipe.strength)
    if recipe.init != "default" or not fits:
        raise BadInput(
            tr("适配器的形状或强度与配方不同", "the adapter's shape or strength is not the recipe's"),
            where=str(start),
            fix=tr(
                "用它训练时的 rank、alpha、target_modules，且 init: default",
                "use the rank, alpha and target_modules it was trained with, and init: default",
            ),
        )
    peft.set_peft_model_state_dict(adapted, weights)


def _strength(adapter: Path) -> float | None:
    """What an adapter's update is scaled by; None where it does not say."""
    try:
        config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
        return float(config["lora_alpha"]) / (config["r"] ** (0.5 if config.get("use_rslora") else 1))
    except (OSError, ValueError, KeyError):
        return None


def _targets(model: Any, recipe: Recipe) -> dict[str, Any]:
    """Which modules of which layers get an adapter, in peft's words."""
    targets: str | list[str] = list(recipe.target_modules)
    if isinstance(recipe.target_modules, str):
        names = [name.strip() for name in recipe.target_modules.split(",")]
        targets = "all-linear" if names == ["all-linear"] else names
    if recipe.last_layers is None:
        return {"target_modules": targets}
    if targets == "all-linear":
        # peft takes layer numbers only with names. The output layer is none of a decoder layer's.
        output = model.get_output_embeddings()
        linear = {
            name for name, part in model.named_modules() if isinstance(part, torch.nn.Linear) and part is not output
        }
        targets = sorted({name.rsplit(".", 1)[-1] for name in linear})
    count = model.config.get_text_config().num_hidden_layers
    return {"target_modules": targets, "layers_to_transform": list(range(max(0, count - recipe.last_layers), count))}


def _new_control_tokens(model: Any, tokenizer: Any, recipe: Recipe) -> list[int]:
    """For a base model that is given ChatML: the ids of its control tokens, whose embeddings are then trained too.

    Raises:
        BadInput: the vocabulary has no room for them.
    """
    if recipe.chat_template != "chatml":
        return []
    wanted = ["<|im_start|>", "<|im_end|>"]
    missing = [token for token in wanted if tokenizer.convert_tokens_to_ids(token) in (None, tokenizer.unk_token_id)]
    if missing:
        tokenizer.add_special_tokens({"additional_special_tokens": missing})
    ids = [tokenizer.convert_tokens_to_ids(token) for token in wanted]
    rows = model.get_input_embeddings().weight.shape[0]
    if max(ids) >= rows:
        raise BadInput(
            tr(
                "这个模型的词表放不下 ChatML 的控制符",
                "the vocabulary has no room for ChatML's control tokens",
            ),
            fix=tr("换用自带聊天模板的 instruct 模型", "use an instruct model, which has its own chat template"),
        )
    return ids


def saves_tokenizer(recipe: Recipe) -> bool:
    """Whether what training leaves needs a tokenizer of its own beside it."""
    return recipe.method == "full" or recipe.chat_template == "chatml"


def save_trained(
    model: Any,
    tokenizer: Any,
    recipe: Recipe,
    out: Path,
    *,
    weights: dict[str, torch.Tensor] | None = None,
    first: dict[str, torch.Tensor] | None = None,
) -> Path:
    """Write what was trained, whole or not at all: `out/adapter`, or `out/merged` for `method: full`.

    Args:
        tokenizer: only needed where `saves_tokenizer`.
        weights: the trained weights by name, where the model itself holds only a part of them.
        first: the adapter as PiSSA began it; what is written is relative to the model before that.
    """
    if first:
        weights = as_plain_adapter(model, recipe, first, weights or model.state_dict())
    final = out / ("merged" if recipe.method == "full" else "adapter")
    temporary = out / f".{final.name}.part"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        if recipe.method == "full":
            model.config.use_cache = True
        with os_errors():
            model.save_pretrained(str(temporary), state_dict=weights)
        if recipe.method != "full":
            (temporary / "README.md").unlink(missing_ok=True)
            if recipe.method == "qlora" and recipe.quantization != "int8":
                note_quantisation(temporary, recipe.quantization, recipe.double_quant)
        if saves_tokenizer(recipe):
            tokenizer.save_pretrained(temporary)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise Stopped(
            tr(f"存不下结果：{error.strerror}", f"cannot save the result: {error.strerror}"),
            where=str(final),
            fix=tr("腾出空间后加 --resume", "free some space, then go on with --resume"),
        ) from error
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    return final
