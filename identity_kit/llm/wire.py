"""One chat request over HTTP, and nothing else: no retry, no limit, no waiting.

Plain aiohttp and orjson instead of the OpenAI SDK's request path: at 128 requests in flight the SDK spends 2.4 to 4.7 ms
of processor time on each (header, option and response models), our whole client 0.6 ms, which is what lets one core keep
an endpoint busy. benchmarks/generate.py measures both. The SDK is used where time does not matter: batch files.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson

from identity_kit import __version__
from identity_kit.llm.endpoint import Endpoint, is_loopback
from identity_kit.llm.errors import ProviderError, from_status

# A chat answer beyond this is no answer; reading on would only cost memory.
MAX_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer: its text, why it ended ("stop", "length", "content_filter", …), the tokens it cost, and its model."""

    text: str
    finish: str
    tokens_in: int
    tokens_out: int
    model: str


class Wire:
    """The open connections to one endpoint; an async context manager."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.headers: Mapping[str, str] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Wire:
        endpoint = self.endpoint
        headers = {"Content-Type": "application/json", "User-Agent": f"identity-kit/{__version__}"}
        if endpoint.key:
            headers["Authorization"] = f"Bearer {endpoint.key.reveal()}"
        # One timer a request: `total` also ends a connection that went silent in mid-answer.
        timeout = aiohttp.ClientTimeout(total=endpoint.timeout, sock_connect=min(20.0, endpoint.timeout))
        self._session = aiohttp.ClientSession(
            # Our own limiter bounds what is in flight.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=25, ttl_dns_cache=300),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            timeout=timeout,
            proxy=_proxy(endpoint.base_url),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def chat(self, body: Mapping[str, Any]) -> tuple[Completion, Mapping[str, str]]:
        """One answer and the response's headers.

        Raises:
            ProviderError: any failure, typed; its words have the key taken out.
        """
        status, headers, content = await self._send("POST", "/chat/completions", orjson.dumps(body))
        if status != 200:
            raise from_status(status, content, retry_after(headers, content), self.endpoint.redact)
        return parse_completion(content, self.endpoint.redact), headers

    async def get(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        """A plain GET below the base address: status, headers, body."""
        return await self._send("GET", path, None)

    async def _send(self, method: str, path: str, data: bytes | None) -> tuple[int, Mapping[str, str], bytes]:
        assert self._session is not None, "a Wire is used inside `async with`"
        redact = self.endpoint.redact
        try:
            async with self._session.request(
                method, self.endpoint.url(path), data=data, allow_redirects=False
            ) as response:
                content = await _read(response)
                if 300 <= response.status < 400:
                    target = response.headers.get("Location", "")
                    raise ProviderError("not_found", redact(f"redirects to {target}"), status=response.status)
                return response.status, response.headers, content
        except (TimeoutError, aiohttp.ServerTimeoutError):
            raise ProviderError("timeout", f"no answer within {self.endpoint.timeout:g} s") from None
        except aiohttp.InvalidURL as error:
            raise ProviderError("not_found", redact(f"not an address: {error}")) from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError, ValueError) as error:
            words = " ".join(str(error).split())[:200] or type(error).__name__
            raise ProviderError("connection", redact(words)) from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    declared = response.headers.get("Content-Length", "")
    if declared.isdigit() and int(declared) <= MAX_BYTES:
        return await response.read()
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > MAX_BYTES:
            response.close()
            raise ProviderError("malformed", f"an answer of more than {MAX_BYTES >> 20} MiB", status=response.status)
        pieces.append(piece)
    return b"".join(pieces)


def parse_completion(content: bytes, redact: Callable[[str], str]) -> Completion:
    """The answer in a chat response's body.

    Raises:
        ProviderError: it is no chat answer, or an error in spite of its status.
    """
    try:
        value = orjson.loads(content)
        choice = value["choices"][0]
        text = choice["message"].get("content")
        if isinstance(text, list):
            text = "".join(part.get("text", "") for part in text)
        finish = choice.get("finish_reason") or "stop"
        usage = value.get("usage") or {}
        tokens_in, tokens_out = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        if not isinstance(text, str | None) or not isinstance(finish, str):
            raise TypeError
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError, ValueError):
        if _is_error(content):
            # Some gateways put an error into a 200; a refusal of this one request is no better for being asked again.
            refused = from_status(400, content, None, redact)
            raise (refused if refused.kind == "filtered" else from_status(500, content, None, redact)) from None
        start = " ".join(content[:120].decode("utf-8", "replace").split())
        raise ProviderError("malformed", redact(f"not a chat answer: {start}"), status=200) from None
    return Completion(redact(text or ""), finish, tokens_in, tokens_out, str(value.get("model") or ""))


def _is_error(content: bytes) -> bool:
    """Whether a body is a JSON object with an `error` in it."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and bool(value.get("error"))


def retry_after(headers: Mapping[str, str], content: bytes = b"") -> float | None:
    """Seconds to wait that a response asks for: Retry-After in seconds or as a date, or its `-ms` kin; at most an hour."""
    for name, scale in (("retry-after-ms", 0.001), ("Retry-After", 1.0)):
        value = headers.get(name)
        if not value:
            continue
        try:
            return min(3600.0, max(0.0, float(value) * scale))
        except ValueError:
            import email.utils

            try:
                moment = email.utils.parsedate_to_datetime(value).timestamp()
            except (TypeError, ValueError):
                continue
            return min(3600.0, max(0.0, moment - time.time()))
    return None


def _proxy(address: str) -> str | None:
    """The proxy that the environment names for an address, looked up once; never for this machine."""
    if is_loopback(address):
        return None
    scheme, _, rest = address.partition("://")
    host = rest.split("/", 1)[0]
    if proxy_bypass(host):
        return None
    proxies = getproxies()
    return proxies.get(scheme) or proxies.get("all")
