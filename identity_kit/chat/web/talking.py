"""The models that the page talks to: loaded at the first question, one talk at a time, two kept at most."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator

from identity_kit.chat.engine import Engine, Messages, Piece, Settings, open_engine

KEPT = 2  # base and tuned


class Engines:
    """Engines by model name. One answers at a time, since two at once would only slow each other down."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, tuple[contextlib.ExitStack, Engine]] = OrderedDict()
        self._turn = threading.Lock()

    def stream(self, name: str, messages: Messages, settings: Settings, gone: threading.Event) -> Iterator[Piece]:
        """The answer of the model called `name`, until it ends or `gone` is set."""
        with self._turn:
            if gone.is_set():
                return
            pieces = self._engine(name).stream(messages, settings)
            with contextlib.closing(pieces):  # type: ignore[type-var]
                for piece in pieces:
                    yield piece
                    if gone.is_set():
                        return

    def _engine(self, name: str) -> Engine:
        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name][1]
        while len(self._open) >= KEPT:
            _, (stack, _) = self._open.popitem(last=False)
            stack.close()
        stack = contextlib.ExitStack()
        engine = stack.enter_context(open_engine(name))
        self._open[name] = (stack, engine)
        return engine

    def forget(self) -> None:
        """Close every engine and give the memory back, e.g. before a training starts."""
        with self._turn:
            while self._open:
                self._open.popitem()[1][0].close()


async def stream_in_thread(
    engines: Engines, name: str, messages: Messages, settings: Settings
) -> AsyncGenerator[Piece, None]:
    """`Engines.stream` for the event loop; leaving the iterator stops the model."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[Piece | BaseException | None] = asyncio.Queue()
    gone = threading.Event()

    def work() -> None:
        end: BaseException | None = None
        try:
            for piece in engines.stream(name, messages, settings, gone):
                loop.call_soon_threadsafe(pieces.put_nowait, piece)
        except BaseException as error:
            end = error
        with contextlib.suppress(RuntimeError):  # the loop may be closed by now
            loop.call_soon_threadsafe(pieces.put_nowait, end)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        while (item := await pieces.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        gone.set()
