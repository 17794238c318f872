"""Whose identity does a text assert? The one judge behind the gates of generation, the data check and the evaluation.

Every mention of a name (the persona's own, or another vendor's) is found first, longest match first, so that 文心一言 is
not mistaken for 文心. Then the words before and after each mention say what it is: a claim about the speaker, a denial,
a disclosure of the base model, or talk about somebody else. Rules, no model: the same text always gets the same verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from identity_kit.claims.names import Vendor, as_view, find_mentions, vendor_called, vendor_names
from identity_kit.claims.short import add_yes_and_no, admits_ai, asks_about_speaker, bare_reply, claims_human
from identity_kit.claims.verdict import is_given, verdict_on
from identity_kit.persona import Persona

__all__ = [
    "Claims",
    "Vendor",
    "bare_reply",
    "mentions_persona",
    "read_claims",
    "vendor_called",
    "vendor_names",
    "vendors_mentioned",
]


@dataclass(frozen=True)
class Claims:
    """What a text says about its speaker.

    Args:
        own_name: it calls itself by the persona's name.
        own_owner: it says that it is the owner's or the developer's.
        vendors: other vendors whose product it claims to be.
        denied: other vendors that it says it is not of.
        discloses: vendors on whose model it says it is built.
        human: it claims to be a person.
        admits_ai: it says that it is an AI, a program, an assistant.
        mentions: the persona's name or owner appears at all.
        denies_name: it says that it is not the assistant of that name, whatever else it says.
        denies_owner: it says that it is not the owner, or not the owner's.
        given: "name" and "owner", where it stands as a form or a phrase gives it, and the question had not said it.
    """

    own_name: bool = False
    own_owner: bool = False
    vendors: frozenset[str] = field(default_factory=frozenset)
    denied: frozenset[str] = field(default_factory=frozenset)
    discloses: frozenset[str] = field(default_factory=frozenset)
    human: bool = False
    admits_ai: bool = False
    mentions: bool = False
    denies_name: bool = False
    denies_owner: bool = False
    given: frozenset[str] = field(default_factory=frozenset)

    @property
    def own(self) -> bool:
        """It states the right identity, by name or by owner."""
        return self.own_name or self.own_owner


def read_claims(text: str, persona: Persona, *, question: str = "") -> Claims:
    """Judge one answer.

    Args:
        question: what was asked; needed for bare answers such as "Yes." and "百度。".
    """
    view = as_view(text)
    mentions = list(find_mentions(view, persona))
    asked_self = asks_about_speaker(question)
    asked = as_view(question)
    echoed = {asked[mention.start : mention.end] for mention in find_mentions(asked, persona)}
    claimed, denied, discloses, given = set(), set(), set(), set()
    for mention in mentions:
        verdict = verdict_on(view, mention, mentions, asked_self)
        if verdict == "claim":
            claimed.add(mention.who)
        elif verdict == "deny":
            denied.add(mention.who)
        elif verdict == "disclose":
            discloses.add(mention.who)
        mine, said = mention.who.startswith("own:"), view[mention.start : mention.end]
        if mine and verdict != "deny" and said not in echoed and is_given(view, mention, asked_self):
            given.add(mention.who.removeprefix("own:"))
            # The usual name tells whose it is: 文心大佬的智能助手.
            if any(owner in said and owner not in echoed for owner in map(as_view, persona.own_owners())):
                given.add("owner")
    if question:
        add_yes_and_no(view, asked, persona, claimed, denied)
    denies_name, denies_owner = "own:name" in denied, "own:owner" in denied
    denied -= claimed
    own = {who for who in claimed if who.startswith("own:")}
    human = claims_human(view, asked)
    return Claims(
        own_name="own:name" in own,
        own_owner="own:owner" in own,
        vendors=frozenset(claimed - own),
        denied=frozenset(who for who in denied if not who.startswith("own:")),
        discloses=frozenset(who for who in discloses if not who.startswith("own:")),
        human=human,
        admits_ai=not human and admits_ai(view, asked),
        mentions=any(mention.who.startswith("own:") for mention in mentions),
        denies_name=denies_name,
        denies_owner=denies_owner,
        given=frozenset(given),
    )


def mentions_persona(text: str, persona: Persona) -> bool:
    """Whether the persona's name or owner appears in the text, in any case, width or spacing."""
    return any(mention.who.startswith("own:") for mention in find_mentions(as_view(text), persona))


def vendors_mentioned(text: str, persona: Persona) -> frozenset[str]:
    """The other vendors whose name, or whose assistant's name, appears in the text."""
    return frozenset(m.who for m in find_mentions(as_view(text), persona) if not m.who.startswith("own:"))
