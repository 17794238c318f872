"""OpenAI's batch API: many requests in a file, answered within a day at a lower price, resumable at every step.

The one place where the OpenAI SDK makes the requests: uploads, polling and downloads are few, and it knows their forms.
"""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from identity_kit.errors import Stopped
from identity_kit.files import read_json, write_json
from identity_kit.llm.endpoint import Endpoint
from identity_kit.llm.errors import ProviderError, explain, from_status
from identity_kit.llm.wire import Completion, parse_completion
from identity_kit.ui import tr

if TYPE_CHECKING:
    from openai import OpenAI

# OpenAI takes 50,000 requests and 200 MB a batch; others less.
MOST_REQUESTS, MOST_BYTES = 20_000, 90_000_000
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass(frozen=True)
class BatchRequest:
    """One request of a batch: the key that its answer is filed under, and its body."""

    key: str
    body: dict[str, Any]


class Batches:
    """The batches of a run that are not collected yet; their state is on disk in `state` before anything is sent.

    A kill at any moment loses none: a batch whose creation was not seen is found again by its tag.
    """

    def __init__(self, endpoint: Endpoint, state: Path, *, poll: float = 20.0) -> None:
        self.endpoint, self.state, self.poll = endpoint, state, poll
        self.open: list[dict[str, Any]] = read_json(state) if state.exists() else []

    def submit(self, requests: Sequence[BatchRequest]) -> None:
        """Send requests off, in as many batches as their number and size ask for.

        Raises:
            BadInput, Stopped: the endpoint refuses, or has no batch API.
        """
        for part in _parts(requests):
            entry = {"tag": uuid.uuid4().hex, "id": "", "requests": len(part)}
            self.open.append(entry)
            write_json(self.state, self.open)
            entry["id"] = self._create(part, str(entry["tag"]))
            write_json(self.state, self.open)

    def collect(self, report: Callable[[str], None]) -> Iterator[tuple[str, Completion | ProviderError]]:
        """Wait for every open batch and yield each answer, or why there is none, under its key; then forget the batch.

        The caller has an answer on disk before it asks for the next one: a batch is forgotten when all its were taken.

        Raises:
            Stopped: a batch failed as a whole.
        """
        with self._sdk() as sdk:
            self._find_lost(sdk)
            while self.open:
                entry = self.open[0]
                batch = self._wait(sdk, entry, report)
                for file in (batch.output_file_id, batch.error_file_id):
                    if file:
                        yield from self._answers(sdk, file)
                self.open.pop(0)
                write_json(self.state, self.open)
                if batch.status == "failed":
                    words = (
                        "; ".join(error.message or "" for error in (batch.errors.data or [])) if batch.errors else ""
                    )
                    raise Stopped(
                        tr(f"批处理失败：{words}", f"the batch failed: {words}"),
                        where=self.endpoint.where,
                        fix=tr("去掉 --batch 再运行同一条命令", "run the same command without --batch"),
                    )
        self.state.unlink(missing_ok=True)

    def _create(self, part: Sequence[BatchRequest], tag: str) -> str:
        import openai

        with self._sdk() as sdk, tempfile.TemporaryFile(dir=self.state.parent) as stream:
            for request in part:
                line = {"custom_id": request.key, "method": "POST", "url": "/v1/chat/completions", "body": request.body}
                stream.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            stream.seek(0)
            try:
                file = sdk.files.create(file=("requests.jsonl", stream), purpose="batch")
                batch = sdk.batches.create(
                    input_file_id=file.id,
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                    metadata={"identity_kit": tag},
                )
            except openai.OpenAIError as error:
                self.open.pop()
                write_json(self.state, self.open)
                raise explain(_typed(error, self.endpoint), self.endpoint.where, self.endpoint.key_variable) from None
            return batch.id

    def _find_lost(self, sdk: OpenAI) -> None:
        """Give batches whose creation was not seen their id back; forget those that never came to be."""
        lost = {entry["tag"]: entry for entry in self.open if not entry["id"]}
        if not lost:
            return
        for number, batch in enumerate(sdk.batches.list(limit=100)):
            if (tag := (batch.metadata or {}).get("identity_kit")) in lost:
                lost[tag]["id"] = batch.id
            if number > 1_000:
                break
        self.open = [entry for entry in self.open if entry["id"]]
        write_json(self.state, self.open)

    def _wait(self, sdk: OpenAI, entry: dict[str, Any], report: Callable[[str], None]) -> Any:
        import openai

        while True:
            try:
                batch = sdk.batches.retrieve(entry["id"])
            except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError):
                time.sleep(self.poll)
                continue
            except openai.OpenAIError as error:
                raise explain(_typed(error, self.endpoint), self.endpoint.where, self.endpoint.key_variable) from None
            counts = batch.request_counts
            done = f"{counts.completed}/{counts.total}" if counts else ""
            report(f"{entry['id']}: {batch.status} {done}".strip())
            if batch.status in _ENDED:
                return batch
            time.sleep(self.poll)

    def _answers(self, sdk: OpenAI, file: str) -> Iterator[tuple[str, Completion | ProviderError]]:
        with tempfile.TemporaryFile(dir=self.state.parent) as stream:
            with sdk.files.with_streaming_response.content(file) as response:
                for piece in response.iter_bytes():
                    stream.write(piece)
            stream.seek(0)
            for line in stream:
                value = json.loads(line)
                yield value["custom_id"], _outcome(value, self.endpoint)

    def _sdk(self) -> OpenAI:
        from openai import OpenAI

        return OpenAI(
            base_url=self.endpoint.base_url, api_key=self.endpoint.key.reveal() or "none", max_retries=3, timeout=300
        )


def _outcome(value: dict[str, Any], endpoint: Endpoint) -> Completion | ProviderError:
    response = value.get("response") or {}
    body = json.dumps(response.get("body") or value.get("error") or {}).encode()
    status = int(response.get("status_code") or 0)
    if status != 200:
        return from_status(status or 500, body, None, endpoint.redact)
    try:
        return parse_completion(body, endpoint.redact)
    except ProviderError as error:
        return error


def _typed(error: Any, endpoint: Endpoint) -> ProviderError:
    status = getattr(error, "status_code", 0)
    if not status:
        return ProviderError("connection", endpoint.redact(" ".join(str(error).split())[:200]))
    return from_status(status, error.response.content, None, endpoint.redact)


def _parts(requests: Sequence[BatchRequest]) -> Iterator[list[BatchRequest]]:
    part: list[BatchRequest] = []
    size = 0
    for request in requests:
        weight = len(json.dumps(request.body)) + 120
        if part and (len(part) >= MOST_REQUESTS or size + weight > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(request)
        size += weight
    if part:
        yield part
