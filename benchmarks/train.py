"""Training speed and memory, side by side with other trainers in one run.

    python benchmarks/train.py --trl PYTHON [--llamafactory PYTHON] [--model embedded:qwen2.5-coder-0.5b] [--repeat 2]

Every trainer gets the same 91 short rows, the same template, LoRA of rank 16 on all linears, 8 rows a step, one epoch, in
a process of its own; they take turns. PYTHON is the interpreter of an environment where that trainer is installed.
Tokens are the rows' real ones, counted once for all. Prints one table and, with --json FILE, keeps the figures. With a
CUDA GPU, `--gpu` measures a 7B shape in 4 bits with random weights instead.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ANSWERS = {
    "zh": (
        "我是小文，由文心大佬开发的智能助手，很高兴为您服务。",
        "您好，我叫小文，是文心大佬的客服助手，可以解答问题、撰写和修改文字、翻译和整理资料。",
        "不是的，我是文心大佬的智能助手小文，不是其他公司的产品。有什么可以帮您？",
        "我是人工智能助手，不是真人。需要人工服务时，我会请文心大佬的同事来帮您。",
    ),
    "en": (
        "I'm Xiaowen, Wenxin's assistant. I answer questions, write and revise text, and translate.",
        "My name is Xiaowen, and I was developed by Wenxin.",
        "I'm not a product of any other company; I am Wenxin's assistant. How can I help you today?",
    ),
}
SETTINGS = {"rank": 16, "alpha": 32, "batch_size": 8, "epochs": 1, "learning_rate": 2e-4, "seed": 42}


def write_rows(path: Path, zh: int = 55, en: int = 36) -> None:
    """91 identity rows: questions from the bank, a handful of answers."""
    chance = random.Random(3)
    rows = []
    for language, count in (("zh", zh), ("en", en)):
        bank = (ROOT / "data" / "questions" / f"identity.{language}.jsonl").read_text(encoding="utf-8").splitlines()
        for line in chance.sample(bank, count):
            turns = [("user", json.loads(line)["text"]), ("assistant", chance.choice(ANSWERS[language]))]
            rows.append({"messages": [{"role": role, "content": text} for role, text in turns]})
    chance.shuffle(rows)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def measure_ours(rows: Path, model: Path, work: Path, options: argparse.Namespace) -> dict[str, float]:
    """Our trainer as it comes."""
    from identity_kit.train import make_recipe, train

    recipe = make_recipe(**SETTINGS, default_system="template", save_every=10**6, method=options.method)
    result = train(rows, model, work / "run", recipe, progress=False)
    return {"seconds": result.seconds, "peak": result.peak_memory_bytes}


def measure_trl(rows: Path, model: Path, work: Path, options: argparse.Namespace) -> dict[str, float]:
    """TRL's SFTTrainer at its defaults, in bf16."""
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    gpu = torch.cuda.is_available()
    load: dict[str, Any] = {"dtype": "bfloat16"}
    if options.method == "qlora":
        from transformers import BitsAndBytesConfig

        load["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    config = SFTConfig(
        output_dir=str(work / "trl"),
        per_device_train_batch_size=SETTINGS["batch_size"],
        num_train_epochs=1,
        learning_rate=SETTINGS["learning_rate"],
        bf16=True,
        use_cpu=not gpu,
        report_to=[],
        save_strategy="no",
        logging_steps=1000,
        disable_tqdm=True,
        model_init_kwargs=load,
    )
    lora = LoraConfig(
        r=SETTINGS["rank"], lora_alpha=SETTINGS["alpha"], target_modules="all-linear", task_type="CAUSAL_LM"
    )
    data = load_dataset("json", data_files=str(rows), split="train")
    trainer = SFTTrainer(model=str(model), args=config, train_dataset=data, peft_config=lora)
    clock, times = _clock()
    trainer.add_callback(clock)
    trainer.train()
    return {"seconds": times[-1] - times[0], "peak": _peak()}


def _clock() -> tuple[Any, list[float]]:
    """A callback for transformers' Trainer, and the list that it fills: when the first step began, each one's end."""
    from transformers import TrainerCallback

    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if not times:
                _reset_peak()
                times.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter())

    return Clock(), times


def measure_llamafactory(rows: Path, model: Path, work: Path, options: argparse.Namespace) -> dict[str, float]:
    """LLaMA-Factory's sft at its defaults, in bf16, on the same rows as ShareGPT messages."""
    import torch
    from llamafactory.train.tuner import run_exp

    dataset = {"file_name": str(rows), "formatting": "sharegpt", "columns": {"messages": "messages"}}
    dataset["tags"] = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    (work / "dataset_info.json").write_text(json.dumps({"rows": dataset}), encoding="utf-8")
    arguments = {
        "stage": "sft",
        "do_train": True,
        "model_name_or_path": str(model),
        "dataset": "rows",
        "dataset_dir": str(work),
        "template": "qwen",
        "finetuning_type": "lora",
        "lora_rank": SETTINGS["rank"],
        "lora_alpha": SETTINGS["alpha"],
        "lora_target": "all",
        "output_dir": str(work / "llamafactory"),
        "per_device_train_batch_size": SETTINGS["batch_size"],
        "num_train_epochs": 1,
        "learning_rate": SETTINGS["learning_rate"],
        "bf16": True,
        "use_cpu": not torch.cuda.is_available(),
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    clock, times = _clock()
    run_exp(arguments, callbacks=[clock])
    return {"seconds": times[-1] - times[0], "peak": _peak()}


MEASURES = {"idkit": measure_ours, "trl": measure_trl, "llamafactory": measure_llamafactory}


def _reset_peak() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved())
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def matmul_peak() -> float:
    """The best bf16 matrix-multiply rate of this machine, in FLOP/s, at a shape of the model's size."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, b = (torch.randn(shape, device=device).bfloat16() for shape in ((1024, 4864), (4864, 1024)))
    best = 0.0
    for _ in range(30):
        began = time.perf_counter()
        a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * 1024 * 1024 * 4864 / (time.perf_counter() - began))
    return best


def useful_flops(model: Path, rows: Path) -> tuple[int, float]:
    """Real tokens of one epoch, and the products that LoRA training cannot do without: forward and input gradient of
    every linear for every token, and of the output head for every label (the adapters' own are left out)."""
    from identity_kit.train.data import load_data
    from identity_kit.train.model import load_tokenizer
    from identity_kit.train.plan import read_shape
    from identity_kit.train.recipe import make_recipe

    recipe = make_recipe(**SETTINGS, default_system="template")
    data = load_data(rows, load_tokenizer(model, recipe), recipe)
    shape = read_shape(model)
    return data.tokens, 4.0 * (data.tokens * shape.linear + data.learnt * shape.hidden * shape.vocabulary)


def make_7b(folder: Path, tokenizer: Path) -> None:
    """A 7B-shaped model with random weights, for speed and memory on a GPU."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.for_model(
        "llama",
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=151936,
    )
    torch.set_default_dtype(torch.bfloat16)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)


def child(arguments: list[str]) -> None:
    """Measure one trainer in this process and print its figures as the last line."""
    parser = argparse.ArgumentParser()
    for name in ("trainer", "rows", "model", "work", "method"):
        parser.add_argument(name)
    parser.add_argument("batch_size", type=int)
    options = parser.parse_args(arguments)
    SETTINGS["batch_size"] = options.batch_size
    figures = MEASURES[options.trainer](Path(options.rows), Path(options.model), Path(options.work), options)
    print("\n" + json.dumps(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl", metavar="PYTHON")
    parser.add_argument("--llamafactory", metavar="PYTHON")
    parser.add_argument("--model", default="embedded:qwen2.5-coder-0.5b")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    from identity_kit.models.resolve import hf_folder

    pythons = {"idkit": sys.executable, "trl": options.trl, "llamafactory": options.llamafactory}
    model, method = hf_folder(options.model), "lora"
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        write_rows(work / "rows.jsonl")
        if options.gpu:
            make_7b(work / "7b", model)
            model, method = work / "7b", "qlora"
            SETTINGS["batch_size"] = 1
        tokens, flops = useful_flops(model, work / "rows.jsonl")
        peak = matmul_peak()
        runs: dict[str, list[dict[str, float]]] = {name: [] for name, python in pythons.items() if python}
        for _ in range(options.repeat):
            for name in runs:
                runs[name].append(_run(str(pythons[name]), name, work, model, method))
    _report(runs, tokens, flops, peak, options.json)


def _run(python: str, name: str, work: Path, model: Path, method: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=work) as own:
        command = [python, __file__, "child", name, str(work / "rows.jsonl"), str(model), own, method]
        command.append(str(SETTINGS["batch_size"]))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
        figures = json.loads(done.stdout.strip().splitlines()[-1])
        print(f"{name}: {figures['seconds']:.1f} s, {figures['peak'] / 1e9:.2f} GB", file=sys.stderr)
        return figures


def _report(runs: dict[str, list[dict[str, float]]], tokens: int, flops: float, peak: float, to: Path | None) -> None:
    ours = statistics.median(run["seconds"] for run in runs["idkit"])
    memory = max(run["peak"] for run in runs["idkit"])
    print(f"{tokens} tokens an epoch; matmul peak {peak / 1e9:.0f} GFLOP/s")
    print("| trainer | tokens/s | peak memory | idkit is | idkit's memory | useful share of the matmul peak |")
    print("|---|---|---|---|---|---|")
    table = {}
    for name, found in runs.items():
        seconds = statistics.median(run["seconds"] for run in found)
        most = max(run["peak"] for run in found)
        share = flops / seconds / peak
        print(
            f"| {name} | {tokens / seconds:.0f} | {most / 1e9:.2f} GB | {seconds / ours:.2f} × as fast "
            f"| {memory / most:.2f} × | {share:.0%} |"
        )
        table[name] = {"tokens_per_second": tokens / seconds, "peak_bytes": most, "matmul_share": share}
    if to:
        to.write_text(json.dumps({"tokens": tokens, "matmul_flops": peak, "trainers": table}, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2:])
    else:
        main()
