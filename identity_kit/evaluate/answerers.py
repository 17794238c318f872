"""Models that answer probes: a Hugging Face folder decoded in process."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from identity_kit.evaluate.ask import Answerer, Done, Turns
from identity_kit.evaluate.judge import Answer
from identity_kit.models.memory import give_back_memory

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
            thinking=False,
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
