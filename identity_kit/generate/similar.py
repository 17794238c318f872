"""Near-duplicates among any number of rows, in memory that does not grow: the index lies in a temporary file."""

from __future__ import annotations

import functools
import hashlib
import math
import sqlite3
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from identity_kit.text import normalise, similarity

_BANDS = 16
# A pair that is just alike enough has a band in common with a chance of 1 - (1 - 0.3)^16 = 0.997.
_BAND_CHANCE = 0.3
_WIDEST = 12
# Candidates looked at for one text, those first that share most bands. Only a question that is asked over and over has
# more. After so many whose questions proved unlike, the rest share a band by chance.
_MOST, _UNLIKE = 100, 12


class Seen:
    """The texts accepted so far, in groups; finds an earlier one that is the same or nearly.

    Texts are compared normalised (NFKC, lower case, letters and digits alone): equal ones are duplicates, and so are
    those whose padded character 3-grams have a Jaccard similarity of at least `threshold`, question and answer both.
    Padding gives texts of two or three Chinese characters 3-grams too. Only rows whose questions share a band of their
    MinHash signatures are compared in full (Broder 1997; banding as in Leskovec, Rajaraman & Ullman, Mining of Massive
    Datasets, 3.4), so that a row costs the same however many came before it and whatever phrases they repeat. Answers
    have no part in it: all of them name the same owner.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        width = _WIDEST if threshold >= 1 else int(math.log(_BAND_CHANCE) / math.log(threshold))
        # Odd multipliers from a fixed seed: multiply-shift hashing, the same in every process.
        chance = np.random.default_rng(0)
        self._hashes = chance.integers(1 << 63, size=(_BANDS, min(_WIDEST, max(1, width))), dtype=np.uint64) * 2 + 1
        self._mixers = chance.integers(1 << 63, size=self._hashes.shape, dtype=np.uint64) * 2 + 1
        # An empty name is SQLite's private temporary file, which goes with the connection.
        self._base = sqlite3.connect("", isolation_level=None)
        self._base.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-2048; PRAGMA temp_store=FILE;"
            "CREATE TABLE texts (id INTEGER PRIMARY KEY, label TEXT, question TEXT, answer TEXT);"
            "CREATE TABLE bands (band INTEGER, id INTEGER, PRIMARY KEY (band, id)) WITHOUT ROWID;"
            "BEGIN"
        )
        self._look = (
            f"SELECT id FROM bands WHERE band IN ({','.join('?' * _BANDS)})"
            f" GROUP BY id ORDER BY count(*) DESC, id LIMIT {_MOST}"
        )

    def __enter__(self) -> Seen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()

    def add(self, group: str, label: str, question: str, answer: str = "") -> str | None:
        """Take a text in; returns the label of the earlier one instead where it repeats that."""
        question, answer = normalise(question), normalise(answer)
        bands = self._bands(group, question)
        unlike = 0
        for candidate in self._base.execute(self._look, bands).fetchall():
            earlier, other_question, other_answer = self._base.execute(
                "SELECT label, question, answer FROM texts WHERE id = ?", candidate
            ).fetchone()
            if not self._alike(question, other_question):
                unlike += 1
                if unlike == _UNLIKE:
                    break
            elif self._alike(answer, other_answer):
                return str(earlier)
        row = self._base.execute(
            "INSERT INTO texts (label, question, answer) VALUES (?, ?, ?)", (label, question, answer)
        ).lastrowid
        self._base.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", [(band, row) for band in bands])
        return None

    def _alike(self, a: str, b: str) -> bool:
        return a == b or similarity(_grams(a), _grams(b)) >= self.threshold

    def _bands(self, group: str, plain: str) -> list[int]:
        """A text's bands, 63-bit numbers: each a hash of some of its signature's minima."""
        # Each 3-gram as one number, three code points of 21 bits, with its bits mixed.
        points = np.frombuffer(_padded(plain).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
        codes: NDArray[np.uint64] = points[:-2] << np.uint64(42) | points[1:-1] << np.uint64(21) | points[2:]
        codes ^= codes >> np.uint64(31)
        codes *= np.uint64(0x9E3779B97F4A7C15)
        codes ^= codes >> np.uint64(29)
        minima = (codes[:, None, None] * self._hashes).min(axis=0)
        minima ^= minima >> np.uint64(32)
        bands = (minima * self._mixers).sum(axis=1, dtype=np.uint64) ^ np.uint64(_hash(group))
        found: list[int] = (bands >> np.uint64(1)).tolist()
        return found


def _padded(plain: str) -> str:
    return f"^{plain}$".ljust(3)


@functools.lru_cache(maxsize=256)
def _grams(plain: str) -> frozenset[str]:
    """The padded 3-grams of a text that is normalised already."""
    padded = _padded(plain)
    return frozenset(padded[i : i + 3] for i in range(len(padded) - 2))


def _hash(text: str) -> int:
    """A 64-bit hash that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
