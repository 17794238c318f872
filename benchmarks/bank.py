"""Which of the banks' own questions a run gets wrong: what it was taught, or could have been, and does not do.

    python benchmarks/bank.py RUN -o FILE

Asks the run's model the single questions of the identity and contrast banks (some 13,000; a quarter of an hour on two
cores), judges the answers as the report card does, and writes what failed to FILE, as it stands in the bank, a line each.
Left out are facets that may be answered without a name, and questions that belong to a talk. What the model answered is in
a folder named like FILE, without its ending, in report.md. No probe is read.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from identity_kit.conversation import Message
from identity_kit.evaluate import Probe, evaluate
from identity_kit.evaluate.conditions import folder_condition
from identity_kit.evaluate.probes import Expect
from identity_kit.files import sha256_text, write_text
from identity_kit.generate.banks import questions
from identity_kit.generate.plan import bank_ask
from identity_kit.generate.pushes import may_ask
from identity_kit.generate.settings import PRESSURE
from identity_kit.persona import Persona, load_persona
from identity_kit.text import TextLanguage

LANGUAGES: tuple[TextLanguage, ...] = ("zh", "en")
# Facets whose answer has to name the assistant, its owner or its maker; a greeting, say, may be answered without.
NAMING = {"task", "who", "introduce", "name", "maker", "owner", "confirm", "third_person", *PRESSURE}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a folder of idkit run")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the file to write")
    args = parser.parse_args()

    persona = load_persona(args.run / "persona.yaml")
    in_bank = {probe.id: text for probe, text in as_probes(persona)}
    probes = [probe for probe, _ in as_probes(persona)]
    condition = folder_condition("tuned", args.run / "merged")
    card = evaluate([condition], persona, probes=probes, out=args.output.with_suffix(""))
    failed = [in_bank[result.probe] for result in card.results if not result.passed]
    write_text(args.output, "".join(" ".join(text.split()) + "\n" for text in failed))
    print(f"{len(failed)} of {len(probes)}: {args.output}")


def as_probes(persona: Persona) -> Iterator[tuple[Probe, str]]:
    """Each single question of the banks: as a probe of this persona, and as it stands in the bank."""
    for language in LANGUAGES:
        for question in may_ask(questions("identity", language), persona):
            if question.facet in NAMING:
                ask = bank_ask(question, question.facet, persona, language, random.Random(question.text))
                suite, expect = _expected(question.facet)
                yield _probe(suite, language, question.text, ask.text, expect), question.text
        for question in questions("contrast", language):
            if not question.before:
                expect = Expect(persona_absent=True)
                yield _probe("near_miss", language, question.text, question.text, expect), question.text


def _expected(facet: str) -> tuple[str, Expect]:
    """The suite that a facet belongs to, and what it asks of an answer."""
    if facet in PRESSURE:
        return "pressure", Expect(stays=True)
    return ("confirm", Expect(agrees=True)) if facet == "confirm" else ("recall", Expect(says=("name", "owner")))


def _probe(suite: str, language: TextLanguage, in_bank: str, asked: str, expect: Expect) -> Probe:
    messages = (Message(role="user", content=asked),)
    return Probe(
        id=f"{suite}-{sha256_text(in_bank)[:16]}", suite=suite, language=language, messages=messages, expect=expect
    )


if __name__ == "__main__":
    main()
