"""A loopback endpoint over a Hugging Face folder, which answers many requests in one batch.

It speaks as much of the chat completions protocol as asking a model needs (messages, max_tokens, temperature, seed); to
serve a model to others, `idkit serve` starts a whole engine.
"""

from __future__ import annotations

import contextlib
import json
import queue
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from identity_kit.errors import IdkitError
from identity_kit.models.decode import REFILL, Batch, Reply, load_model, prompt_ids
from identity_kit.models.server import LocalServer

BATCH = 64
_GATHER_SECONDS = 0.05  # how long the first request of an empty batch waits for others
_PATIENCE_STEPS = 16  # tokens that a few waiting requests let pass before they join: each joining costs a copy


@dataclass
class _Request:
    prompt: list[int]
    limit: int
    temperature: float
    seed: int
    answer: queue.Queue[Reply | Exception] = field(default_factory=lambda: queue.Queue(1))

    @property
    def kind(self) -> tuple[float, int]:
        """What the requests of a batch have in common."""
        return self.temperature, self.seed


@contextlib.contextmanager
def folder_server(folder: Path, *, batch: int = BATCH) -> Iterator[LocalServer]:
    """Serve the model in `folder` on a free loopback port until the block ends.

    The first request loads it: where a journal has all the answers, it is not loaded at all. If it cannot be, requests
    are answered with a 400 that says why, and the block's failure over that is told as what it is.

    Args:
        batch: how many requests are answered at once.

    Raises:
        BadInput: the folder holds no model that can be read.
    """
    model = _Model(folder)
    waiting: queue.Queue[_Request | None] = queue.Queue()
    worker = _Worker(model, waiting, batch)
    worker.start()
    server = _Server(("127.0.0.1", 0), _handler(model, waiting, folder.name))
    listener = threading.Thread(target=server.serve_forever, daemon=True)
    listener.start()
    try:
        yield LocalServer(base_url=f"http://127.0.0.1:{server.server_port}/v1", slots=batch, pid=0)
    except IdkitError as error:
        raise model.failed or error from None
    finally:
        server.shutdown()
        server.server_close()
        waiting.put(None)
        worker.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of ours; anything else is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Model:
    """A model and its tokenizer, loaded when first wanted; what cannot be loaded is tried once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failed: Exception | None = None
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    def loaded(self) -> tuple[Any, Any]:
        """The model and its tokenizer.

        Raises:
            BadInput: the folder holds no model that can be read.
        """
        with self._lock:
            if self.failed is not None:
                raise self.failed
            if self._loaded is None:
                try:
                    self._loaded = load_model(self.folder)
                except Exception as error:
                    self.failed = error
                    raise
            return self._loaded


class _Worker(threading.Thread):
    """Answers what waits; requests join the batch under way as others leave it. None in the queue ends the thread."""

    def __init__(self, model: _Model, waiting: queue.Queue[_Request | None], size: int) -> None:
        super().__init__(daemon=True)
        self.model, self.waiting, self.size = model, waiting, size
        self.joining: list[_Request] = []  # of the batch's kind, not read yet
        self.held: _Request | None = None  # of another kind: it begins the next batch
        self.over = False

    def run(self) -> None:
        """Batch after batch, until told to end."""
        from identity_kit.models.packed import packed_linears

        first = self.waiting.get()
        if first is None:
            return
        with packed_linears(self.model.loaded()[0], rows=self.size):
            while first is not None:
                self.joining = [first]
                under_way: dict[int, _Request] = {}
                try:
                    self._answer(first, under_way)
                except Exception as error:  # the clients get it as a 500; the next batch may do better
                    for request in [*under_way.values(), *self.joining]:
                        request.answer.put(error)
                first = None if self.over else self.held or self.waiting.get()
                self.held = None

    def _answer(self, first: _Request, under_way: dict[int, _Request]) -> None:
        import torch

        temperature, seed = first.kind
        model, tokenizer = self.model.loaded()
        batch = Batch(model, tokenizer, temperature=temperature, seed=seed)
        number, waited = 0, 0
        with torch.inference_mode():
            while self.joining or batch.rows:
                self._gather(first.kind, self.size - len(batch.rows), wait=not batch.rows)
                waited = waited + 1 if self.joining else 0
                finished = []
                due = batch.can_grow and (len(self.joining) >= self.size // REFILL or waited > _PATIENCE_STEPS)
                if self.joining and (due or not batch.rows):
                    numbers = list(range(number, number + len(self.joining)))
                    number, waited = number + len(numbers), 0
                    under_way.update(zip(numbers, self.joining, strict=True))
                    joining, self.joining = self.joining, []
                    prompts, limits = [one.prompt for one in joining], [one.limit for one in joining]
                    finished += batch.admit(numbers, prompts, limits)
                finished += batch.step()
                for row, ids, ended in finished:
                    text = tokenizer.decode(ids, skip_special_tokens=True).strip()
                    answer = Reply(text, "stop" if ended else "length", len(ids))
                    under_way.pop(row).answer.put(answer)

    def _gather(self, kind: tuple[float, int], room: int, *, wait: bool) -> None:
        """Take waiting requests of the batch's kind, as many as there is room for."""
        while len(self.joining) < room and self.held is None and not self.over:
            try:
                following = self.waiting.get(timeout=_GATHER_SECONDS) if wait else self.waiting.get_nowait()
            except queue.Empty:
                return
            if following is None:
                self.over = True
            elif following.kind != kind:
                self.held = following
            else:
                self.joining.append(following)


def _handler(model: _Model, waiting: queue.Queue[_Request | None], name: str) -> type[BaseHTTPRequestHandler]:
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
                _, tokenizer = model.loaded()
            except Exception as error:  # a 400, since to ask again would not help
                self._send(400, {"error": {"message": str(error) or type(error).__name__}})
                return
            try:
                asked = json.loads(body)
                turns = [{"role": turn["role"], "content": turn["content"]} for turn in asked["messages"]]
                request = _Request(
                    prompt=prompt_ids(tokenizer, turns),
                    limit=int(asked.get("max_completion_tokens") or asked.get("max_tokens") or 256),
                    temperature=float(asked.get("temperature") or 0.0),
                    seed=int(asked.get("seed") or 0),
                )
            except (ValueError, KeyError, TypeError, TemplateError) as error:
                self._send(400, {"error": {"message": f"bad request: {error}"}})
                return
            waiting.put(request)
            answer = request.answer.get()
            if isinstance(answer, Exception):
                self._send(500, {"error": {"message": str(answer)}})
            else:
                self._send(200, _completion(answer, len(request.prompt), name))

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
