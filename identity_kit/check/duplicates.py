"""Exact and near duplicates among short texts, every pair above the threshold found.

Near: Jaccard similarity of padded character trigrams of the normalised text. Pairs are found by prefix filtering
(Chaudhuri, Ganti, Kaushik 2006): with n-grams ordered from rare to common, two sets of similarity ≥ t share one among
the first |x| − ⌈t·|x|⌉ + 1 of each.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from identity_kit.text import ngrams, normalise, similarity


def exact_duplicates(texts: Sequence[str]) -> list[tuple[int, int]]:
    """(later, first) for each text that repeats an earlier one, whatever the punctuation and width."""
    first: dict[str, int] = {}
    found = []
    for i, text in enumerate(texts):
        key = normalise(text) or text
        if key in first:
            found.append((i, first[key]))
        else:
            first[key] = i
    return found


def near_duplicates(texts: Sequence[str], threshold: float = 0.9) -> list[tuple[int, int, float]]:
    """(later, earlier, similarity) for each text that is near an earlier one, the most similar one named.

    Texts that are the same once normalised are left out here.
    """
    grams = [ngrams(text) for text in texts]
    counts = Counter(gram for each in grams for gram in each)
    index: defaultdict[str, list[int]] = defaultdict(list)
    found = []
    for i, each in enumerate(grams):
        ordered = sorted(each, key=lambda gram: (counts[gram], gram))
        prefix = ordered[: len(ordered) - math.ceil(threshold * len(ordered)) + 1]
        best, at = 0.0, -1
        for other in {j for gram in prefix for j in index[gram]}:
            small, large = sorted((len(each), len(grams[other])))
            if small >= threshold * large:
                score = similarity(each, grams[other])
                if score >= threshold and (score, -other) > (best, -at):
                    best, at = score, other
        if (at >= 0 and best < 1.0) or (at >= 0 and normalise(texts[i]) != normalise(texts[at])):
            found.append((i, at, best))
        for gram in prefix:
            index[gram].append(i)
    return found


def overlaps(texts: Sequence[str], others: Sequence[str], threshold: float = 0.8) -> list[tuple[int, int]]:
    """(text, other) for each text that has the wording of one of `others`, or nearly."""
    grams = [ngrams(other) for other in others]
    index: defaultdict[str, list[int]] = defaultdict(list)
    for j, each in enumerate(grams):
        for gram in each:
            index[gram].append(j)
    found = []
    for i, text in enumerate(texts):
        mine = ngrams(text)
        shared = Counter(j for gram in mine for j in index.get(gram, ()))
        for j, common in shared.items():
            if common / (len(mine) + len(grams[j]) - common) >= threshold:
                found.append((i, j))
                break
    return found
