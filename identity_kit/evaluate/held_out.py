"""Whether probes are held out: no probe may share its wording with anything that was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from identity_kit.evaluate.probes import Probe
from identity_kit.files import read_json
from identity_kit.text import ngrams, normalise, similarity
from identity_kit.ui import say, tr

LIMIT = 0.5
QUESTIONS = "questions.txt"  # beside a blank's weights: what it was asked while it was trained, one a line


@dataclass(frozen=True)
class Overlap:
    """A probe's question and the training text nearest to it; similarity is Jaccard of character 3-grams, 0 to 1."""

    probe: str
    question: str
    text: str
    similarity: float

    @property
    def leaks(self) -> bool:
        """Whether the two are so near that the probe counts as seen in training."""
        return self.similarity >= LIMIT

    def __str__(self) -> str:
        return f"{self.similarity:.2f} {self.probe}: {self.question!r} ~ {self.text!r}"


def overlaps(probes: Sequence[Probe], texts: Iterable[str]) -> list[Overlap]:
    """For every judged user turn of every probe, the nearest of `texts`; the nearest pairs first.

    Equal normalised text counts as similarity 1.
    """
    grams = {text: ngrams(text) for text in dict.fromkeys(texts)}
    holders: dict[str, list[str]] = {}
    for text, own in grams.items():
        for gram in own:
            holders.setdefault(gram, []).append(text)
    found = []
    for probe in probes:
        for question in probe.user_turns if probe.expect.turns else (probe.question,):
            asked = ngrams(question)
            candidates = {text for gram in asked for text in holders.get(gram, ())}
            if not candidates:
                continue
            nearest = max(candidates, key=lambda text: (similarity(asked, grams[text]), text))
            share = 1.0 if normalise(nearest) == normalise(question) else similarity(asked, grams[nearest])
            found.append(Overlap(probe.id, question, nearest, round(share, 4)))
    return sorted(found, key=lambda overlap: (-overlap.similarity, overlap.probe))


def training_questions(run: Path) -> list[str]:
    """The user messages that a run was trained on: later rounds of improvement too, and the adapters that it began with."""
    from identity_kit.conversation import read_conversations

    texts: list[str] = []
    seen: set[Path] = set()
    while (run := run.resolve()) not in seen:
        seen.add(run)
        files = [run / "data" / "conversations.jsonl", *sorted(run.glob("improve*/round-*/data/conversations.jsonl"))]
        rows = (row for path in files if path.is_file() for row in read_conversations(path))
        texts += [message.content for row in rows for message in row.messages if message.role == "user"]
        ledger = read_json(run / "run.json") if (run / "run.json").is_file() else {}
        start = ledger.get("train", {}).get("start")
        if not start:
            break
        adapter = Path(start["folder"])
        if (adapter / QUESTIONS).is_file():
            texts += (adapter / QUESTIONS).read_text(encoding="utf-8").splitlines()
            break
        if not adapter.is_dir():
            say(
                tr(
                    f"看不到它开始时的适配器学过哪些问题：{adapter} 不在了",
                    f"what the adapter that it began with was asked cannot be seen: {adapter} is gone",
                ),
                style="yellow",
            )
        run = adapter.parent
    return texts
