"""Token lengths of whole conversations, by a model's own tokenizer and chat template."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from identity_kit.conversation import Conversation
from identity_kit.errors import BadInput
from identity_kit.ui import tr


def token_counter(model: str) -> Callable[[Conversation], int]:
    """A function that counts a conversation's tokens as the model would read it.

    Args:
        model: any name that `idkit models` understands, or a folder with a tokenizer alone.

    Raises:
        BadInput: there is no tokenizer to be found.
    """
    from pathlib import Path

    from transformers import AutoTokenizer

    try:
        if (Path(model) / "tokenizer_config.json").is_file():
            folder = Path(model)
        else:
            from identity_kit.models.resolve import hf_folder

            folder = hf_folder(model)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(tr(f"没有可用的分词器：{reason}", f"no tokenizer to be had: {reason}"), where=model) from None

    def count(row: Conversation) -> int:
        messages = [{"role": m.role, "content": m.content} for m in row.messages]
        if tokenizer.chat_template is None:
            return sum(len(tokenizer(m["content"]).input_ids) + 4 for m in messages)
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        return len(tokenizer(text, add_special_tokens=False).input_ids)

    return count
