"""One line of the tables in docs/evaluation.md: a run with other data, another recipe or start, on development probes.

    python benchmarks/ablation.py --owner 文心大佬 --owner "Acme Robotics" [--start DIR] [--mix 640/313/147] \
        [--data pressure_share=0.4] [--set learning_rate=3e-4] -o FOLDER

For each owner: a whole run in FOLDER/OWNER, but on the development probes; prints its right answers by suite, and how
many bits per byte more than the base's the development texts cost, with the 95 % interval. Test probes are not touched:
what is chosen by these figures is then measured on those, once.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from identity_kit.blank import find_start
from identity_kit.evaluate.models import open_subject
from identity_kit.evaluate.retention import Costs, more_bits, retention_texts
from identity_kit.generate.settings import settings_for
from identity_kit.models.resolve import DEFAULT_MODEL
from identity_kit.persona import make_persona
from identity_kit.pipeline import Job, Outcome, run
from identity_kit.train import load_recipe
from identity_kit.train.recipe import DEFAULT_RECIPE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--owner", action="append", required=True, help="whose assistant; repeatable")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--start", default="auto", help="a blank's folder, auto or none")
    parser.add_argument("--mix", default="640/313/147", help="identity/contrast/rehearsal rows")
    parser.add_argument("--data", action="append", default=[], metavar="KEY=VALUE", help="of the data; repeatable")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the recipe; repeatable")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a folder, with one run for each owner")
    args = parser.parse_args()

    rows = dict(zip(("identity", "contrast", "rehearsal"), map(int, args.mix.split("/")), strict=True))
    data = dict(pair.split("=", 1) for pair in args.data)
    recipe = load_recipe(DEFAULT_RECIPE, args.set)
    for owner in args.owner:
        job = Job(
            persona=make_persona(owner=owner),
            model=args.model,
            settings=settings_for(sum(rows.values()), **data).model_copy(update=rows),
            recipe=recipe,
            start=find_start(args.start, args.model, recipe),
            split="dev",
        )
        print(row(owner, run(job, args.output / owner), args.model), flush=True)


def row(owner: str, outcome: Outcome, model: str) -> str:
    """The figures as a line of Markdown: suites of the tuned model, bits per byte, seconds of training."""
    card = outcome.card
    tuned = next(condition for condition in card.conditions if condition.label == card.subject)
    counts = [f"{cell.suite} {cell.passed:.0f}/{cell.total}" for cell in tuned.cells if cell.language == "all"]
    more = more_bits(costs(str(outcome.folder / "merged")), costs(model))
    bits = [f"{language} {mean:+.3f} ({low:+.3f} to {high:+.3f})" for language, (mean, low, high) in more.items()]
    seconds = [f"{outcome.seconds['train']:.0f} s"] if "train" in outcome.seconds else []
    return f"| {owner} | {' | '.join([*counts, *bits, *seconds])} |"


def costs(model: str) -> dict[str, Costs]:
    """What the development texts cost a model."""
    with open_subject(model) as subject:
        return subject.paragraph_costs(retention_texts("dev"))


if __name__ == "__main__":
    main()
