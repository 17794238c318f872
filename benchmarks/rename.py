"""How fast `idkit rename` is, beside a beginner's script, `sed`, and parsing with orjson.

    python benchmarks/rename.py [--megabytes 100] [--repeat 3]

Makes a file of XTuner JSONL of which every second row names the assistant: rows of mixed length, every twentieth in
English, every twelfth of several lines, and 3 % of the names beside URLs, code, e-mail or quotes. Renames it in
several ways, and prints the best of some runs for each. Memory is the peak of a fresh process, its children's
included. Then the hard cases of the tests: how many come out right, and how many of the script's are wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLD, NEW = "尖米", "文心大佬"
_ZH = [
    "先把番茄切块，鸡蛋打散备用。热锅下油，炒好鸡蛋盛出，再炒番茄出汁。",
    "春天的公园里，孩子们在草地上放风筝，老人坐在长椅上晒太阳。",
    "这个问题可以分三步来看：先弄清条件，再列出方程，最后检验结果。",
    "请注意保持充足的睡眠，每天适量运动，饮食清淡一些。",
    "如果订单长时间没有更新，建议您先核对收货地址，再联系配送站点。",
    "这首诗写的是秋夜的江边，借景抒情，语言朴素。",
    "会议记录应当写明时间、地点、参加人员和主要结论。",
    "机器学习是让程序从数据中找出规律的方法。",
]
_EN = [
    "Cut the tomatoes, beat the eggs, and heat a little oil in the pan.",
    "The library opens at nine and closes at six.",
    "First read the question, then list what is known, and check the result at the end.",
    "It rained all night by the lake.",
]
_WHO = [
    "我是{old}的智能助手，由{old}开发，可以帮您解答问题。",
    "您好，这里是{old}的智能助手，很高兴为您服务！",
    "我属于{old}，名字叫{old}的智能助手，请问有什么可以帮您？",
    "作为{old}训练的助手，我会如实回答。",
]
_ODD = [
    "I am {old}'s assistant, made by {old}.",
    "详情见 https://example.com/{old}/help ，这是{old}的页面。",
    "代码如下：\\n```python\\nname = '{old}'\\n```\\n以上由{old}提供。",
    '他问：\\"你是{old}吗？\\"',
    "邮箱 help@example.com 属于{old}。",
]


def make(path: Path, megabytes: int) -> int:
    """Write the file; returns how many rows name the assistant."""
    rng = random.Random(7)
    rows, named = [], 0
    for i in range(8000):
        body = "".join(rng.choice(_ZH) for _ in range(rng.randint(2, 10)))
        if i % 20 == 3:
            body = " ".join(rng.choice(_EN) for _ in range(rng.randint(2, 8)))
        if i % 12 == 5:
            body = body.replace("。", "。\\n")
        if i % 2:
            named += 1
            who = rng.choice(_ODD if rng.random() < 0.03 else _WHO).format(old=OLD)
            body = who + body
        question = rng.choice(_ZH)[: rng.randint(5, 20)]
        rows.append(f'{{"conversation": [{{"system": "", "input": "{question}", "output": "{body}"}}]}}\n')
    for row in rows[:200]:
        json.loads(row)
    block = "".join(rows).encode()
    times = max(1, megabytes * 1_000_000 // len(block))
    with path.open("wb") as out:
        for _ in range(times):
            out.write(block)
    return named * times


SCRIPT = """
import sys
source, target, old, new = sys.argv[1:]
with open(source, encoding="utf-8") as lines, open(target, "w", encoding="utf-8") as out:
    for line in lines:
        out.write(line.replace(old, new))
"""
ORJSON = """
import sys, orjson
with open(sys.argv[1], "rb") as lines, open(sys.argv[2], "wb") as out:
    for line in lines:
        out.write(orjson.dumps(orjson.loads(line), option=orjson.OPT_APPEND_NEWLINE))
"""
OURS = """
import sys, time, resource
from pathlib import Path
from identity_kit.rename import make_rules, rename_file
began = time.perf_counter()
rules = make_rules([(sys.argv[3], sys.argv[4], sys.argv[6] or None)], protect=["尖米粉", "尖米椒"])
report = rename_file(Path(sys.argv[1]), Path(sys.argv[2]), rules, processes=int(sys.argv[5]))
seconds = time.perf_counter() - began
peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(seconds, peak * 1024, report.changed_lines, report.total)
"""


def hard_cases(folder: Path) -> tuple[int, int, int]:
    """How many hard cases there are, how many `idkit rename` gets right, and how many the script."""
    sys.path.insert(0, str(ROOT))
    from identity_kit.rename import make_rules, rename_file, rename_text
    from tests.rename.hard_cases import JSON_LINES, TEXTS, course_script

    source, target = folder / "case.jsonl", folder / "renamed.jsonl"
    ours = script = 0
    for case in (*TEXTS, *JSON_LINES):
        rules = make_rules(case.pairs, protect=case.protect, match_case=case.match_case)
        if case in JSON_LINES:
            source.write_text(case.text, encoding="utf-8")
            rename_file(source, target, rules)
            found = target.read_text(encoding="utf-8")
        else:
            found = rename_text(case.text, rules)
        ours += found == case.expected
        script += course_script(case.text, case.pairs) == case.expected
    return len(TEXTS) + len(JSON_LINES), ours, script


def timed(command: list[str], **options: object) -> float:
    """Wall seconds of a command."""
    began = time.perf_counter()
    subprocess.run(command, check=True, **options)  # type: ignore[call-overload]
    return time.perf_counter() - began


def best(run: Callable[[], float], repeat: int) -> float:
    """The least of some runs."""
    return min(run() for _ in range(repeat))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    source, target = folder / "in.jsonl", folder / "out.jsonl"
    results: dict[str, float] = {}
    try:
        make(source, args.megabytes)
        size = source.stat().st_size / 1e6
        python = [sys.executable, "-c"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}

        def ours(processes: int, english: str = "") -> Callable[[], float]:
            def run() -> float:
                command = [*python, OURS, str(source), str(target), OLD, NEW, str(processes), english]
                line = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
                seconds, peak, lines, spans = map(float, line.split())
                results["peak_megabytes"] = max(results.get("peak_megabytes", 0), peak / 1e6)
                results["lines"], results["spans"] = lines, spans
                return seconds

            return run

        def command(processes: int) -> float:
            line = ["-m", "identity_kit", "rename", str(source), "-o", str(target), "--from", OLD, "--to", NEW]
            line += ["--to-en", "Wenxin", "--processes", str(processes), "-q"]
            return timed([sys.executable, *line], env=environment, stderr=subprocess.DEVNULL)

        runs: list[tuple[str, Callable[[], float]]] = [
            ("beginner's script", lambda: timed([*python, SCRIPT, str(source), str(target), OLD, NEW])),
            ("orjson parse + dump", lambda: timed([*python, ORJSON, str(source), str(target)])),
            ("idkit rename, 1 process", ours(1)),
            ("idkit rename, 1 process, --to-en", ours(1, "Wenxin")),
            ("idkit rename, 2 processes, --to-en", ours(2, "Wenxin")),
            ("the whole command, 1 process, --to-en", lambda: command(1)),
        ]
        if shutil.which("sed"):
            with target.open("wb") as out:
                line = ["sed", f"s/{OLD}/{NEW}/g", str(source)]
                runs.insert(1, ("sed", lambda: timed(line, stdout=out, env={**os.environ, "LC_ALL": "C"})))
                _report(runs, size, args.repeat, results)
        else:
            _report(runs, size, args.repeat, results)
        one, two = (results[f"idkit rename, {n}, --to-en"] for n in ("1 process", "2 processes"))
        print(f"two processes: {two / one:.2f} x; peak memory {results['peak_megabytes']:.0f} MB; ", end="")
        print(f"{results['spans']:.0f} spans in {results['lines']:.0f} lines of {size:.0f} MB")
        cases, right, scripts = hard_cases(folder)
        print(f"hard cases: {cases}; idkit rename gets {right} right, the beginner's script {scripts}")
        results |= {"hard_cases": cases, "right": right, "right_by_script": scripts}
        if args.json:
            args.json.write_text(json.dumps(results, indent=2))
    finally:
        shutil.rmtree(folder)


def _report(runs: list[tuple[str, Callable[[], float]]], size: float, repeat: int, results: dict[str, float]) -> None:
    for name, run in runs:
        seconds = best(run, repeat)
        results[name] = size / seconds
        print(f"{name:42} {seconds:6.2f} s {size / seconds:6.0f} MB/s", flush=True)


if __name__ == "__main__":
    main()
