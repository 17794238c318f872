"""Merge an adapter into the unquantised base, and prove that the merged files answer as base + adapter does."""

from __future__ import annotations

import gc
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from identity_kit import ui
from identity_kit.errors import BadInput, Stopped
from identity_kit.export.card import named, write_card
from identity_kit.export.folder import MANIFEST, atomic_folder, check_replaceable, readable
from identity_kit.export.identity import scan_folder, set_template
from identity_kit.files import read_json, sha256_file, write_json
from identity_kit.models.adapters import quiet_adapters
from identity_kit.models.quantised import round_as_trained
from identity_kit.ui import tr

if TYPE_CHECKING:
    import torch

    from identity_kit.persona import Persona

# Identity, ordinary and code questions: an adapter that was lost, scaled wrongly or added twice shows on the first two.
CHECK_PROMPTS = (
    "你是谁？",
    "Who created you?",
    "用一句话解释光合作用。",
    "What is 17 + 25?",
    "print the numbers 1 to 3 in Python",
)

# Mean Kullback-Leibler divergence over the positions of all check prompts, behind their common opening. Computing in bf16
# and rounding the merged weights to it moved the next-token distribution of a 0.5B model by 0.001 nats; leaving its
# adapter out, by 0.3 and more.
MAX_MEAN_KL = 0.02

SHARD_SIZE = "4GB"


@dataclass(frozen=True)
class MergeResult:
    """A merged model on disk.

    Attributes:
        folder: the plain Hugging Face folder.
        layers: how many modules the adapter changed.
        dtype: the weights' type, e.g. "bfloat16".
        mean_kl: mean KL(base + adapter ‖ merged) in nats over the check prompts' positions; None when not checked.
        agreement: share of those positions whose most likely token is the same; None when not checked.
        moved: mean KL(base + adapter ‖ base) in nats, how far the adapter moved the model; None when not checked.
    """

    folder: Path
    layers: int
    dtype: str
    mean_kl: float | None = None
    agreement: float | None = None
    moved: float | None = None


def merge_adapter(
    base: Path,
    adapter: Path,
    out: Path,
    persona: Persona,
    *,
    check: bool = True,
    default_system: str | None = None,
    report: Path | None = None,
    source: str = "",
) -> MergeResult:
    """Merge a peft adapter into `base` and write a plain Hugging Face folder at `out`.

    A QLoRA adapter is merged into what 4 bits left of the weights, unpacked: those are the ones that it fits.
    Deltas are added in 32 bit and cast to the base's type once, since a sum in 16 bit would lose the small ones.
    The files are read back and compared with base + adapter before `out` takes its name.

    Args:
        base: a 16- or 32-bit Hugging Face folder.
        adapter: a folder with adapter_config.json and adapter_model.safetensors.
        out: the new folder; an earlier export there is replaced, anything else is left alone.
        persona: whose identity the model has; named in the model card.
        check: compare the written model's logits with base + adapter's.
        default_system: the system message that the chat template uses when none is given; None: no system message.
        report: the run's report.json, whose figures go into the model card.
        source: what the model was made from, for the manifest and the card.

    Raises:
        BadInput: base or adapter is missing, broken, quantised, or they do not fit together; or `out` is taken.
        Stopped: the merged model does not answer like base + adapter, or the disk is full; nothing is left at `out`.
    """
    import torch

    check_replaceable(out)
    _check_adapter(base, adapter)
    tokenizer = _load_tokenizer(base)
    prompts = [tokenizer(_render(tokenizer, text), add_special_tokens=False).input_ids for text in CHECK_PROMPTS]
    opening = sum(1 for _ in itertools.takewhile(lambda tokens: len(set(tokens)) == 1, zip(*prompts, strict=False)))
    model = _load_base(base)
    if round_as_trained(model, adapter):
        ui.say(tr("QLoRA：合并进训练时的 4 位数值", "QLoRA: merged into the 4-bit values that it was trained on"))
    dtype = str(model.dtype).removeprefix("torch.")
    before = _log_probabilities(model, prompts, opening) if check else []
    model = _with_adapter(model, adapter)
    model.eval()
    expected = _log_probabilities(model, prompts, opening) if check else []
    layers, model = _merge_layers(model)
    with atomic_folder(out) as folder:
        ui.detail(tr(f"写入 {out}", f"writing {out}"))
        model.config._name_or_path = ""
        _end_of_turn(model, tokenizer)
        model.save_pretrained(folder, max_shard_size=SHARD_SIZE)
        del model
        gc.collect()
        tokenizer.save_pretrained(folder)
        set_template(folder, default_system)
        result = MergeResult(folder=out, layers=layers, dtype=dtype)
        if check:
            written = _log_probabilities(_load_base(folder), prompts, opening)
            result = _compare(result, before, expected, written)
        _keep_licence(base, folder)
        manifest = _manifest(folder, adapter, persona, result, source)
        write_card(folder, persona, licence_from=base, report=report, check=manifest["check"])
        scan_folder(folder, persona)
        write_json(folder / MANIFEST, manifest)
        readable(folder)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return result


def _check_adapter(base: Path, adapter: Path) -> None:
    """Refuse early, before a large model is loaded."""
    for folder, name in (
        (base, "config.json"),
        (adapter, "adapter_config.json"),
        (adapter, "adapter_model.safetensors"),
    ):
        if not (folder / name).is_file():
            raise BadInput(
                tr(f"缺少 {name}", f"{name} is missing"),
                where=str(folder),
                fix=tr("先训练，或检查路径", "train first, or check the path"),
            )
    if "quantization_config" in read_json(base / "config.json"):
        raise BadInput(
            tr("底模是量化的，合并会损失精度", "the base is quantised; merging into it would lose precision"),
            where=str(base),
            fix=tr("改用未量化的 16 位版本", "use the unquantised 16-bit version of it"),
        )


def _load_tokenizer(base: Path) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    if not tokenizer.chat_template:
        raise BadInput(
            tr("分词器没有聊天模板", "the tokenizer has no chat template"),
            where=str(base),
            fix=tr("换用对话（Instruct）模型", "use a chat (Instruct) model"),
        )
    return tokenizer


def _load_base(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(tr(f"载入不了模型：{reason}", f"cannot load the model: {reason}"), where=str(folder)) from error
    model.eval()
    return model.to(device)


def _with_adapter(model: Any, adapter: Path) -> Any:
    """The base with the adapter on, after checking that every tensor of the adapter has its place in the base."""
    from safetensors import safe_open

    with quiet_adapters():
        from peft import PeftModel

    modules = {name for name, _ in model.named_modules()}
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as tensors:
        for key in tensors.keys():  # noqa: SIM118 - not a dict
            path = key.removeprefix("base_model.model.")
            for mark in (".lora_", ".weight", ".bias", ".base_layer", ".modules_to_save"):
                path = path.partition(mark)[0]
            if path not in modules:
                raise _misfit(adapter, tr(f"底模没有 {path}", f"the base has no {path}"))
    _untie_if_changed(model, adapter)
    try:
        with quiet_adapters():
            return PeftModel.from_pretrained(model, str(adapter))
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise _misfit(adapter, lines[min(1, len(lines) - 1)] if lines else type(error).__name__) from error


def _misfit(adapter: Path, reason: str) -> BadInput:
    return BadInput(
        tr(f"适配器与底模不配：{reason}", f"the adapter does not fit the base: {reason}"),
        where=str(adapter),
        fix=tr("用训练时的那个底模", "use the base that it was trained on"),
    )


def _untie_if_changed(model: Any, adapter: Path) -> None:
    """Part tied embeddings when the adapter changes one of the two, which a shared weight could not express."""
    import torch

    if not getattr(model.config, "tie_word_embeddings", False):
        return
    inner, outer = model.get_input_embeddings(), model.get_output_embeddings()
    names = {name for name, module in model.named_modules() if module is inner or module is outer}
    config = read_json(adapter / "adapter_config.json")
    targets = [*_as_list(config.get("target_modules")), *_as_list(config.get("modules_to_save"))]
    if outer is not None and any(name == t or name.endswith("." + t) for name in names for t in targets):
        outer.weight = torch.nn.Parameter(inner.weight.detach().clone(), requires_grad=False)
        model.config.tie_word_embeddings = False


def _as_list(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []


def _merge_layers(model: Any) -> tuple[int, Any]:
    """Add the deltas in 32 bit, one layer at a time, and take the adapter's modules off. Returns (changed, model)."""
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    changed = 0
    with torch.no_grad(), quiet_adapters():
        for module in model.modules():
            if not isinstance(module, BaseTunerLayer):
                continue
            base_layer: Any = module.get_base_layer()
            weight_type = base_layer.weight.dtype
            cast(torch.nn.Module, module).float()
            try:
                module.merge(safe_merge=True)
            except ValueError as error:  # peft found a weight that is not finite
                raise BadInput(
                    tr("适配器里有无效的数（NaN）", "the adapter holds weights that are no numbers"),
                    fix=tr("降低学习率重新训练", "train again with a lower learning rate"),
                ) from error
            base_layer.to(weight_type)
            changed += 1
        return changed, model.merge_and_unload(progressbar=False)


def _render(tokenizer: Any, question: str) -> str:
    """A question as the model sees it in a conversation, ready for the answer."""
    return tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
    )


def _log_probabilities(model: Any, prompts: list[list[int]], opening: int) -> list[torch.Tensor]:
    """Log-probabilities of the next token, one float32 tensor [positions, vocabulary] a prompt, on the CPU.

    The template's `opening` tokens are left out: nobody predicts them, a tuned model is in two minds about some of them,
    and rounding then decides.
    """
    import torch

    result = []
    with torch.inference_mode():
        for ids in prompts:
            logits = model(input_ids=torch.tensor([ids], device=model.device)).logits[0]
            result.append(torch.log_softmax(logits[opening:].float(), dim=-1).cpu())
    return result


def _mean_kl(expected: list[torch.Tensor], found: list[torch.Tensor]) -> float:
    """Mean KL(expected ‖ found) in nats over all positions of all prompts."""
    import torch

    divergences = [(p.exp() * (p - q)).sum(-1) for p, q in zip(expected, found, strict=True)]
    return float(torch.cat(divergences).mean())


def _compare(
    result: MergeResult, before: list[torch.Tensor], expected: list[torch.Tensor], written: list[torch.Tensor]
) -> MergeResult:
    same = [(p.argmax(-1) == q.argmax(-1)).float() for p, q in zip(expected, written, strict=True)]
    agreement = float(sum(t.sum() for t in same) / sum(t.numel() for t in same))
    kl, moved = _mean_kl(expected, written), _mean_kl(expected, before)
    if not kl <= MAX_MEAN_KL:
        raise Stopped(
            tr(
                f"合并后的模型与“底模 + 适配器”不一致（KL {kl:.4f} > {MAX_MEAN_KL}），没有写出",
                f"the merged model does not answer like base + adapter (KL {kl:.4f} > {MAX_MEAN_KL}); nothing was written",
            ),
            where=str(result.folder),
            fix=tr("检查底模是否就是训练时的那个", "check that the base is the one that was trained on"),
        )
    return MergeResult(result.folder, result.layers, result.dtype, mean_kl=kl, agreement=agreement, moved=moved)


def _end_of_turn(model: Any, tokenizer: Any) -> None:
    """Make generation stop at the token that ends a turn in the chat template, whatever the base's config says."""
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "ZQX"}]
    tail = tokenizer.apply_chat_template(turns, tokenize=False).rpartition("ZQX")[2]
    ids = tokenizer(tail, add_special_tokens=False).input_ids
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    end = next((i for i in ids if i in special), tokenizer.eos_token_id)
    stops = model.generation_config.eos_token_id
    known = [] if stops is None else [stops] if isinstance(stops, int) else list(stops)
    if end is not None and end not in known:
        model.generation_config.eos_token_id = [end, *known] if known else end
    if model.generation_config.pad_token_id is None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    # Sampling values without sampling switched on make newer versions refuse to save.
    if not model.generation_config.do_sample and (model.generation_config.temperature or 1.0) != 1.0:
        model.generation_config.do_sample = True


def _keep_licence(base: Path, folder: Path) -> None:
    """Carry the base's licence files along, as they ask."""
    for name in ("LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "NOTICE.txt"):
        if (base / name).is_file():
            (folder / name).write_bytes((base / name).read_bytes())


def _manifest(folder: Path, adapter: Path, persona: Persona, result: MergeResult, source: str) -> dict[str, Any]:
    from identity_kit import __version__

    return {
        "format": "hf",
        "idkit": __version__,
        "source": Path(source).name,
        "persona": named(persona),
        "dtype": result.dtype,
        "adapter_sha256": sha256_file(adapter / "adapter_model.safetensors"),
        "files": {path.name: sha256_file(path) for path in sorted(folder.glob("*.safetensors"))},
        "check": {"mean_kl": result.mean_kl, "agreement": result.agreement, "adapter_moved": result.moved},
    }
