"""Whether the identity took: held-out probes, a judge by rule, and a report card.

`evaluate(conditions, persona, probes=..., out=...)` returns a `Card`; `probes` and `answerers` make what it needs.
"""

from identity_kit.evaluate.ask import Condition
from identity_kit.evaluate.card import Card, load_card
from identity_kit.evaluate.evaluate import evaluate
from identity_kit.evaluate.probes import CORE_SUITES, SUITES, Probe, load_probes

__all__ = ["CORE_SUITES", "SUITES", "Card", "Condition", "Probe", "evaluate", "load_card", "load_probes"]
