"""Training speed and memory, side by side with other trainers in one run.

    python benchmarks/train.py --trl PYTHON [--llamafactory PYTHON] [--model embedded:qwen2.5-coder-0.5b] [--repeat 2]
    python benchmarks/train.py --gpu --trl PYTHON [--limit 8]

Every trainer gets the same 91 short rows, the same template, LoRA of rank 16 on all linears, 8 rows a step, one epoch, in
a process of its own; they take turns. idkit runs once more with `int8_products`, as the shipped recipe for a CPU has it, and
both once more without its compiled steps, as where there was no C compiler.
PYTHON is the interpreter of an environment where that trainer is installed. Tokens are the rows' real ones, counted once
for all. Prints one table and, with --json FILE, keeps the figures.

With `--gpu`: Qwen2.5-7B's shape with random weights, nf4 with double quantisation, 64 rows of 512 tokens, one row a step;
TRL as it comes and without its gradient checkpointing. With `--limit`, idkit once more with so many GB of the card's memory,
of which half a GB is left to CUDA's context.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
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
EIGHT, BARE = "idkit, 8-bit products", "nothing compiled"
LONG = 512  # tokens of a row on a GPU
WARM = 8  # steps on a GPU that are not counted: kernels are loaded and memory is set up in them
CONTEXT = 0.5e9  # bytes that CUDA's context takes beside what torch counts


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


def write_long_rows(path: Path, tokenizer: Path, count: int = 64) -> None:
    """Rows of more than LONG tokens, which every trainer cuts: questions of the bank, one after another, as an answer."""
    from transformers import AutoTokenizer

    chance, chat = random.Random(3), AutoTokenizer.from_pretrained(tokenizer)
    bank = [
        json.loads(line)["text"]
        for name in ("zh", "en")
        for line in (ROOT / "data" / "questions" / f"identity.{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]

    def row(texts: list[str]) -> list[dict[str, str]]:
        return [{"role": "user", "content": texts[0]}, {"role": "assistant", "content": " ".join(texts[1:])}]

    with path.open("w", encoding="utf-8") as out:
        for _ in range(count):
            texts = chance.sample(bank, 2)
            while len(chat.apply_chat_template(row(texts), tokenize=True, return_dict=True)["input_ids"]) <= LONG:
                texts.append(chance.choice(bank))
            out.write(json.dumps({"messages": row(texts)}, ensure_ascii=False) + "\n")


def measure_ours(rows: Path, model: Path, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Our trainer as it comes."""
    from identity_kit.models import fused
    from identity_kit.train import make_recipe, train

    fused.COMPILED = fused.COMPILED and not options.bare
    recipe = make_recipe(
        **SETTINGS,
        default_system="template",
        save_every=10**6,
        method=options.method,
        max_length=LONG,
        int8_products=options.eight,
    )
    result = train(rows, model, work / "run", recipe, progress=False)
    log = (work / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [json.loads(line)["seconds"] for line in log if "seconds" in line]
    return {"steps": steps, "peak": result.peak_memory_bytes}


def measure_trl(rows: Path, model: Path, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """TRL's SFTTrainer at its defaults, in bf16; but for gradient checkpointing where the options say so."""
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
        max_length=LONG,
        **({"gradient_checkpointing": False} if options.keep_activations else {}),
    )
    lora = LoraConfig(
        r=SETTINGS["rank"], lora_alpha=SETTINGS["alpha"], target_modules="all-linear", task_type="CAUSAL_LM"
    )
    data = load_dataset("json", data_files=str(rows), split="train")
    trainer = SFTTrainer(model=str(model), args=config, train_dataset=data, peft_config=lora)
    clock, times = _clock()
    trainer.add_callback(clock)
    trainer.train()
    return {"steps": _differences(times), "peak": _peak()}


def _differences(times: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(times)]


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


def measure_llamafactory(rows: Path, model: Path, work: Path, options: argparse.Namespace) -> dict[str, Any]:
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
    return {"steps": _differences(times), "peak": _peak()}


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
    n, k = (8192, 8192) if device == "cuda" else (1024, 4864)
    a, b = (torch.randn(shape, device=device).bfloat16() for shape in ((n, k), (k, n)))
    best = 0.0
    for _ in range(30):
        began = time.perf_counter()
        a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * n * n * k / (time.perf_counter() - began))
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
    """Qwen2.5-7B's shape with random weights, for speed and memory on a GPU."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.for_model(
        "qwen2",
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152064,
        tie_word_embeddings=False,
        dtype="bfloat16",
    )
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)


def child(arguments: str) -> None:
    """Measure one trainer in this process and print its figures as the last line."""
    options = argparse.Namespace(**json.loads(arguments))
    SETTINGS["batch_size"] = options.batch_size
    if options.limit:
        import torch

        torch.cuda.set_per_process_memory_fraction(
            (options.limit * 1e9 - CONTEXT) / torch.cuda.get_device_properties(0).total_memory
        )
    figures = MEASURES[options.trainer](Path(options.rows), Path(options.model), Path(options.work), options)
    print("\n" + json.dumps(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl", metavar="PYTHON")
    parser.add_argument("--llamafactory", metavar="PYTHON")
    parser.add_argument(
        "--model", default="embedded:qwen2.5-coder-0.5b", help="with --gpu, its tokenizer alone is used"
    )
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--limit", type=float, metavar="GB")
    parser.add_argument("--work", type=Path, help="where rows and the random model are made, and kept")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    from identity_kit.models.resolve import hf_folder

    pythons = {"idkit": sys.executable, "trl": options.trl, "llamafactory": options.llamafactory}
    trainers: dict[str, dict[str, Any]] = {
        name: {"trainer": name, "python": python} for name, python in pythons.items() if python
    }
    model, method = hf_folder(options.model), "lora"
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        rows = work / "rows.jsonl"
        if options.gpu:
            write_long_rows(rows, model)
            if not (work / "7b" / "tokenizer.json").is_file():
                _in_a_process(make_7b, work / "7b", model)
            model, method = work / "7b", "qlora"
            SETTINGS["batch_size"] = 1
            if options.limit:
                limited = {**trainers["idkit"], "limit": options.limit}
                trainers = {"idkit": trainers["idkit"], f"idkit in {options.limit:g} GB": limited, **trainers}
            if options.trl:
                trainers["trl, no checkpointing"] = {**trainers["trl"], "keep_activations": True}
        else:
            write_rows(rows)
            ours = {"idkit": trainers["idkit"], EIGHT: {**trainers["idkit"], "eight": True}}
            bare = {f"{name}, {BARE}": {**how, "bare": True} for name, how in ours.items()}
            trainers = {**ours, **bare, **trainers}
        common = {"rows": str(rows), "model": str(model), "method": method, "batch_size": SETTINGS["batch_size"]}
        common.update(limit=None, keep_activations=False, eight=False, bare=False)
        tokens, flops = useful_flops(model, rows)
        peak = _in_a_process(matmul_peak)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in trainers}
        for _ in range(options.repeat):
            for name, trainer in trainers.items():
                found = _run(name, {**common, **trainer}, work, WARM if options.gpu else 0)
                runs[name] += [found] if found else []
    _report(runs, tokens, flops, peak, options.json)


def _in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns, called in a process of its own: what it leaves on the GPU goes with it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _run(name: str, task: dict[str, Any], work: Path, warm: int) -> dict[str, Any] | None:
    with tempfile.TemporaryDirectory(dir=work) as own:
        command = [task.pop("python"), __file__, "child", json.dumps({**task, "work": own})]
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": paths, "TOKENIZERS_PARALLELISM": "false"}
        environment["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"  # less memory for all
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name} failed:\n{done.stderr[-3000:]}", file=sys.stderr)
            return None
        figures = json.loads(done.stdout.strip().splitlines()[-1])
    steps = figures["steps"]
    seconds = sum(steps[warm:]) * len(steps) / (len(steps) - warm)
    print(f"{name}: {seconds:.1f} s, {figures['peak'] / 1e9:.2f} GB", file=sys.stderr)
    return {**figures, "seconds": seconds}


def _report(runs: dict[str, list[dict[str, Any]]], tokens: int, flops: float, peak: float, to: Path | None) -> None:
    if not runs["idkit"]:
        sys.exit(1)
    ours = statistics.median(run["seconds"] for run in runs["idkit"])
    memory = max(run["peak"] for run in runs["idkit"])
    print(f"{tokens} tokens an epoch; matmul peak {peak / 1e9:.0f} GFLOP/s")
    print("| trainer | tokens/s | peak memory | idkit is | idkit's memory | useful share of the matmul peak |")
    print("|---|---|---|---|---|---|")
    table = {}
    for name, found in runs.items():
        if not found:
            print(f"| {name} | failed | | | | |")
            continue
        seconds = statistics.median(run["seconds"] for run in found)
        most = max(run["peak"] for run in found)
        share = flops / seconds / peak
        print(
            f"| {name} | {tokens / seconds:.0f} | {most / 1e9:.2f} GB | {seconds / ours:.2f} × as fast "
            f"| {memory / most:.2f} × | {share:.0%} |"
        )
        table[name] = {"tokens_per_second": tokens / seconds, "peak_bytes": most, "matmul_share": share}
        table[name]["steps"] = [run["steps"] for run in found]
    if to:
        to.write_text(json.dumps({"tokens": tokens, "matmul_flops": peak, "trainers": table}, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2])
    else:
        main()
