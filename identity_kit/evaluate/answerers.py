"""Models that answer probes: a Hugging Face folder decoded in process, or any OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from identity_kit.errors import BadInput, Stopped
from identity_kit.evaluate.ask import Answerer, Done, Turns
from identity_kit.evaluate.judge import Answer
from identity_kit.models.memory import give_back_memory
from identity_kit.ui import tr

if TYPE_CHECKING:
    from identity_kit.models.decode import Reply


def loaded_answerer(model: Any, tokenizer: Any, *, batch_size: int = 64) -> Answerer:
    """An answerer over a model that is already in memory."""
    from identity_kit.models.decode import reply

    def answer(
        conversations: Sequence[Turns],
        *,
        max_new_tokens: Sequence[int],
        temperature: float,
        seed: int,
        done: Done | None = None,
    ) -> list[Answer]:
        def made(one: Reply) -> Answer:
            return Answer(one.text, one.finish_reason, one.tokens)

        replies = reply(
            model,
            tokenizer,
            list(conversations),
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            temperature=temperature,
            seed=seed,
            done=lambda i, one: done(i, made(one)) if done else None,
        )
        return [made(one) for one in replies]

    return answer


def folder_answerer(folder: Path, *, adapter: Path | None = None, batch_size: int = 64) -> Answerer:
    """An answerer over a Hugging Face folder, loaded when the first answer is not in the journal."""

    def answer(conversations: Sequence[Turns], **options: Any) -> list[Answer]:
        return loaded_answerer(*resident(folder, adapter), batch_size=batch_size)(conversations, **options)

    return answer


_resident: dict[tuple[Path, Path | None], tuple[Any, Any]] = {}


def resident(folder: Path, adapter: Path | None = None) -> tuple[Any, Any]:
    """The model and tokenizer in memory; one model at a time, since two do not fit where one just does."""
    key = (folder, adapter)
    if key not in _resident:
        from identity_kit.models.decode import load_model

        release()
        _resident[key] = load_model(folder, adapter=adapter)
    return _resident[key]


def release() -> None:
    """Give back the memory of the model that is loaded, if any."""
    _resident.clear()
    gc.collect()
    give_back_memory()


def endpoint_answerer(
    base_url: str, model: str, *, api_key: str = "none", concurrency: int = 8, timeout: float = 600.0
) -> Answerer:
    """An answerer over an OpenAI-compatible endpoint.

    The answerer raises Stopped when the endpoint stays out of reach or refuses; answers already given are kept.
    """

    def answer(conversations: Sequence[Turns], **options: Any) -> list[Answer]:
        return asyncio.run(_ask_all(conversations, **options))

    async def _ask_all(
        conversations: Sequence[Turns],
        *,
        max_new_tokens: Sequence[int],
        temperature: float,
        seed: int,
        done: Done | None = None,
    ) -> list[Answer]:
        import openai

        gate = asyncio.Semaphore(concurrency)
        async with openai.AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=4, timeout=timeout) as client:

            async def one(number: int, turns: Turns) -> Answer:
                async with gate:
                    given = await client.chat.completions.create(
                        model=model,
                        messages=list(turns),  # type: ignore[arg-type]
                        max_tokens=max_new_tokens[number],
                        temperature=temperature,
                        seed=seed,
                    )
                choice = given.choices[0]
                tokens = given.usage.completion_tokens if given.usage else 0
                reason: Literal["stop", "length"] = "length" if choice.finish_reason == "length" else "stop"
                answered = Answer((choice.message.content or "").strip(), reason, tokens)
                if done:
                    done(number, answered)
                return answered

            tasks = [asyncio.create_task(one(number, turns)) for number, turns in enumerate(conversations)]
            try:
                return list(await asyncio.gather(*tasks))
            except openai.OpenAIError as error:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
                failure = BadInput if isinstance(error, openai.AuthenticationError) else Stopped
                raise failure(
                    tr(f"端点没有作答：{reason}", f"the endpoint does not answer: {reason}"),
                    where=base_url,
                    fix=tr(
                        "检查后重复同一条命令，已有的回答不会再问",
                        "check it and repeat the command; answers so far are kept",
                    ),
                ) from None

    return answer
