"""A loopback endpoint over a Hugging Face folder, for models that have no GGUF file: requests that wait are one batch.

It speaks as much of the chat completions protocol as asking a model needs (messages, max_tokens, temperature, seed); to
serve a model to others, `idkit serve` starts a whole engine.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from identity_kit.models.decode import Reply, load_model, prompt_ids, reply
from identity_kit.models.server import LocalServer

BATCH = 32
_GATHER_SECONDS = 0.05


@dataclass
class _Request:
    messages: list[dict[str, str]]
    limit: int
    temperature: float
    seed: int
    answer: queue.Queue[Reply | Exception] = field(default_factory=lambda: queue.Queue(1))


@contextlib.contextmanager
def folder_server(folder: Path, *, batch: int = BATCH) -> Iterator[LocalServer]:
    """Serve the model in `folder` on a free loopback port until the block ends.

    Raises:
        BadInput: the folder holds no model that can be read.
    """
    model, tokenizer = load_model(folder)
    waiting: queue.Queue[_Request | None] = queue.Queue()
    worker = threading.Thread(target=_work, args=(model, tokenizer, waiting, batch), daemon=True)
    worker.start()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(tokenizer, waiting, folder.name))
    listener = threading.Thread(target=server.serve_forever, daemon=True)
    listener.start()
    try:
        yield LocalServer(base_url=f"http://127.0.0.1:{server.server_port}/v1", slots=batch, pid=0)
    finally:
        server.shutdown()
        server.server_close()
        waiting.put(None)
        worker.join()


def _work(model: Any, tokenizer: Any, waiting: queue.Queue[_Request | None], size: int) -> None:
    """Answer what waits, batch by batch; a batch shares its cap and its temperature."""
    held: _Request | None = None
    while (first := held or waiting.get()) is not None:
        batch, held = [first], None
        while len(batch) < size:
            try:
                following = waiting.get(timeout=_GATHER_SECONDS)
            except queue.Empty:
                break
            if following is None or _kind(following) != _kind(first):
                held = following
                if following is None:
                    waiting.put(None)
                break
            batch.append(following)
        try:
            answers = reply(
                model,
                tokenizer,
                [request.messages for request in batch],
                max_new_tokens=first.limit,
                temperature=first.temperature,
                seed=first.seed,
                batch_size=size,
            )
        except Exception as error:  # the client gets it as a 500; the next batch may do better
            for request in batch:
                request.answer.put(error)
            continue
        for request, answer in zip(batch, answers, strict=True):
            request.answer.put(answer)


def _kind(request: _Request) -> tuple[int, float, int]:
    return request.limit, request.temperature, request.seed


def _handler(tokenizer: Any, waiting: queue.Queue[_Request | None], name: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/v1/models":
                self._send(200, {"object": "list", "data": [{"id": name, "object": "model"}]})
            else:
                self._send(404, {"error": {"message": "not found"}})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path != "/v1/chat/completions":
                self._send(404, {"error": {"message": "not found"}})
                return
            try:
                asked = json.loads(body)
                request = _Request(
                    messages=[{"role": turn["role"], "content": turn["content"]} for turn in asked["messages"]],
                    limit=int(asked.get("max_completion_tokens") or asked.get("max_tokens") or 256),
                    temperature=float(asked.get("temperature") or 0.0),
                    seed=int(asked.get("seed") or 0),
                )
            except (ValueError, KeyError, TypeError) as error:
                self._send(400, {"error": {"message": f"bad request: {error}"}})
                return
            waiting.put(request)
            answer = request.answer.get()
            if isinstance(answer, Exception):
                self._send(500, {"error": {"message": str(answer)}})
            else:
                self._send(200, _completion(answer, len(prompt_ids(tokenizer, request.messages)), name))

        def _send(self, status: int, value: dict[str, Any]) -> None:
            content = json.dumps(value, ensure_ascii=False).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are not worth a line each."""

    return Handler


def _completion(answer: Reply, prompt_tokens: int, name: str) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": answer.text},
        "finish_reason": answer.finish_reason,
    }
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": answer.tokens,
        "total_tokens": prompt_tokens + answer.tokens,
    }
    return {"id": "idkit", "object": "chat.completion", "model": name, "choices": [choice], "usage": usage}
