"""The one error of a model endpoint: what kind of failure, in whose words, whether trying again can help."""

from __future__ import annotations

import re
from typing import Any, Literal

from identity_kit.errors import BadInput, IdkitError, Stopped
from identity_kit.ui import tr

Kind = Literal[
    "rate_limited",  # 429: wait and go on, more slowly
    "overloaded",  # 503, 529: wait and go on
    "server",  # 408, 409, 5xx
    "timeout",
    "connection",
    "malformed",  # an answer that is no answer: HTML, wrong shape, cut off
    "filtered",  # the provider's content filter refused this one request
    "unsupported",  # 400 that names a parameter this endpoint has not
    "bad_request",  # 400, 422
    "auth",  # 401
    "quota",  # 402, or 429/403 that says the money is used up
    "forbidden",  # 403
    "not_found",  # 404
]
RETRYABLE: frozenset[str] = frozenset({"rate_limited", "overloaded", "server", "timeout", "connection", "malformed"})

_QUOTA = re.compile(
    r"insufficient[_ ]?(quota|balance|funds|credit)|exceeded[_ ]your[_ ]current[_ ]quota|exceeded_current_quota|billing|arrearage"
    r"|overdue|credit balance|out of credits|payment required|余额|欠费|额度(已)?(用|耗)尽|账户.{0,6}不足",
    re.IGNORECASE,
)
_FILTER = re.compile(
    r"content[_ ]?filter|content_policy|data_inspection_failed|inappropriate content|(?<![a-z])(?<!case[ -])sensitive|敏感|安全审核|不安全",
    re.IGNORECASE,
)
_UNSUPPORTED = re.compile(
    r"response_format|json_schema|json_object|guided|unsupported.{0,20}param|unknown.{0,20}(param|field)|unrecognized|extra_forbidden"
    r"|not permitted|max_completion_tokens|max_tokens.{0,30}not supported|seed",
    re.IGNORECASE,
)


class ProviderError(Exception):
    """A failed request.

    Args:
        kind: what went wrong.
        words: the provider's own words, keys taken out, shortened.
        status: the HTTP status; 0 where there was none.
        retry_after: seconds to wait that the provider asked for, if it did.
    """

    def __init__(self, kind: Kind, words: str, *, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(f"{kind}: {words}")
        self.kind, self.words, self.status, self.retry_after = kind, words, status, retry_after

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.kind in RETRYABLE


def from_status(status: int, body: bytes, retry_after: float | None, redact: Any = None) -> ProviderError:
    """The error behind an HTTP status that is not 200, told from its body where one status means several things."""
    words = provider_words(body)
    if redact:
        words = redact(words)
    kind: Kind
    if status == 429:
        kind = "quota" if _QUOTA.search(words) else "rate_limited"
    elif status == 402:
        kind = "quota"
    elif status == 401:
        kind = "auth"
    elif status == 403:
        kind = "quota" if _QUOTA.search(words) else "forbidden"
    elif status == 404:
        kind = "not_found"
    elif status in (503, 529):
        kind = "overloaded"
    elif status in (408, 409, 425) or status >= 500:
        kind = "server"
    elif _QUOTA.search(words):
        kind = "quota"
    elif _FILTER.search(words):
        kind = "filtered"
    elif status in (400, 422) and _UNSUPPORTED.search(words):
        kind = "unsupported"
    else:
        kind = "bad_request"
    return ProviderError(kind, words or f"HTTP {status}", status=status, retry_after=retry_after)


def provider_words(body: bytes) -> str:
    """The message inside an error body of any of the usual shapes, else the body's start, on one line."""
    import orjson

    text = body[:20_000].decode("utf-8", "replace")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        plain = re.sub(r"<[^>]{0,500}>", " ", text)
        return " ".join(plain.split())[:300]
    found = _message(value)
    return " ".join((found or text).split())[:300]


def _message(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value:
        return _message(value[0])
    if not isinstance(value, dict):
        return ""
    error = value.get("error", value)
    if isinstance(error, str):
        return error
    if not isinstance(error, dict):
        return _message(error)
    message = next((error[key] for key in ("message", "msg", "detail", "error_msg") if error.get(key)), "")
    code = next((str(error[key]) for key in ("code", "type", "status") if isinstance(error.get(key), str | int)), "")
    message = message if isinstance(message, str) else _message(message)
    # Which field is meant stands apart from the words, as a name (OpenAI) or as a path (pydantic).
    field = error.get("param") or error.get("loc")
    field = ".".join(map(str, field)) if isinstance(field, list) else field
    if message and isinstance(field, str) and field not in message:
        message = f"{field}: {message}"
    return f"{message} ({code})" if code and code not in message else message


def explain(error: ProviderError, where: str, key_variable: str = "") -> IdkitError:
    """The error as one line for the user, with the provider's words and what mends it."""
    said = tr(f"服务方说：{error.words}", f"the provider says: {error.words}")
    key = key_variable or tr("密钥变量", "the key's variable")
    again = tr("再运行同一条命令即可接着做", "then run the same command to go on")
    if error.kind == "auth":
        return BadInput(
            tr(f"密钥被拒绝（HTTP {error.status}）；{said}", f"the key was refused (HTTP {error.status}); {said}"),
            where=where,
            fix=tr(f"检查环境变量 {key}，{again}", f"check the environment variable {key}, {again}"),
        )
    if error.kind == "quota":
        return Stopped(
            tr(f"额度已用完；{said}", f"the quota is used up; {said}"),
            where=where,
            fix=tr(f"充值或换密钥，{again}", f"top it up or change the key, {again}"),
        )
    if error.kind == "not_found":
        return BadInput(
            tr(f"没有这个地址或模型（HTTP 404）；{said}", f"no such address or model (HTTP 404); {said}"),
            where=where,
            fix=tr("检查 --base-url（通常以 /v1 结尾）和 --llm", "check --base-url (it mostly ends in /v1) and --llm"),
        )
    if error.kind == "forbidden":
        return BadInput(
            tr(f"没有权限（HTTP 403）；{said}", f"not allowed (HTTP 403); {said}"),
            where=where,
            fix=tr("检查密钥的权限、地区或模型名", "check the key's rights, the region or the model's name"),
        )
    if error.kind in ("bad_request", "unsupported"):
        return BadInput(
            tr(f"请求被拒绝（HTTP {error.status}）；{said}", f"the request was refused (HTTP {error.status}); {said}"),
            where=where,
            fix=tr("检查 --llm 和提示词", "check --llm and the prompts"),
        )
    if error.kind == "connection":
        return Stopped(
            tr(f"连不上：{error.words}", f"cannot be reached: {error.words}"),
            where=where,
            fix=tr(f"检查地址和网络，{again}", f"check the address and the network, {again}"),
        )
    return Stopped(
        tr(f"一再失败（{error.kind}）：{error.words}", f"keeps failing ({error.kind}): {error.words}"),
        where=where,
        fix=tr(f"稍后{again}", f"wait a little, {again}"),
    )
