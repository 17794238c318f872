"""Near-duplicates among any number of rows, in memory that does not grow: the index lies in a temporary file."""

from __future__ import annotations

import hashlib
import sqlite3
from types import TracebackType

from identity_kit.text import ngrams, normalise, similarity

# 12 bands of 2 hashes: a pair of likeness 0.85 shares a band with probability 1 - (1 - 0.85^2)^12 > 0.999999.
_BANDS, _ROWS = 12, 2
_MASK = (1 << 61) - 1
_FACTORS = tuple(
    int.from_bytes(hashlib.blake2b(f"band {i}".encode(), digest_size=7).digest()) | 1 for i in range(_BANDS * _ROWS)
)


class Seen:
    """The texts accepted so far, in groups; finds an earlier one that is the same or nearly.

    Texts are compared normalised (NFKC, lower case, letters and digits alone): equal ones are duplicates, and so are
    those whose padded character 3-grams have a Jaccard similarity of at least `threshold`. Padding gives texts of two
    or three Chinese characters 3-grams too. Candidates come from minhash bands (Broder 1997), then are compared in full.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        # An empty name is SQLite's private temporary file, which goes with the connection.
        self._base = sqlite3.connect("", isolation_level=None)
        self._base.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-4096; PRAGMA temp_store=FILE;"
            "CREATE TABLE texts (id INTEGER PRIMARY KEY, label TEXT, question TEXT, answer TEXT);"
            "CREATE TABLE bands (band INTEGER, id INTEGER, PRIMARY KEY (band, id)) WITHOUT ROWID;"
            "BEGIN"
        )

    def __enter__(self) -> Seen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()

    def find(self, group: str, question: str, answer: str = "") -> str | None:
        """The label of an earlier text of the group that this one repeats, or None.

        With an answer, both question and answer must be alike.
        """
        return self._look(group, question, answer)[0]

    def add(self, group: str, label: str, question: str, answer: str = "") -> str | None:
        """Take a text in; returns the label of the earlier one instead where it repeats that."""
        earlier, bands = self._look(group, question, answer)
        if earlier is not None:
            return earlier
        row = self._base.execute(
            "INSERT INTO texts (label, question, answer) VALUES (?, ?, ?)",
            (label, normalise(question), normalise(answer)),
        ).lastrowid
        self._base.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", [(band, row) for band in bands])
        return None

    def _look(self, group: str, question: str, answer: str) -> tuple[str | None, list[int]]:
        grams = ngrams(question)
        bands = _bands(group, grams)
        marks = ",".join("?" * len(bands))
        found = self._base.execute(
            f"SELECT label, question, answer FROM texts WHERE id IN (SELECT id FROM bands WHERE band IN ({marks}) LIMIT 400)",
            bands,
        ).fetchall()
        if not found:
            return None, bands
        plain_question, plain_answer, answer_grams = normalise(question), normalise(answer), ngrams(answer)
        for label, other_question, other_answer in found:
            same = other_question == plain_question or similarity(grams, ngrams(other_question)) >= self.threshold
            if same and (
                other_answer == plain_answer or similarity(answer_grams, ngrams(other_answer)) >= self.threshold
            ):
                return label, bands
        return None, bands


def _bands(group: str, grams: frozenset[str]) -> list[int]:
    """Hashes of pairs of minhashes; two sets share one with a probability that rises steeply with their likeness."""
    hashes = [hash_of(gram) for gram in grams]
    least = [min((value * factor) & _MASK for value in hashes) for factor in _FACTORS]
    salt = hash_of(group)
    return [hash((salt, band, *least[band * _ROWS : (band + 1) * _ROWS])) for band in range(_BANDS)]


def hash_of(text: str) -> int:
    """A 61-bit hash that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) & _MASK
