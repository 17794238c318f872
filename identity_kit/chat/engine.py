"""Something that answers, word by word: a Hugging Face folder in this process, a GGUF in llama.cpp, or an endpoint."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from identity_kit.errors import BadInput, Stopped
from identity_kit.ui import say, tr

Messages = list[dict[str, str]]

# Tokens of conversation and answer together that the local server keeps for one talk.
CONTEXT = 4096


@dataclass(frozen=True)
class Settings:
    """How to decode. `temperature` 0 takes the most likely token each time; `max_tokens` bounds one answer."""

    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 0.9
    seed: int = 0


@dataclass(frozen=True)
class Piece:
    """A piece of an answer as it comes; the last one has `finish`: "stop", or "length" when the limit cut it."""

    text: str
    finish: Literal["stop", "length"] | None = None


@dataclass(frozen=True)
class Engine:
    """A model ready to answer.

    Attributes:
        label: the model's name as the user gave it.
        kind: what runs it: "transformers", "llama.cpp" or "endpoint".
        stream: answers a conversation piece by piece; closing the iterator stops the work behind it.
    """

    label: str
    kind: Literal["transformers", "llama.cpp", "endpoint"]
    stream: Callable[[Messages, Settings], Iterator[Piece]]


def answer(engine: Engine, messages: Messages, settings: Settings | None = None) -> str:
    """The whole answer at once."""
    return "".join(piece.text for piece in engine.stream(messages, settings or Settings()))


@contextlib.contextmanager
def open_engine(name: str, *, hub: Literal["hf", "modelscope"] = "hf", adapter: Path | None = None) -> Iterator[Engine]:
    """Load `name` (a MODEL, or the http address of an OpenAI-compatible endpoint) for the length of the block.

    Raises:
        BadInput: no such model.
        Stopped: the model could not be fetched or its server did not start.
    """
    if name.startswith(("http://", "https://")):
        yield Engine(name, "endpoint", endpoint_stream(name.rstrip("/")))
        return
    from identity_kit.models.resolve import resolve

    ref = resolve(name, hub=hub)
    if ref.folder is None and ref.gguf is not None:
        from identity_kit.models.server import local_server

        with local_server(ref.gguf, slots=1, context=CONTEXT) as server:
            yield Engine(name, "llama.cpp", endpoint_stream(server.base_url))
        return
    if ref.folder is None:
        raise BadInput(
            tr("这是单独的适配器，找不到它的底模", "this is an adapter alone, and its base model is not here"),
            where=name,
            fix=tr("先合并：idkit export --format hf", "merge it first: idkit export --format hf"),
        )
    yield Engine(
        name,
        "transformers",
        local_stream(ref.folder, adapter=adapter or (ref.adapter if ref.kind == "adapter" else None)),
    )


def local_stream(folder: Path, *, adapter: Path | None = None) -> Callable[[Messages, Settings], Iterator[Piece]]:
    """A stream over a model loaded into this process."""
    from identity_kit.models.decode import end_ids, load_model, prompt_ids

    model, tokenizer = load_model(folder, adapter=adapter)
    ends = end_ids(model, tokenizer)

    def stream(messages: Messages, settings: Settings) -> Iterator[Piece]:
        import torch
        from transformers import StoppingCriteria, StoppingCriteriaList

        inputs = torch.tensor([prompt_ids(tokenizer, messages)], device=model.device)
        pieces: queue.Queue[str | BaseException | Piece] = queue.Queue()
        stop = threading.Event()
        words = _Words(tokenizer, pieces)

        class _Asked(StoppingCriteria):
            def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
                return torch.full((input_ids.shape[0],), stop.is_set(), device=input_ids.device)

        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if settings.temperature > 0:
            sampling = {"do_sample": True, "temperature": settings.temperature, "top_p": settings.top_p}

        def work() -> None:
            try:
                torch.manual_seed(settings.seed)
                with torch.inference_mode():
                    model.generate(
                        inputs,
                        attention_mask=torch.ones_like(inputs),
                        max_new_tokens=settings.max_tokens,
                        streamer=words,
                        stopping_criteria=StoppingCriteriaList([_Asked()]),
                        eos_token_id=sorted(ends),
                        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(ends),
                        **sampling,
                    )
                pieces.put(Piece("", "stop" if words.ids and words.ids[-1] in ends else "length"))
            except BaseException as error:
                pieces.put(error)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        try:
            yield from _drain(pieces)
        finally:
            stop.set()
            worker.join()

    return stream


def _drain(pieces: queue.Queue[str | BaseException | Piece]) -> Iterator[Piece]:
    """The worker's pieces up to the last one."""
    while True:
        item = pieces.get()
        if isinstance(item, BaseException):
            raise Stopped(tr(f"解码出错：{item}", f"decoding failed: {item}")) from item
        if isinstance(item, Piece):
            yield item
            return
        yield Piece(item)


class _Words:
    """A `generate` streamer: turns ids into whole text; the bytes of half a character wait for the rest."""

    def __init__(self, tokenizer: Any, pieces: queue.Queue[str | BaseException | Piece]) -> None:
        self.tokenizer, self.pieces = tokenizer, pieces
        self.ids: list[int] = []
        self.shown = ""
        self.prompt = True

    def put(self, value: Any) -> None:
        if self.prompt:  # `generate` hands over the prompt first
            self.prompt = False
            return
        self.ids.extend(value.flatten().tolist())
        text = self.tokenizer.decode(self.ids, skip_special_tokens=True)
        if not text.endswith("\ufffd"):
            self._show(text)

    def end(self) -> None:
        self._show(self.tokenizer.decode(self.ids, skip_special_tokens=True))

    def _show(self, text: str) -> None:
        if len(text) > len(self.shown):
            self.pieces.put(text[len(self.shown) :])
            self.shown = text


def endpoint_stream(base_url: str, *, model: str = "") -> Callable[[Messages, Settings], Iterator[Piece]]:
    """A stream over an OpenAI-compatible endpoint; the key is taken from OPENAI_API_KEY when there is one."""
    import os

    import openai

    client = openai.OpenAI(
        base_url=base_url, api_key=os.environ.get("OPENAI_API_KEY") or "none", max_retries=0, timeout=600
    )
    chosen: list[str] = [model] if model else []

    def stream(messages: Messages, settings: Settings) -> Iterator[Piece]:
        try:
            if not chosen:
                chosen.append(next(iter(client.models.list())).id)
            request: Any = client.chat.completions.create(
                model=chosen[0],
                messages=messages,  # type: ignore[arg-type]
                stream=True,
                max_tokens=settings.max_tokens,
                temperature=settings.temperature,
                top_p=settings.top_p,
                seed=settings.seed,
            )
            with request as chunks:
                for chunk in chunks:
                    if chunk.choices:
                        choice = chunk.choices[0]
                        finish = choice.finish_reason
                        kind: Any = None if finish is None else "length" if finish == "length" else "stop"
                        yield Piece(choice.delta.content or "", kind)
        except openai.BadRequestError as error:
            raise BadInput(
                tr(f"模型不接受这段对话：{error.message}", f"the model refused this conversation: {error.message}"),
                fix=tr("用 /reset 重新开始", "start afresh with /reset"),
            ) from None
        except openai.OpenAIError as error:
            raise Stopped(
                tr(f"端点出错：{error}", f"the endpoint failed: {error}"),
                where=base_url,
                fix=tr("检查地址与密钥（OPENAI_API_KEY）", "check the address and the key (OPENAI_API_KEY)"),
            ) from None

    return stream


def open_pair(stack: contextlib.ExitStack, model: str, base: str | None, *, hub: Any = "hf") -> tuple[Engine, ...]:
    """The engines to talk to, base first; they live until `stack` closes.

    The base may be named `base`: then it is the one that the run at `model` was trained on.
    """
    names = [model] if base is None else [run_base(model) if base == "base" else base, model]
    engines = []
    for name in names:
        say(tr(f"载入 {name} …", f"loading {name} …"), style="dim")
        engines.append(stack.enter_context(open_engine(name, hub=hub)))
    if base == "base":
        engines[0] = replace(engines[0], label=tr("底模", "base"))
    return tuple(engines)


def run_base(model: str) -> str:
    """The base model's name that a run's run.json records.

    Raises:
        BadInput: it is no run folder, or the file does not say.
    """
    from identity_kit.files import read_json

    path = Path(model) / "run.json"
    record = read_json(path) if path.is_file() else {}
    base = (record.get("base") or {}).get("name")
    if not base:
        raise BadInput(
            tr("不知道它的底模", "its base model is not known"),
            where=model,
            fix=tr("写明 --compare 底模", "name it: --compare BASE"),
        )
    return str(base)
