"""Near-duplicates among any number of rows, in memory that does not grow: the index lies in a temporary file."""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable
from types import TracebackType

from identity_kit.generate.banks import answers, questions
from identity_kit.text import ngrams, normalise, similarity

_SLOT = re.compile(r"\{\{\w+\}\}")
# Rare 3-grams that a candidate must share; more of them make the index larger and candidates fewer.
_SHARED = 3
# Candidates looked at for one text. Only stock phrases have more.
_MOST = 100


class Seen:
    """The texts accepted so far, in groups; finds an earlier one that is the same or nearly.

    Texts are compared normalised (NFKC, lower case, letters and digits alone): equal ones are duplicates, and so are
    those whose padded character 3-grams have a Jaccard similarity of at least `threshold`. Padding gives texts of two
    or three Chinese characters 3-grams too. Of two texts so alike, the `n - ceil(threshold * n) + k`
    rarest 3-grams of each have k in common (prefix filtering, Chaudhuri 2006), so that only rows with k rare 3-grams in
    common and a like size are compared in full.
    """

    def __init__(self, threshold: float, common: Iterable[str] = ()) -> None:
        """`common` are texts that most rows hold, such as the persona's names: their 3-grams tell nothing apart."""
        self.threshold = threshold
        self._common = _common_grams() + Counter({gram: 1_000 for text in common for gram in ngrams(text)})
        # An empty name is SQLite's private temporary file, which goes with the connection.
        self._base = sqlite3.connect("", isolation_level=None)
        self._base.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-6144; PRAGMA temp_store=FILE;"
            "CREATE TABLE texts (id INTEGER PRIMARY KEY, label TEXT, question TEXT, answer TEXT);"
            "CREATE TABLE rare (gram INTEGER, size INTEGER, id INTEGER, PRIMARY KEY (gram, size, id)) WITHOUT ROWID;"
            "BEGIN"
        )

    def __enter__(self) -> Seen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()

    def add(self, group: str, label: str, question: str, answer: str = "") -> str | None:
        """Take a text in; returns the label of the earlier one instead where it repeats that.

        With an answer, both question and answer must be alike; the index is over questions.
        """
        plain_question, plain_answer = normalise(question), normalise(answer)
        question_grams, answer_grams = _grams(plain_question), _grams(plain_answer)
        size = len(question_grams)
        rare = self._rarest(group, question_grams, size - math.ceil(self.threshold * size) + _SHARED)
        for earlier, other_question, other_answer in self._candidates(rare, size):
            if (
                other_question == plain_question or similarity(question_grams, _grams(other_question)) >= self.threshold
            ) and (other_answer == plain_answer or similarity(answer_grams, _grams(other_answer)) >= self.threshold):
                return str(earlier)
        row = self._base.execute(
            "INSERT INTO texts (label, question, answer) VALUES (?, ?, ?)", (label, plain_question, plain_answer)
        ).lastrowid
        self._base.executemany("INSERT OR IGNORE INTO rare VALUES (?, ?, ?)", [(gram, size, row) for gram in rare])
        return None

    def _rarest(self, group: str, grams: frozenset[str], count: int) -> list[int]:
        """Hashes of the `count` 3-grams that come first when common ones are put last."""
        common = self._common
        hashed = sorted((common.get(gram, 0), _hash(gram)) for gram in grams)
        salt = _hash(group)
        return [number ^ salt for _, number in hashed[:count]]

    def _candidates(self, rare: list[int], size: int) -> list[tuple[str, str, str]]:
        least, most = math.ceil(size * self.threshold), int(size / self.threshold)
        marks = ",".join("?" * len(rare))
        return self._base.execute(
            f"SELECT label, question, answer FROM texts WHERE id IN (SELECT id FROM rare WHERE gram IN ({marks})"
            " AND size BETWEEN ? AND ? GROUP BY id HAVING count(*) >= ? LIMIT ?)",
            (*rare, least, most, min(_SHARED, least), _MOST),
        ).fetchall()


@functools.cache
def _common_grams() -> Counter[str]:
    """How many of the banks' questions and answer forms hold each 3-gram."""
    counts: Counter[str] = Counter()
    for language in ("zh", "en"):
        forms = answers(language)  # type: ignore[arg-type]
        shapes = (texts for facet in forms.facets.values() for texts in facet.values())
        for form in itertools.chain(forms.identity, forms.offer, *shapes):
            counts.update(ngrams(_SLOT.sub("", form)))
    for bank in ("identity", "contrast", "ordinary"):
        for language in ("zh", "en"):
            for question in questions(bank, language):  # type: ignore[arg-type]
                counts.update(ngrams(question.text))
                for form in question.answers:
                    counts.update(ngrams(_SLOT.sub("", form)))
    return counts


@functools.lru_cache(maxsize=20_000)
def _hash(text: str) -> int:
    """A 62-bit hash that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 2


@functools.lru_cache(maxsize=2_000)
def _grams(plain: str) -> frozenset[str]:
    """The padded 3-grams of a text that is normalised already."""
    padded = f"^{plain}$"
    return frozenset(padded[i : i + 3] for i in range(max(1, len(padded) - 2)))
