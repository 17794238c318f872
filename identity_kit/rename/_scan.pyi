from collections.abc import Callable

class Scanner:
    def __init__(
        self,
        keys: list[bytes],
        news: list[bytes],
        starts: list[tuple[bytes, list[bytes], bool]],
        follows: list[bytes],
        leads: list[bytes],
        per_language: bool,
        articles: bool,
        allows: Callable[[bytes], bool],
    ) -> None: ...
    def scan(
        self, block: bytes, first: int
    ) -> tuple[list[bytes], list[int], int, int, dict[tuple[int, bytes], int]] | None: ...
