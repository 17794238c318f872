"""One look at an endpoint: does it answer, which models it has, which answer formats, which limits it tells."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace

import orjson

from identity_kit.llm.endpoint import Endpoint, shown_address
from identity_kit.llm.errors import ProviderError, explain
from identity_kit.llm.jsonout import parse_object
from identity_kit.llm.wire import Wire

_SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class EndpointReport:
    """What an endpoint can do.

    models: those it lists; empty where it has no list. model: the one that was asked. answer: what it said.
    seconds: the call took. structured: answer formats that it took and followed, strictest first. limits: its headers
    about rates. remarks: whatever did not work, in the provider's words.
    """

    base_url: str
    models: tuple[str, ...] = ()
    model: str = ""
    answer: str = ""
    seconds: float = 0.0
    structured: tuple[str, ...] = ()
    limits: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def works(self) -> bool:
        """Whether it gave a chat answer."""
        return bool(self.answer)


def probe_endpoint(endpoint: Endpoint) -> EndpointReport:
    """Ask for the model list, one word, and the same word as JSON: three calls of a few tokens.

    Raises:
        BadInput, Stopped: it cannot be reached, or refuses the key or the model; says what it said.
    """
    return asyncio.run(_probe(endpoint))


async def _probe(endpoint: Endpoint) -> EndpointReport:
    remarks: list[str] = []
    async with Wire(replace(endpoint, timeout=min(endpoint.timeout, 60.0))) as wire:
        try:
            models = await _models(wire, remarks)
            model = endpoint.model or (models[0] if models else "")
            body = {
                "model": model,
                "messages": [{"role": "user", "content": 'Reply with this JSON and nothing else: {"ok": true}'}],
                "max_tokens": 16,
                "temperature": 0,
            }
            started = time.monotonic()
            answer, headers = await wire.chat(body)
        except ProviderError as error:
            raise explain(error, endpoint.where, endpoint.key_variable) from None
        seconds = time.monotonic() - started
        structured = [kind for kind in ("json_schema", "json_object") if await _takes(wire, body, kind, remarks)]
    limits = {name.lower(): value for name, value in headers.items() if "ratelimit" in name.lower()}
    return EndpointReport(
        base_url=shown_address(endpoint.base_url),
        models=tuple(models),
        model=model,
        answer=answer.text.strip() or "(empty)",
        seconds=round(seconds, 3),
        structured=(*structured, "text"),
        limits=limits,
        remarks=tuple(remarks),
    )


async def _models(wire: Wire, remarks: list[str]) -> list[str]:
    status, _, content = await wire.get("/models")
    if status in (401, 403):
        from identity_kit.llm.errors import from_status

        raise from_status(status, content, None, wire.endpoint.redact)
    try:
        return [str(item["id"]) for item in orjson.loads(content)["data"]]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        remarks.append(f"no model list (HTTP {status})")
        return []


async def _takes(wire: Wire, body: dict[str, object], kind: str, remarks: list[str]) -> bool:
    """Whether the endpoint accepts an answer format and keeps to it."""
    form: dict[str, object] = {"type": kind}
    if kind == "json_schema":
        form["json_schema"] = {"name": "answer", "schema": _SCHEMA, "strict": True}
    try:
        answer, _ = await wire.chat({**body, "response_format": form})
    except ProviderError as error:
        remarks.append(f"{kind}: {error.words}")
        return False
    value, repairs = parse_object(answer.text, ("ok",))
    if value is None or repairs:
        remarks.append(f"{kind}: accepted, not followed")
        return False
    return True
