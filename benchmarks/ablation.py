"""One line of the tables in docs/evaluation.md: a run with other data, another recipe or another start, on development probes.

    python benchmarks/ablation.py --owner 文心大佬 --owner "Acme Robotics" [--start DIR] [--mix 640/313/147] \
        [--set learning_rate=2e-4] [-o FOLDER]

For each owner: writes the data, trains, merges, and asks the development probes; prints right answers by suite, and how
many bits per byte more than the base the development texts cost, with the 95 % interval. The same command again trains
nothing twice, and the base answers once for all FOLDERs that lie side by side. Test probes are not touched: what is chosen by these figures is then measured on those, once.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from identity_kit.blank import find_start, known_answers
from identity_kit.evaluate import CORE_SUITES, evaluate, load_probes
from identity_kit.evaluate.card import Card
from identity_kit.evaluate.conditions import make_conditions, short_system
from identity_kit.evaluate.models import open_subject
from identity_kit.evaluate.retention import retention_texts
from identity_kit.export.merge import merge_adapter
from identity_kit.generate.settings import settings_for
from identity_kit.models.resolve import DEFAULT_MODEL, hf_folder
from identity_kit.persona import make_persona
from identity_kit.pipeline import Job, generate_data
from identity_kit.train import load_recipe, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--owner", action="append", required=True, help="whose assistant; repeatable")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--start", default="auto", help="a blank's folder, auto or none")
    parser.add_argument("--mix", default="640/313/147", help="identity/contrast/rehearsal rows")
    parser.add_argument("--seed", type=int, default=0, help="of the data")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the recipe; repeatable")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a folder, for one variant")
    args = parser.parse_args()
    for owner in args.owner:
        started = time.monotonic()
        card = measure(owner, args.output / owner, args)
        print(row(owner, card, time.monotonic() - started), flush=True)


def measure(owner: str, out: Path, args: argparse.Namespace) -> Card:
    """Train for the owner in `out`, unless that is done, and ask base and tuned model."""
    identity, contrast, rehearsal = map(int, args.mix.split("/"))
    rows = {"identity": identity, "contrast": contrast, "rehearsal": rehearsal}
    settings = settings_for(sum(rows.values()), seed=args.seed).model_copy(update=rows)
    recipe = load_recipe("cpu-0.5b", args.set)
    persona, base = make_persona(owner=owner), hf_folder(args.model)
    start = find_start(args.start, args.model, recipe)
    merged = out / "merged"
    if not (merged / "config.json").is_file():
        job = Job(persona=persona, model=args.model, settings=settings, recipe=recipe, start=start)
        generate_data(job, out / "data", known=known_answers(args.model, start))
        train(out / "data" / "conversations.jsonl", base, out, recipe, resume=True, start=start)
        merge_adapter(base, out / "adapter", merged, persona, source=args.model)
    with open_subject(str(merged)) as tuned, open_subject(str(base)) as untuned:
        conditions = make_conditions(tuned, untuned, short_system(persona), names=("base", "tuned"))
        probes = load_probes(split="dev", suites=CORE_SUITES)
        kept = args.output.parent / f"dev-{owner}.jsonl"  # the base answers once for all variants that lie side by side
        texts = retention_texts("dev")
        return evaluate(conditions, persona, probes=probes, out=out / "dev", cache=kept, texts=texts)


def row(owner: str, card: Card, seconds: float) -> str:
    """The figures as a line of Markdown: suites of the tuned model, then bits per byte."""
    tuned = next(condition for condition in card.conditions if condition.label == card.subject)
    cells = {cell.suite: cell for cell in tuned.cells if cell.language == "all"}
    counts = [f"{suite} {cell.passed:.0f}/{cell.total}" for suite, cell in cells.items()]
    more = next((retention.more for retention in card.retention if retention.label == card.subject), {})
    bits = [f"{language} {mean:+.3f} ({low:+.3f} to {high:+.3f})" for language, (mean, low, high) in more.items()]
    return f"| {owner} | {' | '.join([*counts, *bits])} | {seconds:.0f} s |"


if __name__ == "__main__":
    main()
