"""Where a model answers: address, model, key, limits and prices; presets by provider name."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml

from identity_kit.errors import BadInput
from identity_kit.resources import resource
from identity_kit.ui import tr

Structured = Literal["json_schema", "json_object", "text"]


class Secret:
    """A key that no log, traceback or `repr` shows."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself; for the request's header alone."""
        return self._value

    def redact(self, text: str) -> str:
        """The text with the key taken out."""
        return text.replace(self._value, "***") if len(self._value) >= 6 else text

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Secret(***)" if self._value else "Secret()"

    __str__ = __repr__

    def __reduce__(self) -> Any:
        raise TypeError("a key is not written anywhere")


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible chat endpoint.

    base_url: ends before `/chat/completions`. model: the name to ask for. key: sent as a bearer token; may be empty.
    provider: the preset's name, or "custom". key_variable: where the key was read, for messages.
    rpm, tpm: requests and tokens a minute that are known; None lets headers and refusals tell.
    firm_limits: the two were given by the user; headers may tighten them, not widen.
    concurrency: the most requests in flight.
    price_in, price_out: USD for a million tokens in and out; None where unknown.
    structured: the strictest answer format it has. extra: further fields of each request's body.
    timeout: seconds for one request. patience: seconds in all for one answer, tries and waits included.
    batch: whether it has OpenAI's batch API.
    """

    base_url: str
    model: str
    key: Secret = field(default_factory=lambda: Secret(""))
    provider: str = "custom"
    key_variable: str = ""
    rpm: float | None = None
    tpm: float | None = None
    firm_limits: bool = False
    concurrency: int = 16
    price_in: float | None = None
    price_out: float | None = None
    structured: Structured = "json_object"
    extra: tuple[tuple[str, Any], ...] = ()
    timeout: float = 120.0
    patience: float = 600.0
    batch: bool = False

    @property
    def free(self) -> bool:
        """Whether answers are known to cost nothing."""
        return self.price_in == 0 and self.price_out == 0

    @property
    def where(self) -> str:
        """The address and model, for messages and the manifest; never the key."""
        address = shown_address(self.base_url)
        return f"{address} ({self.model})" if self.model else address

    def redact(self, text: str) -> str:
        """The text without the key, and without what stands in the address for a password or a token."""
        for secret in (self.key, *_secrets_in(self.base_url)):
            text = secret.redact(text)
        return text

    def url(self, path: str) -> str:
        """The address of a request: the path goes below the base, before a query that the base may have."""
        base, mark, query = self.base_url.partition("?")
        return base.rstrip("/") + path + mark + query


def shown_address(address: str) -> str:
    """An address fit to be shown and stored: without user, password, query and fragment.

    >>> shown_address("https://me:secret@example.org/v1?token=abc")
    'https://example.org/v1'
    """
    scheme, mark, rest = re.split(r"[?#]", address, maxsplit=1)[0].partition("://")
    host, slash, path = rest.partition("/")
    return scheme + mark + host.rpartition("@")[2] + slash + path


def has_user(address: str) -> bool:
    """Whether an address brings a user name of its own, which the request then signs in with."""
    return "@" in address.partition("://")[2].partition("/")[0]


def _secrets_in(address: str) -> list[Secret]:
    try:
        parts = urlsplit(address)
    except ValueError:
        return []
    # The version that some services want there is a date, which an answer may well hold.
    values = [value for name, value in parse_qsl(parts.query) if name != "api-version"]
    user = parts.netloc.rpartition("@")[0]
    found = [user, parts.password or "", unquote(parts.password or ""), parts.query, *values]
    return [Secret(each) for each in found if each]


def own_endpoint(base_url: str, model: str, slots: int) -> Endpoint:
    """The endpoint of a model server that this process started: free, and as slow as the machine is.

    Its deadlines are long: a request given up is worked on all the same, and asking anew would make a busy machine
    slower still.
    """
    return Endpoint(
        base_url=base_url,
        model=model,
        concurrency=slots,
        price_in=0.0,
        price_out=0.0,
        timeout=1800.0,
        patience=7200.0,
    )


@dataclass(frozen=True)
class Preset:
    """What is known of a provider: see data/providers.yaml."""

    name: str
    base_url: str
    key_variable: str
    model: str
    structured: Structured
    rpm: float | None
    tpm: float | None
    concurrency: int
    batch: bool
    prices: dict[str, tuple[float, float]]


@functools.cache
def presets() -> dict[str, Preset]:
    """The providers of data/providers.yaml by name."""
    path = resource("data", "providers.yaml")
    found = {}
    for name, value in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        found[name] = Preset(
            name=name,
            base_url=value["base_url"],
            key_variable=value.get("key", ""),
            model=value.get("model", ""),
            structured=value.get("structured", "text"),
            rpm=value.get("rpm"),
            tpm=value.get("tpm"),
            concurrency=value.get("concurrency", 16),
            batch=value.get("batch", False),
            prices={model: (float(each[0]), float(each[1])) for model, each in (value.get("prices") or {}).items()},
        )
    return found


def make_endpoint(
    *,
    provider: str | None = None,
    base_url: str | None = None,
    model: str | None = None,
    key_variable: str | None = None,
    **given: Any,
) -> Endpoint:
    """An endpoint from a preset, an address, or both; what is given overrides the preset.

    Args:
        provider: a name of `presets()`.
        base_url: the address; `http://` or `https://`.
        model: the model's name at the provider.
        key_variable: the environment variable that holds the key; without a preset, OPENAI_API_KEY where it is set.
        given: other fields of `Endpoint`; None leaves the default.

    Raises:
        BadInput: unknown provider, no address, an address that is none, no model, or the key's variable is not set.
    """
    known = presets()
    if provider is not None and provider not in known:
        raise BadInput(
            tr(f"未知的服务方 {provider}", f"unknown provider {provider}"),
            where="--provider",
            fix=tr(f"可用：{'、'.join(known)}", f"known: {', '.join(known)}"),
        )
    preset = known.get(provider or "")
    address = (base_url or os.environ.get(_address_variable(provider)) or (preset.base_url if preset else "")).rstrip(
        "/"
    )
    if not address:
        raise BadInput(
            tr("没有接口地址", "no endpoint address"),
            fix=tr("加上 --base-url 或 --provider", "give --base-url or --provider"),
        )
    address = checked_address(address)
    name = model or (preset.model if preset else "")
    variable = key_variable or (preset.key_variable if preset else "")
    key = _read_key(
        variable, explicit=key_variable is not None or bool(preset and preset.key_variable), address=address
    )
    endpoint = Endpoint(
        base_url=address,
        model=name,
        key=Secret(key),
        provider=provider or "custom",
        key_variable=variable or "OPENAI_API_KEY",
    )
    if preset is not None:
        price = preset.prices.get(name, (None, None))
        endpoint = replace(
            endpoint,
            structured=preset.structured,
            rpm=preset.rpm,
            tpm=preset.tpm,
            concurrency=preset.concurrency,
            batch=preset.batch,
            price_in=price[0],
            price_out=price[1],
        )
    fields = {name: value for name, value in given.items() if value is not None}
    if fields.keys() & {"rpm", "tpm"}:
        fields["firm_limits"] = True
    return replace(endpoint, **fields)


def checked_address(address: str, *, where: str = "--base-url") -> str:
    """The address without what a request adds to it.

    Raises:
        BadInput: it is no web address.
    """
    base, mark, query = address.partition("?")
    base = base.rstrip("/").removesuffix("/chat/completions")
    try:
        host = urlsplit(base).hostname
    except ValueError:
        host = None
    if not base.startswith(("http://", "https://")) or not host:
        shown = shown_address(address)
        raise BadInput(
            tr(f"不是网址：{shown}", f"not a web address: {shown}"),
            where=where,
            fix=tr("例如 https://api.openai.com/v1", "for example https://api.openai.com/v1"),
        )
    return base + mark + query


def _address_variable(provider: str | None) -> str:
    return "OLLAMA_BASE_URL" if provider == "ollama" else "VLLM_BASE_URL" if provider == "vllm" else "IDKIT_BASE_URL"


def _read_key(variable: str, *, explicit: bool, address: str) -> str:
    value = os.environ.get(variable or "OPENAI_API_KEY", "").strip()
    if not value and explicit and not is_loopback(address):
        raise BadInput(
            tr(f"环境变量 {variable} 里没有密钥", f"the environment variable {variable} holds no key"),
            where="--api-key-env",
            fix=f"export {variable}=...",
        )
    check_key(value, variable)
    if not variable and is_loopback(address):
        # A key meant for another service is not handed to whatever listens here.
        return ""
    return value


def check_key(value: str, variable: str, *, where: str = "--api-key-env") -> None:
    """Refuse a key that no header can carry.

    Raises:
        BadInput: it has blanks, or characters beyond ASCII.
    """
    if any(not " " < c < "\x7f" for c in value):
        raise BadInput(
            tr(
                f"环境变量 {variable} 里的密钥含有空白或非 ASCII 字符",
                f"the key in {variable} has blanks or characters beyond ASCII",
            ),
            where=where,
        )


def is_loopback(address: str) -> bool:
    """Whether an address is this machine."""
    host = address.split("://", 1)[-1].split("/", 1)[0].rsplit("@", 1)[-1]
    host = host[1:].split("]", 1)[0] if host.startswith("[") else host.split(":", 1)[0]
    return host in ("localhost", "::1") or host.startswith("127.")
