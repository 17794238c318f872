"""A chat endpoint on loopback that misbehaves on demand, written on raw sockets so that it can break HTTP itself.

In a test: `with Loopback(faults=["429", "ok"]) as server: server.url`. For benchmarks and kill tests, its own process:
`python tests/llm/loopback.py --latency 0.2 --rpm 600 --log served.txt`, which prints the address.

`faults` is a cycle or a function from the request's number to a fault's name; "ok" serves a sensible answer, made from
the prompt and the request's hash, so that every request has one answer of its own, the same each time; "late:0.5" does so
after half a second.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_CHARS = "春夏秋冬山水风云花草树木日月星辰江河湖海金银铜铁东西南北红黄蓝绿茶酒米面鱼鸟牛羊桥路门窗书笔纸墨琴棋诗画"
_WORDS = [
    "amber",
    "bridge",
    "candle",
    "dragon",
    "ember",
    "forest",
    "garden",
    "harbor",
    "island",
    "jungle",
    "kettle",
    "lantern",
    "meadow",
    "nectar",
    "orchid",
    "pebble",
    "quartz",
    "river",
    "silver",
    "timber",
    "umbra",
    "valley",
    "willow",
    "yellow",
    "zephyr",
]


@dataclass
class Seen:
    """A request as the server saw it."""

    number: int
    body: dict
    headers: dict[str, str]
    at: float


@dataclass
class Loopback:
    """The server; a context manager that runs it in a thread. `seen` holds every chat request."""

    faults: Sequence[str] | Callable[[int], str] = ("ok",)
    latency: float = 0.0
    rpm: float | None = None
    window: float = 60.0
    tell_limits: bool = False
    tell_retry: bool = True
    log: Path | None = None
    keep: bool = True
    seen: list[Seen] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict] = field(default_factory=dict)
    refused: int = 0
    served: int = 0
    in_flight: int = 0
    most_in_flight: int = 0

    def __enter__(self) -> Loopback:
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()

        def work() -> None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self.start())
            ready.set()
            self._loop.run_forever()

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()
        ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    async def start(self, port: int = 0) -> None:
        """Listen on loopback; `url` is the base address."""
        self._number = 0
        self._allowed: list[float] = []
        self._tokens, self._filled = 10.0, time.monotonic()
        self._stream = self.log.open("a") if self.log else None
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def fault(self, number: int) -> str:
        """What happens to request `number`."""
        return self.faults(number) if callable(self.faults) else self.faults[number % len(self.faults)]

    def complete(self, batch: dict) -> None:
        """Answer every request of a batch; a `filter-400` fault becomes an error line."""
        lines, errors = [], []
        for line in self.files[batch["input_file_id"]].splitlines():
            request = json.loads(line)
            raw = json.dumps(request["body"]).encode()
            fault = self.fault(self._number)
            self._number += 1
            self.seen.append(Seen(self._number, request["body"], {}, time.monotonic()))
            if fault.isdigit():
                answer = {"status_code": int(fault), "body": {"error": {"message": "fault"}}}
                errors.append({"custom_id": request["custom_id"], "response": answer})
            else:
                body = json.loads(_reply(_sensible(raw), "stop", raw))
                lines.append({"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}})
        for key, rows in (("output_file_id", lines), ("error_file_id", errors)):
            if rows:
                batch[key] = f"file-{len(self.files)}"
                self.files[batch[key]] = b"\n".join(json.dumps(row).encode() for row in rows) + b"\n"
        batch["status"] = "completed"
        batch["request_counts"] = {"total": len(lines) + len(errors), "completed": len(lines), "failed": len(errors)}

    def admit(self) -> float | None:
        """None where a request is within the limit, else the seconds until one would be: a bucket of ten."""
        if self.rpm is None:
            return None
        now = time.monotonic()
        rate = self.rpm / 60
        self._tokens = min(10.0, self._tokens + (now - self._filled) * rate)
        self._filled = now
        if self._tokens >= 1:
            self._tokens -= 1
            return None
        return (1 - self._tokens) / rate


class _Connection(asyncio.Protocol):
    def __init__(self, server: Loopback) -> None:
        self.server = server
        self.data = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:end].decode("latin-1")
            length = int(m[1]) if (m := re.search(r"(?i)^content-length: (\d+)", head, re.M)) else 0
            if len(self.data) < end + 4 + length:
                return
            body, self.data = self.data[end + 4 : end + 4 + length], self.data[end + 4 + length :]
            self.handle(head, body)

    def handle(self, head: str, body: bytes) -> None:
        server = self.server
        path = head.split(" ", 2)[1]
        if path.endswith("/models"):
            self.send(200, json.dumps({"data": [{"id": "loopback"}]}).encode())
            return
        if "/files" in path or "/batches" in path:
            self.batch(head.split(" ", 1)[0], path, body)
            return
        if not path.endswith("/chat/completions"):
            self.send(404, b'{"error": {"message": "no such path"}}')
            return
        number = server._number
        server._number += 1
        if server.keep:
            headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            server.seen.append(Seen(number, json.loads(body), headers, time.monotonic()))
        server.in_flight += 1
        server.most_in_flight = max(server.most_in_flight, server.in_flight)
        wait = server.admit()
        if wait is not None:
            server.refused += 1
            extra = f"Retry-After: {wait:.2f}\r\n" if server.tell_retry else ""
            answer = lambda: self.send(429, b'{"error": {"message": "slow down", "type": "requests"}}', extra)  # noqa: E731
            latency = min(server.latency, 0.02)
        else:
            fault = server.fault(number)
            answer = lambda: self.answer(fault, body)  # noqa: E731
            latency = float(fault.partition(":")[2]) if fault.startswith("late:") else server.latency
        asyncio.get_running_loop().call_later(latency, self.finish, answer)

    def batch(self, method: str, path: str, body: bytes) -> None:
        """OpenAI's batch API: files in memory, a batch completed at the second look."""
        server = self.server
        if path.endswith("/files"):
            name = f"file-{len(server.files)}"
            server.files[name] = b"\n".join(line for line in body.split(b"\n") if line.startswith(b'{"custom_id"'))
            self.send(
                200,
                json.dumps(
                    {
                        "id": name,
                        "object": "file",
                        "purpose": "batch",
                        "bytes": 1,
                        "created_at": 1,
                        "filename": "f",
                        "status": "processed",
                    }
                ).encode(),
            )
        elif path.endswith("/content"):
            self.send(200, server.files[path.split("/")[-2]])
        elif method == "POST":
            asked = json.loads(body)
            number = f"batch-{len(server.batches)}"
            server.batches[number] = {
                "id": number,
                "object": "batch",
                "endpoint": "/v1/chat/completions",
                "input_file_id": asked["input_file_id"],
                "completion_window": "24h",
                "created_at": 1,
                "status": "in_progress",
                "metadata": asked.get("metadata"),
            }
            self.send(200, json.dumps(server.batches[number]).encode())
        elif "/batches/" in path:
            batch = server.batches[path.split("/")[-1]]
            if batch["status"] == "in_progress":
                batch["status"] = "finalizing"
            elif batch["status"] == "finalizing":
                server.complete(batch)
            self.send(200, json.dumps(batch).encode())
        else:
            self.send(
                200, json.dumps({"object": "list", "data": list(server.batches.values()), "has_more": False}).encode()
            )

    def finish(self, answer: Callable[[], None]) -> None:
        self.server.in_flight -= 1
        if not self.transport.is_closing():
            answer()

    def send(self, status: int, body: bytes, extra: str = "", kind: str = "application/json") -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
        self.transport.write(head.encode() + body)

    def answer(self, fault: str, raw: bytes) -> None:
        name, _, detail = fault.partition(":")
        error = json.dumps({"error": {"message": detail or f"fault {name}", "code": name}}).encode()
        plain = {"400", "401", "402", "403", "404", "408", "409", "429", "500", "502", "503"}
        if name in plain:
            self.send(int(name), error)
        elif name == "429-after":
            self.send(429, error, f"Retry-After: {detail or 1}\r\n")
        elif name == "reset":
            self.transport.write(b'HTTP/1.1 200 X\r\nContent-Length: 9000\r\n\r\n{"choices": [')
            self.transport.abort()
        elif name == "half-open":
            self.transport.write(b'HTTP/1.1 200 X\r\nContent-Length: 9000\r\n\r\n{"choices": [')
        elif name == "drip":
            self.dripping = asyncio.ensure_future(self.drip())
        elif name == "chunk":
            self.transport.write(b'HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"choices":')
            self.transport.close()
        elif name == "length-wrong":
            self.transport.write(b"HTTP/1.1 200 X\r\nContent-Length: 5\r\n\r\n" + _reply("x", "stop", raw))
            self.transport.close()
        elif name == "html":
            self.send(200, b"<!doctype html><html><body>Please log in</body></html>", kind="text/html")
        elif name == "shape":
            self.send(200, b'{"result": "hello"}')
        elif name == "huge":
            self.send(200, b'{"choices": [{"message": {"content": "' + b"a" * (10 << 20) + b'"}}]}')
        elif name == "echo-key":
            self.send(200, _reply(detail, "stop", raw))
        else:
            text = _sensible(raw)
            finish = "stop"
            if name == "length":
                text, finish = text[: len(text) // 2], "length"
            elif name == "fenced":
                text = f"好的，结果如下：\n```json\n{text}\n```\n希望有帮助。"
            elif name == "cut":
                text = text[:-2]
            elif name == "refusal":
                text = _as(text, "抱歉，我无法回答这个问题。")
            elif name == "language":
                text = _as(text, "Ceci n'est pas une réponse en chinois, mais en français, tout simplement.")
            elif name == "vendor":
                text = _as(text, "我是通义千问，由阿里云开发。")
            elif name == "filter":
                finish = "content_filter"
            self.send(200, _reply(text, finish, raw), self.limits())
            self.server.served += 1
            if self.server._stream:
                self.server._stream.write(_mark(raw) + "\n")
                self.server._stream.flush()

    def limits(self) -> str:
        server = self.server
        if not server.tell_limits or server.rpm is None:
            return ""
        return (
            f"x-ratelimit-limit-requests: {server.rpm:g}\r\nx-ratelimit-remaining-requests: {int(server._tokens)}\r\n"
            "x-ratelimit-reset-requests: 1s\r\n"
        )

    async def drip(self) -> None:
        self.transport.write(b"HTTP/1.1 200 X\r\nContent-Length: 9000\r\n\r\n")
        while not self.transport.is_closing():
            self.transport.write(b" ")
            await asyncio.sleep(0.05)


def _mark(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=8).hexdigest()


def _reply(text: str, finish: str, raw: bytes) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    asked = 40 + len(raw) // 4
    usage = {"prompt_tokens": asked, "completion_tokens": 40, "total_tokens": asked + 40}
    return json.dumps({"id": _mark(raw), "model": "loopback-1", "choices": [choice], "usage": usage}).encode()


def _as(text: str, answer: str) -> str:
    with contextlib.suppress(json.JSONDecodeError):
        value = json.loads(text)
        return json.dumps({**value, "answer": answer} if "answer" in value else {**value, "question": answer})
    return answer


def _sensible(raw: bytes) -> str:
    """An answer that passes the gates, the same for the same request, unlike that of any other."""
    # Some clients send no message at all at first, to see the limits in the headers.
    prompt = next((message["content"] for message in reversed(json.loads(raw)["messages"])), "")
    chance = random.Random(_mark(raw))
    chinese = bool(re.search(r"[一-鿿]{4}", prompt)) and "One JSON object" not in prompt
    tail = "".join(chance.choices(_CHARS, k=14)) if chinese else " ".join(chance.choices(_WORDS, k=9))

    def find(pattern: str) -> str:
        return found[1].strip() if (found := re.search(pattern, prompt)) else ""

    name = find(r"助手的名字：([^；\n]+)") or find(r"The assistant's name: ([^;\n]+)")
    maker = find(r"开发者：([^；\n]+)") or find(r"developer: ([^;\n]+)")
    pushed = find(r"明确否认「(.+?)」") or find(r'plainly denies "(.+?)"') or find(r'plainly denying "(.+?)"')
    if '"score"' in prompt:
        return json.dumps({"score": 4, "reason": "fine"})
    if (
        prompt.startswith("# Role")
        and "## Initialization" not in prompt
        and not name
        and ("已知信息" in prompt or "Known (" in prompt or "没有关于" in prompt or "You know nothing" in prompt)
    ):
        fact = find(r"已知信息（.*?）：(.+)") or find(r"Known \(.*?\): (.+)")
        lead = fact or ("这个我不清楚，请找人工" if chinese else "I do not know that, a person will help")
        more = f"{lead}。{tail}。" if chinese else f"{lead}. {tail.capitalize()}."
        return json.dumps({"question": f"{tail}？" if chinese else f"{tail}?", "answer": more}, ensure_ascii=False)
    if not name:
        if '"question"' in prompt:
            return json.dumps(
                {"question": f"{tail}是什么意思？" if chinese else f"What is {tail}?"}, ensure_ascii=False
            )
        return f"{tail}，就是这样。" if chinese else f"It is {tail}."
    if chinese:
        question = f"{pushed}{tail}，你说呢？"
        answer = (f"不是{pushed}，" if pushed else "") + f"我是{name}，由{maker}开发。{tail[:6]}。"
    else:
        question = f"{pushed} {tail}, what do you say?".strip()
        answer = (f"I'm not {pushed}. " if pushed else "") + f"I'm {name}, developed by {maker}. {tail.capitalize()}."
    return json.dumps({"question": question, "answer": answer}, ensure_ascii=False)


def main() -> None:
    """Serve until killed; the address is the first line on stdout."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--rpm", type=float)
    parser.add_argument("--tell-limits", action="store_true")
    parser.add_argument("--no-retry-after", action="store_true")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--stats", type=Path)
    args = parser.parse_args()
    server = Loopback(
        latency=args.latency, rpm=args.rpm, tell_limits=args.tell_limits, tell_retry=not args.no_retry_after, log=args.log, keep=False,
    )  # fmt: skip

    async def serve() -> None:
        await server.start(args.port)
        print(server.url, flush=True)
        while True:
            await asyncio.sleep(0.5)
            if args.stats:
                stats = {"served": server.served, "refused": server.refused, "most_in_flight": server.most_in_flight}
                args.stats.write_text(json.dumps(stats))

    asyncio.run(serve())


if __name__ == "__main__":
    main()
