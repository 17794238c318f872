"""From a model's name to something that answers probes: folder, run, adapter, GGUF, embedded, or an endpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from identity_kit.errors import BadInput
from identity_kit.evaluate.answerers import folder_answerer, resident
from identity_kit.evaluate.ask import Answerer
from identity_kit.evaluate.endpoint import endpoint_answerer
from identity_kit.evaluate.judge import Answer
from identity_kit.evaluate.retention import Costs, paragraph_costs
from identity_kit.files import sha256_file
from identity_kit.llm.endpoint import checked_address, shown_address
from identity_kit.models.fingerprint import folder_fingerprint
from identity_kit.ui import tr


@dataclass(frozen=True)
class Subject:
    """A model to evaluate.

    Args:
        name: as the user gave it.
        answer: answers conversations.
        fingerprint: the SHA-256 of its files; for an endpoint, its address and model name.
        folder, adapter: its files, where it is decoded in process; None for a GGUF or an endpoint.
        template: the chat template as text, where it is known.
    """

    name: str
    answer: Answerer
    fingerprint: str
    folder: Path | None = None
    adapter: Path | None = None
    template: str = ""

    def paragraph_costs(self, texts: Mapping[str, str]) -> dict[str, Costs]:
        """Bits and bytes of the texts' paragraphs by language; empty where the model is not decoded in process."""
        return paragraph_costs(*resident(self.folder, self.adapter), texts) if self.folder else {}


def folder_subject(name: str, folder: Path, *, adapter: Path | None = None) -> Subject:
    """A Hugging Face folder, or a base with an adapter on top, decoded in process; loaded when first needed."""

    return Subject(
        name=name,
        answer=folder_answerer(folder, adapter=adapter),
        fingerprint=folder_fingerprint(folder, adapter=adapter),
        folder=folder,
        adapter=adapter,
        template=_template(folder),
    )


def unopened(name: str) -> Subject:
    """A model to count with, as a dry run does: it is looked for nowhere and answers nothing."""

    def answer(*_: object, **__: object) -> list[Answer]:
        raise AssertionError("a model that is only counted with was asked")

    return Subject(name=name, answer=answer, fingerprint="")


def endpoint_fingerprint(base_url: str, model: str) -> str:
    """What answers of an endpoint are kept under: its address, without what signs in to it, and the model's name."""
    return f"{shown_address(base_url)} {model}"


@contextlib.contextmanager
def open_subject(
    name: str,
    *,
    hub: Literal["hf", "modelscope"] = "hf",
    base_url: str = "",
    api_key: str = "",
    key_variable: str = "",
    base: str = "",
) -> Iterator[Subject]:
    """The model called `name`, ready to answer until the block ends.

    Args:
        base_url: an OpenAI-compatible endpoint; `name` is then the model's name there.
        api_key, key_variable: the endpoint's key, and where it was read.
        base: what an adapter goes on, where its own configuration does not lead to a folder.

    Raises:
        BadInput: no such model, or an adapter whose base is nowhere.
        Stopped: it could not be fetched, or its server did not start.
    """
    if base_url:
        base_url = checked_address(base_url)
        answer = endpoint_answerer(base_url, name, api_key=api_key, key_variable=key_variable)
        yield Subject(name, answer, endpoint_fingerprint(base_url, name))
        return
    from identity_kit.models.resolve import hf_folder, resolve

    ref = resolve(name, hub=hub)
    if ref.kind == "adapter":
        folder = ref.folder or (hf_folder(base, hub=hub) if base else None)
        if folder is None:
            raise BadInput(
                tr("这个适配器的底模不在本机", "the adapter's base model is not on this machine"),
                where=name,
                fix=tr("用 --base 指出底模", "name it with --base"),
            )
        yield folder_subject(name, folder, adapter=ref.adapter)
    elif ref.gguf is not None and ref.embedded is None:
        from identity_kit.models.server import local_server

        with local_server(ref.gguf) as server:
            answer = endpoint_answerer(server.base_url, name, concurrency=server.slots)
            yield Subject(name, answer, sha256_file(ref.gguf))
    else:
        yield folder_subject(name, hf_folder(name, hub=hub))


def _template(folder: Path) -> str:
    path = folder / "chat_template.jinja"
    return path.read_text(encoding="utf-8") if path.is_file() else ""
