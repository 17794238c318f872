"""log.jsonl, one line a step, and the picture of the loss."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from identity_kit.files import write_text
from identity_kit.train.track import Track


class StepLog:
    """Lines of JSON, figures also to trackers; those of processes that do not lead are thrown away."""

    def __init__(self, path: Path, *, leads: bool = True, trackers: Sequence[Track] = ()) -> None:
        self.path, self.leads, self.trackers = path, leads, trackers

    def start(self, *, after: int) -> None:
        """Keep the lines up to step `after`, so that a resumed run's log reads like a straight one's."""
        if not self.leads:
            return
        kept = [entry for entry in self.read() if entry.get("step", 0) <= after] if after else []
        write_text(self.path, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept))

    def add(self, **entry: Any) -> None:
        """Append one line."""
        if self.leads:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
            figures = {key: value for key, value in entry.items() if isinstance(value, int | float) and key != "step"}
            for track in self.trackers:
                track(figures, entry["step"])

    def read(self, kind: str = "loss") -> list[dict[str, Any]]:
        """The whole lines that have the key `kind`; a line cut short by a crash is passed over."""
        entries = []
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    entries.append(json.loads(line))
                except json.JSONDecodeError:
                    continue
        return [entry for entry in entries if kind in entry]


def smoothed(values: Sequence[float], weight: float = 0.9) -> list[float]:
    """Exponential moving average, corrected for its start."""
    result, mean, total = [], 0.0, 0.0
    for value in values:
        mean, total = weight * mean + (1 - weight) * value, weight * total + (1 - weight)
        result.append(mean / total)
    return result


def draw_loss(history: Sequence[dict[str, Any]], path: Path) -> None:
    """The loss a step and its moving average, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    steps, losses = [entry["step"] for entry in history], [entry["loss"] for entry in history]
    axes.plot(steps, losses, color="#b8c4d6", linewidth=1, label="loss")
    axes.plot(steps, smoothed(losses), color="#1f4e8c", linewidth=2, label="moving average")
    axes.set_xlabel("step")
    axes.set_ylabel("loss per label (nats)")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=130)
