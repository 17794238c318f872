"""How fast the client asks, beside other ways: `python benchmarks/generate.py [speed] [limit] [memory]`.

speed   a loopback server with 200 ms latency, 128 requests in flight: share of the ideal rate (640 a second) and
        processor time of the client a request, for this project's client (journal on disk included), the whole of
        `generate` (prompts, gates, duplicate search, files), bare aiohttp (the ceiling), the OpenAI SDK on both its
        transports, ten threads without retries, the way of the XTuner course, and bespoke curator where `--curator`
        names an interpreter that has it. Medians of several rounds in which the ways take turns.
limit   a server that lets 600 requests a minute through: share of that reached, share of answers that are 429, with the
        limit given as a flag, told in headers, and not told at all.
memory  peak memory of the whole of `generate` at 10,000 and at 100,000 rows.

Every way runs in a process of its own against a server in another. Figures go to stdout as JSON lines.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
LATENCY, IN_FLIGHT = 0.2, 128
BODY = {
    "model": "m",
    "messages": [{"role": "user", "content": "你好，请用一句话介绍西湖。" * 8}],
    "max_tokens": 64,
    "temperature": 0.0,
}


@contextlib.contextmanager
def server(*options: str) -> Iterator[str]:
    """The loopback server in its own process; yields its address."""
    command = [sys.executable, str(ROOT / "tests" / "llm" / "loopback.py"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


async def _many(count: int, ask: Callable[[int], Awaitable[Any]], askers: int = IN_FLIGHT) -> None:
    """`count` calls, `askers` at a time."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await ask(number)

    await asyncio.gather(*(worker() for _ in range(askers)))


def _messages(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"{number} " + BODY["messages"][0]["content"]}]  # type: ignore[index]


async def ours(url: str, count: int) -> None:
    from identity_kit.llm.client import Client
    from identity_kit.llm.cost import Meter
    from identity_kit.llm.endpoint import Endpoint
    from identity_kit.llm.journal import Journal

    endpoint = Endpoint(base_url=url, model="m", concurrency=IN_FLIGHT)
    with tempfile.TemporaryDirectory() as folder:
        async with Journal(Path(folder) / "journal.jsonl") as journal, Client(endpoint, journal, Meter()) as client:
            # As in real use: a place whose answer is on its way to the disk is taken by the next.
            await _many(count, lambda n: client.ask(_messages(n), max_tokens=64, temperature=0.0), 2 * IN_FLIGHT)


async def bare(url: str, count: int) -> None:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(number: int) -> None:
            async with session.post(f"{url}/chat/completions", json={**BODY, "messages": _messages(number)}) as answer:
                await answer.json()

        await _many(count, ask)


async def sdk(url: str, count: int, *, fast: bool) -> None:
    import openai

    transport = openai.DefaultAioHttpClient() if fast else None
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, http_client=transport) as client:

        async def ask(number: int) -> None:
            await client.chat.completions.create(
                model="m",
                messages=_messages(number),
                max_tokens=64,
                temperature=0.0,  # type: ignore[arg-type]
            )

        await _many(count, ask)


def threads(url: str, count: int) -> None:
    """Ten threads with the synchronous SDK and no retry."""
    from concurrent.futures import ThreadPoolExecutor

    import openai

    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client, ThreadPoolExecutor(10) as pool:
        list(
            pool.map(
                lambda n: client.chat.completions.create(model="m", messages=_messages(n), max_tokens=64), range(count)
            )
        )


def curator(url: str, count: int) -> None:
    """Bespoke curator with its cache, viewer and telemetry off."""
    os.environ |= {"TELEMETRY_ENABLED": "0", "CURATOR_DISABLE_CACHE": "1", "CURATOR_VIEWER": "0"}
    os.environ["OPENAI_API_KEY"] = "none"
    from bespokelabs import curator
    from datasets import Dataset

    class Asker(curator.LLM):  # type: ignore[misc]
        def prompt(self, row: dict[str, Any]) -> Any:
            return row["question"]

        def parse(self, row: dict[str, Any], response: str) -> dict[str, str]:
            return {"answer": response}

    limits = {"max_requests_per_minute": 10**6, "max_tokens_per_minute": 10**9, "max_concurrent_requests": IN_FLIGHT}
    asker = Asker(
        model_name="m",
        backend="openai",
        backend_params={"base_url": url, **limits},
        generation_params={"max_tokens": 64, "temperature": 0.0},
    )
    with tempfile.TemporaryDirectory() as folder:
        asker(Dataset.from_list([{"question": _messages(n)[0]["content"]} for n in range(count)]), working_dir=folder)


def whole(url: str, count: int) -> None:
    """All of `generate`: identity rows with question and answer written by the endpoint."""
    from identity_kit.generate import GenerateSettings, generate
    from identity_kit.llm.endpoint import Endpoint
    from identity_kit.persona import make_persona

    persona = make_persona(owner={"zh": "青禾书店", "en": "Greenfield Books"}, name={"zh": "小禾", "en": "Hetty"})
    settings = GenerateSettings(
        identity=count,
        contrast=0,
        rehearsal=0,
        written_share=1.0,
        answer_share=1.0,
        turn_shares=(1.0, 0.0, 0.0, 0.0),
        tries=4,
    )
    endpoint = Endpoint(base_url=url, model="m", concurrency=IN_FLIGHT, structured="json_object")
    with tempfile.TemporaryDirectory() as folder:
        result = generate(persona, Path(folder), settings, writer=endpoint)
    print(
        json.dumps({"accepted": result.accepted, "rejected": result.rejected, "reasons": result.reasons}),
        file=sys.stderr,
    )


WAYS: dict[str, Callable[[str, int], Any]] = {
    "identity_kit client": lambda url, count: asyncio.run(ours(url, count)),
    "identity_kit generate": whole,
    "bare aiohttp": lambda url, count: asyncio.run(bare(url, count)),
    "openai SDK, aiohttp": lambda url, count: asyncio.run(sdk(url, count, fast=True)),
    "openai SDK, default": lambda url, count: asyncio.run(sdk(url, count, fast=False)),
    "10 threads, no retry": threads,
    "curator": curator,
}

SHORTER = {"openai SDK, aiohttp": 4, "openai SDK, default": 4, "10 threads, no retry": 16, "curator": 4}


def one(way: str, url: str, count: int) -> None:
    """One way, once it is warm: its seconds and processor time a request, on stdout."""
    WAYS[way](url, min(count, 64))
    before, started = time.process_time(), time.monotonic()
    WAYS[way](url, count)
    spent = time.monotonic() - started
    figures = {
        "way": way,
        "requests": count,
        "seconds": round(spent, 2),
        "per_second": round(count / spent, 1),
        "of_ideal": round(count / spent / (IN_FLIGHT / LATENCY), 3),
        "cpu_ms": round((time.process_time() - before) / count * 1e3, 3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    print(json.dumps(figures), flush=True)


def _child(way: str, url: str, count: int, python: str = sys.executable) -> dict[str, Any]:
    """`one` in a process of its own; its figures."""
    command = [python, __file__, "one", "--way", way, "--url", url, "--count", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{way}: {done.stderr.strip()}")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def speed(count: int, rounds: int, curator_python: str | None) -> None:
    """Every way in turn against the same server, several times over, since a machine's pace changes; the medians."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS if way != "curator" or curator_python}
    with server("--latency", str(LATENCY)) as url:
        for _ in range(rounds):
            for way, figures in found.items():
                # A slow way shows its rate in fewer requests.
                python = curator_python if way == "curator" and curator_python else sys.executable
                figures.append(_child(way, url, count // SHORTER.get(way, 1), python))
                print(json.dumps(figures[-1]), file=sys.stderr, flush=True)
    for way, figures in found.items():
        medians = {
            key: statistics.median(each[key] for each in figures) for key in ("per_second", "of_ideal", "cpu_ms")
        }
        print(json.dumps({"way": way, "rounds": rounds, **medians}), flush=True)


def limit(seconds: float) -> None:
    """600 requests a minute, told in three ways."""
    for told, options, rpm in (("flag", (), 600.0), ("headers", ("--tell-limits",), None), ("nothing", (), None)):
        with tempfile.TemporaryDirectory() as folder:
            stats = Path(folder) / "stats.json"
            with server("--latency", "0.2", "--rpm", "600", "--stats", str(stats), *options) as url:
                asyncio.run(_for(url, rpm, seconds))
                time.sleep(0.8)
                served = json.loads(stats.read_text())
        asked = served["served"] + served["refused"]
        # The server starts with ten requests to spare.
        print(
            json.dumps(
                {
                    "limit_told_by": told,
                    "seconds": seconds,
                    "served": served["served"],
                    "of_limit": round(served["served"] / (seconds * 10 + 10), 3),
                    "refused_share": round(served["refused"] / max(1, asked), 4),
                }
            ),
            flush=True,
        )


async def _for(url: str, rpm: float | None, seconds: float) -> None:
    from identity_kit.llm.client import Client
    from identity_kit.llm.cost import Meter
    from identity_kit.llm.endpoint import Endpoint
    from identity_kit.llm.journal import Journal

    endpoint = Endpoint(base_url=url, model="m", concurrency=IN_FLIGHT, rpm=rpm, firm_limits=rpm is not None)
    with tempfile.TemporaryDirectory() as folder:
        async with Journal(Path(folder) / "journal.jsonl") as journal, Client(endpoint, journal, Meter()) as client:
            work = _many(1_000_000, lambda n: client.ask(_messages(n), max_tokens=64, temperature=0.0))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(work, seconds)


def memory(small: int, large: int) -> None:
    """Peak memory of whole runs of two sizes."""
    peaks = []
    with server() as url:
        for count in (small, large):
            figures = _child("identity_kit generate", url, count)
            peaks.append(figures["peak_mb"])
            print(json.dumps({"rows": count, "peak_mb": figures["peak_mb"], "seconds": figures["seconds"]}), flush=True)
    print(json.dumps({"ratio": round(peaks[1] / peaks[0], 3)}), flush=True)


def main() -> None:
    """Run the benchmarks that were named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["speed", "limit", "memory"])
    parser.add_argument("--count", type=int, default=12_800, help="requests of each speed run; slow ways take fewer")
    parser.add_argument("--rounds", type=int, default=3, help="speed runs of each way, of which the median is told")
    parser.add_argument("--curator", metavar="PYTHON", help="an interpreter that has bespokelabs-curator")
    parser.add_argument("--seconds", type=float, default=120.0, help="length of each limit run")
    parser.add_argument("--rows", type=int, nargs=2, default=(10_000, 100_000), help="the two sizes of the memory run")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.what == ["one"]:
        one(args.way, args.url, args.count)
        return
    if "speed" in args.what:
        speed(args.count, args.rounds, args.curator)
    if "limit" in args.what:
        limit(args.seconds)
    if "memory" in args.what:
        memory(*args.rows)


if __name__ == "__main__":
    main()
