"""From a planned row to a draft: composed here, written by the writer, or answered by the model to be tuned."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from identity_kit.claims import read_claims
from identity_kit.conversation import Conversation, Message, Meta
from identity_kit.generate import axes
from identity_kit.generate.banks import questions
from identity_kit.generate.compose import compose, compose_fact, is_framed
from identity_kit.generate.gates import Checked, check_domain, check_identity, check_other, check_question
from identity_kit.generate.plan import Ask, PlannedRow
from identity_kit.generate.prompts import Prompts, persona_values
from identity_kit.generate.settings import GenerateSettings
from identity_kit.llm.client import Answer, Client, Declined, Pending
from identity_kit.llm.jsonout import parse_object
from identity_kit.persona import Persona
from identity_kit.text import TextLanguage

_BEFORE_ALL = 1000  # the rank of a request that all rows wait for


@dataclass
class Draft:
    """A row as far as it came: its messages, why it was refused if it was, and where its parts come from."""

    row: PlannedRow
    messages: list[Message]
    reason: str = ""
    detail: str = ""
    source: str = "composed"
    model: str = ""
    prompt_hash: str = ""
    remarks: list[str] = field(default_factory=list)
    pending: bool = False

    @property
    def question(self) -> str:
        """The last thing the user says."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def answer(self) -> str:
        """The last thing the assistant says."""
        return next((m.content for m in reversed(self.messages) if m.role == "assistant"), "")

    def refuse(self, reason: str, detail: str = "") -> Draft:
        """The same draft, refused."""
        self.reason, self.detail = reason, detail
        return self

    def conversation(self) -> Conversation:
        """The record, with its provenance."""
        row = self.row
        axes: dict[str, Any] = {
            "style": row.asks[-1].style or None,
            "attitude": row.attitude if row.written else None,
            "system": row.system if row.system != "none" else None,
            "turns": len(row.asks) if len(row.asks) > 1 else None,
            "facets": [ask.facet for ask in row.asks] if len(row.asks) > 1 else None,
        }
        gates: dict[str, Any] = {"passed": not self.reason}
        if self.reason:
            gates |= {"reason": self.reason, "detail": self.detail}
        if self.remarks:
            gates["remarks"] = self.remarks
        meta = Meta(
            id=row.id,
            facet=row.facet,
            language=row.language,
            kind=row.kind,
            source=self.source,
            prompt_hash=self.prompt_hash or None,
            seed=row.seed,
            model=self.model or None,
            gates=gates,
            axes={key: value for key, value in axes.items() if value is not None} or None,
        )
        return Conversation(messages=tuple(self.messages), meta=meta)


@dataclass
class Workshop:
    """What rows are made with. Without a writer all is composed; without a rehearser no row needs the model."""

    persona: Persona
    settings: GenerateSettings
    prompts: Prompts
    writer: Client | None = None
    rehearser: Client | None = None
    judge: Client | None = None
    judge_least: int = 3
    repairs: Counter[str] = field(default_factory=Counter)
    _values: dict[TextLanguage, dict[str, Any]] = field(default_factory=dict)
    _makers: frozenset[str] | None = None

    def _persona(self, language: TextLanguage) -> dict[str, Any]:
        if language not in self._values:
            self._values[language] = persona_values(self.persona, language)
        return self._values[language]

    def composed(self, row: PlannedRow) -> Draft | None:
        """The draft of a row that needs no request, or None for one that does."""
        if row.kind in ("contrast", "rehearsal") or row.written or row.varied or self.judge is not None:
            return None
        return self._identity(row) if row.kind == "identity" else self._domain(row)

    async def make(self, row: PlannedRow) -> Draft:
        """The draft of any row, gates passed or refused with the reason."""
        try:
            if row.kind == "identity":
                draft = await self._written_identity(row) if row.written or row.varied else self._identity(row)
            elif row.kind == "domain":
                draft = await self._written_domain(row) if row.written or row.varied else self._domain(row)
            else:
                draft = await self._answered(row)
            if self.judge is not None and not draft.reason:
                await self._judged(draft, self.judge)
        except Declined as declined:
            return Draft(row, self._opening(row, [])).refuse(declined.reason, declined.detail)
        except Pending:
            return Draft(row, [], pending=True)
        return draft

    def _opening(self, row: PlannedRow, turns: list[Message]) -> list[Message]:
        if row.system == "none":
            return turns
        text = axes.system_message(row.system, self.persona, row.language, row.rng("system"), self.prompts)
        return ([Message(role="system", content=text)] if text else []) + turns

    def _identity(self, row: PlannedRow) -> Draft:
        """Every turn composed from the banks."""
        turns: list[Message] = []
        for number, ask in enumerate(row.asks):
            answer = compose(self.persona, row, number)
            turns.append(Message(role="user", content=ask.text))
            if answer is None:
                return Draft(row, self._opening(row, turns)).refuse("no fitting form", ask.text)
            turns.append(Message(role="assistant", content=answer))
            checked = self._check(ask, ask.text, answer, row)
            if not checked.ok:
                return Draft(row, self._opening(row, turns)).refuse(checked.reason, checked.detail)
        return Draft(row, self._opening(row, turns))

    def _check(self, ask: Ask, question: str, answer: str, row: PlannedRow) -> Checked:
        others = tuple(filter(None, (ask.push.model, ask.push.vendor)))
        framed = is_framed(ask.facet, question)
        return check_identity(self.persona, question, answer, row.language, ask.facet, framed=framed, others=others)

    async def _written_identity(self, row: PlannedRow) -> Draft:
        """Earlier turns composed, the last one written or its answer varied by the writer."""
        assert self.writer is not None
        ask, turns = row.asks[-1], list[Message]()
        for number, earlier in enumerate(row.asks[:-1]):
            answer = compose(self.persona, row, number)
            if answer is None:
                return Draft(row, self._opening(row, turns)).refuse("no fitting form", earlier.text)
            turns += [Message(role="user", content=earlier.text), Message(role="assistant", content=answer)]
        name, keys, values = self._identity_prompt(row, turns)
        pushed = values["pushed"]
        found, draft = await self._structured(name, row, values, keys)
        question = found.get("question", ask.text).strip()
        answer = found.get("answer", "").strip()
        draft.messages = self._opening(
            row, [*turns, Message(role="user", content=question), Message(role="assistant", content=answer)]
        )
        if draft.reason:
            return draft
        if row.written:
            asked = check_question(question, row.language, pushed)
            if not asked.ok:
                return draft.refuse(f"question: {asked.reason}", asked.detail)
        checked = self._check(ask, question, answer, row)
        return draft if checked.ok else draft.refuse(checked.reason, checked.detail)

    def _identity_prompt(self, row: PlannedRow, turns: list[Message]) -> tuple[str, tuple[str, ...], dict[str, Any]]:
        """The prompt's name, the keys of its answer, and its variables, for the last turn of an identity row."""
        ask = row.asks[-1]
        values: dict[str, Any] = {
            **self._persona(row.language),
            "facet_text": axes.words(axes.FACETS, ask.facet, row.language),
            "style_text": axes.words(axes.STYLES, ask.style, row.language),
            "attitude_text": axes.words(axes.ATTITUDE_WORDS, row.attitude, row.language),
            "pushed": ask.push.model or ask.push.vendor,
            "history": [{"role": turn.role, "content": turn.content} for turn in turns],
        }
        if row.written:
            return "identity_pair", ("question", "answer"), values
        values |= {"question": ask.text, "draft": compose(self.persona, row, len(row.asks) - 1) or ""}
        return "identity_answer", ("answer",), values

    def prompt_of(self, row: PlannedRow) -> str:
        """The prompt that a row's last turn is written with; earlier turns are left out."""
        if row.kind == "identity":
            name, _, values = self._identity_prompt(row, [])
        elif row.kind == "domain":
            name, values = "domain_answer", self._domain_values(row)
        else:
            name, values = "other_question", self._question_values(row)
        return self.prompts.render(name, row.language, **values)

    async def _structured(
        self, name: str, row: PlannedRow, values: dict[str, Any], keys: tuple[str, ...], client: Client | None = None
    ) -> tuple[dict[str, str], Draft]:
        """A JSON object with text under each key, from the writer; repairs are counted."""
        client = client or self.writer
        assert client is not None
        prompt = self.prompts.render(name, row.language, **values)
        answer = await client.ask(
            [{"role": "user", "content": prompt}],
            max_tokens=self.settings.write_tokens,
            temperature=self.settings.temperature,
            seed=row.seed * 1_000_003 + row.index + 1,
            salt=row.id,
            schema=_schema(keys),
        )
        draft = Draft(row, [], source="llm", model=answer.model)
        draft.prompt_hash = self.prompts.hash(name, row.language)
        if answer.finish == "length":
            return {}, draft.refuse("cut off", f"{self.settings.write_tokens} tokens")
        if answer.finish == "content_filter":
            return {}, draft.refuse("content filter")
        value, repairs = parse_object(answer.text, keys)
        if value is None:
            return {}, draft.refuse("no JSON object", " ".join(answer.text.split())[:120])
        self.repairs.update(repairs)
        draft.remarks.extend(repairs)
        wrong = next((key for key in keys if not isinstance(value[key], str)), None)
        if wrong is not None:
            return {}, draft.refuse("wrong shape", f"{wrong} is no text")
        return {key: value[key] for key in keys}, draft

    def _domain(self, row: PlannedRow) -> Draft:
        ask = row.asks[0]
        answer = compose_fact(self.persona, row)
        turns = [Message(role="user", content=ask.text), Message(role="assistant", content=answer or "")]
        draft = Draft(row, self._opening(row, turns))
        return self._gate_domain(draft, ask.text, answer or "")

    async def _written_domain(self, row: PlannedRow) -> Draft:
        ask = row.asks[0]
        keys = ("question", "answer") if row.written else ("answer",)
        found, draft = await self._structured("domain_answer", row, self._domain_values(row), keys)
        question, answer = found.get("question", ask.text).strip(), found.get("answer", "").strip()
        draft.messages = self._opening(
            row, [Message(role="user", content=question), Message(role="assistant", content=answer)]
        )
        return draft if draft.reason else self._gate_domain(draft, question, answer)

    def _domain_values(self, row: PlannedRow) -> dict[str, Any]:
        fact = self.persona.facts.get(row.facet)
        return {
            **self._persona(row.language),
            "question": row.asks[0].text,
            "fact": fact.answer.get(row.language) if fact else "",
            "fact_question": fact.question.get(row.language) if fact else "",
            "style_text": axes.words(axes.STYLES, row.asks[0].style, row.language),
        }

    def _gate_domain(self, draft: Draft, question: str, answer: str) -> Draft:
        fact = self.persona.facts.get(draft.row.facet)
        language = draft.row.language
        checked = check_domain(self.persona, question, answer, language, fact.answer.get(language) if fact else "")
        return draft if checked.ok else draft.refuse(checked.reason, checked.detail)

    async def _answered(self, row: PlannedRow) -> Draft:
        """A contrast or ordinary question, answered by the model to be tuned, greedily and under no system message.

        Of what was asked before it, that model is told the ordinary questions and its answers to them alone.
        """
        ask, draft = row.asks[-1], None
        question = ask.text
        if row.written:
            found, draft = await self._structured("other_question", row, self._question_values(row), ("question",))
            question = found.get("question", "").strip()
            if not draft.reason:
                asked = check_question(question, row.language, "")
                if not asked.ok:
                    draft.refuse(f"question: {asked.reason}", asked.detail)
            if draft.reason:
                draft.messages = self._opening(row, [Message(role="user", content=question)] if question else [])
                return draft
        turns: list[Message] = []
        ordinary: list[Message] = []
        requests = sum(ask.ordinary for ask in row.asks)
        for number, earlier in enumerate(row.asks[:-1]):
            if earlier.ordinary:
                answer = await self._rehearsed(ordinary, earlier.text, rank=requests)
                checked = await self._check_other(row, earlier, turns, earlier.text, answer)
            else:
                composed = compose(self.persona, row, number)
                if composed is None:
                    return Draft(row, self._opening(row, turns)).refuse("no fitting form", earlier.text)
                checked = self._check(earlier, earlier.text, composed, row)
            pair = [Message(role="user", content=earlier.text), Message(role="assistant", content=checked.answer)]
            turns += pair
            if not checked.ok:
                return Draft(row, self._opening(row, turns)).refuse(f"earlier turn: {checked.reason}", checked.detail)
            ordinary += pair if earlier.ordinary else []
        answer = await self._rehearsed(ordinary, question, rank=requests)
        return await self._gate_other(row, turns, question, answer, draft)

    async def _rehearsed(self, turns: list[Message], question: str, *, rank: int) -> Answer:
        """What the model to be tuned answers, after the turns given.

        Args:
            rank: how many requests the row needs one after another. Those that need most are sent first, so that many
                can be answered together to the end.
        """
        assert self.rehearser is not None
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        return await self.rehearser.ask(
            [*messages, {"role": "user", "content": question}],
            max_tokens=self.settings.ask_tokens,
            temperature=0.0,
            rank=rank,
        )

    def _question_values(self, row: PlannedRow) -> dict[str, Any]:
        bank = questions("contrast" if row.kind == "contrast" else "ordinary", row.language)
        same = [question.text for question in bank if question.topic == row.facet]
        return {
            "kind": row.kind,
            "topic_text": axes.words(axes.TOPICS, row.facet, row.language),
            "style_text": axes.words(axes.STYLES, row.asks[0].style, row.language),
            "examples": row.rng("examples").sample(same, min(4, len(same))),
        }

    async def _makers_of_base(self) -> frozenset[str]:
        """The vendors that the model to be tuned says it is of."""
        if self._makers is None:
            asked = ("你是谁？", "Who are you?")
            said = await asyncio.gather(*(self._rehearsed([], question, rank=_BEFORE_ALL) for question in asked))
            claims = [
                read_claims(answer.text, self.persona, question=question)
                for question, answer in zip(asked, said, strict=True)
            ]
            self._makers = frozenset().union(*(found.vendors for found in claims))
        return self._makers

    async def _check_other(
        self, row: PlannedRow, ask: Ask, earlier: list[Message], question: str, answer: Answer
    ) -> Checked:
        return check_other(
            self.persona,
            question,
            answer.text,
            row.language,
            ask.facet,
            finish=answer.finish,
            cut_long=self.settings.cut_long,
            before="\n".join(turn.content for turn in earlier if turn.role == "user"),
            makers=await self._makers_of_base(),
        )

    async def _gate_other(
        self, row: PlannedRow, earlier: list[Message], question: str, answer: Answer, written: Draft | None
    ) -> Draft:
        checked = await self._check_other(row, row.asks[-1], earlier, question, answer)
        turns = [*earlier, Message(role="user", content=question), Message(role="assistant", content=checked.answer)]
        draft = Draft(row, self._opening(row, turns), source="base model", model=answer.model)
        draft.remarks.extend(checked.remarks)
        self.repairs.update(checked.remarks)
        if written is not None:
            draft.prompt_hash = written.prompt_hash
            draft.remarks.extend(written.remarks)
        return draft if checked.ok else draft.refuse(checked.reason, checked.detail)

    async def _judged(self, draft: Draft, judge: Client) -> None:
        row = draft.row
        values = {**self._persona(row.language), "question": draft.question, "answer": draft.answer}
        prompt = self.prompts.render("judge", row.language, **values)
        answer = await judge.ask(
            [{"role": "user", "content": prompt}],
            max_tokens=200,
            temperature=0.0,
            schema={
                "type": "object",
                "properties": {"score": {"type": "integer"}, "reason": {"type": "string"}},
                "required": ["score", "reason"],
                "additionalProperties": False,
            },
        )
        value, repairs = parse_object(answer.text, ("score",))
        self.repairs.update(repairs)
        score = value.get("score") if value else None
        if isinstance(score, str) and score.strip().isdigit():
            score = int(score)
        if not isinstance(score, int | float) or isinstance(score, bool):
            # A judge that says nothing usable condemns nothing.
            draft.remarks.append("not judged")
            return
        draft.remarks.append(f"style {score:g}/5")
        if score < self.judge_least:
            draft.refuse("style", f"{score:g}/5 {value.get('reason', '') if value else ''}".strip())


def _schema(keys: tuple[str, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {key: {"type": "string"} for key in keys},
        "required": list(keys),
        "additionalProperties": False,
    }
