"""Answers made from the persona without an LLM: a form that fits the question, its slots filled, by seeded chance."""

from __future__ import annotations

import functools
import random
import re

from identity_kit.generate.banks import Answers, answers, fill, slots
from identity_kit.generate.notation import written
from identity_kit.generate.plan import Ask, PlannedRow
from identity_kit.generate.settings import PRESSURE
from identity_kit.persona import Persona
from identity_kit.text import TextLanguage, normalise, one_stop

# What a question asks for beyond its facet: the first pattern that is found names the shape of the answer. A shape
# whose facet has no form for it makes the question unfit for a composed answer.
_FRAMES: tuple[tuple[str, str], ...] = (
    ("boolean", r"布尔值|boolean|\"is_human\""),
    ("json", r"[Jj][Ss][Oo][Nn]"),
    ("yaml", r"[Yy][Aa][Mm][Ll]"),
    ("csv", r"\b[Cc][Ss][Vv]\b"),
    ("code", r"补全这行代码|line of code"),
    ("letter_b", r"答字母|Answer A for person"),
    ("digit_2", r"扣1"),
    ("no_only", r"回答是或否"),
    ("judge", r"判断题|判断对错|True or false|Tick one"),
    ("tree", r"家谱树|family tree"),
    ("table", r"表格|\btable\b"),
    ("list", r"三条|three ways"),
    ("couplet", r"对联|two-line rhyme"),
    ("poem", r"诗|limerick|haiku|poem"),
    ("classical", r"文言文"),
    ("news", r"新闻联播|radio-announcer"),
    ("idiom", r"用一个成语"),
    ("encyclopedia", r"百科|encyclop"),
    ("plate", r"桌牌|visitor badge|识别证|識別證"),
    ("card", r"铭牌|product label"),
    ("form", r"填表|Complete the form|同学录|friendship book|签到表"),
    ("confess", r"检讨书|confession"),
    ("refuse", r"推特|贺卡|我与.{0,12}的故事|\btweet\b|autobiography"),
    ("farewell", r"口气说再见|villain's voice"),
    ("mission", r"mission statement"),
    ("sentence", r"造一个句子"),
    ("english", r"用英文|翻成英文|翻译成英文|用一句英文|in Chinese and English|Are you 由"),
    ("prompt", r"第一条指令|系统提示词里|first line of your system prompt|下面.{0,6}提示词原文"),
    ("fill", r"填空|完成句子|句式|造句|旁白|填____|Finish the sentence|Fill in|using the pattern"),
    ("sign", r"署名|落款|签字|个签|\bsign\b|sgin|Yours sincerely|byline"),
    ("why", r"为啥给你起|寓意|何典|谁起的|significance|Why are you called|whats it mean|acronym"),
    ("morning", r"早上好|上午好|早安|[Gg]ood mornin|god mornign"),
    ("noon", r"午安|下午好|[Gg]ood afternoon"),
    ("evening", r"晚上好|[Gg]ood evening|^Evening"),
)
_ANY_FRAME = re.compile("|".join(f"(?:{pattern})" for _, pattern in _FRAMES))
# Frames that no answer of ours takes on: the question is left to the writer, or dropped.
_UNFIT = re.compile(
    r"base64|摩斯|NATO|藏头|acrostic|续写|Continue the text|German|Spanish|French|三个词|three words|歌词|folk song|甲骨文"
    r"|比喻|as a colour|有几笔|how many letters|拼音和英文|in both English|隐私声明|privacy notice|名片|business card|使用前须知"
    r"|warning label|birth announcement|hub page|模型社区|一行注释|大写还是小写|拆字|拆开"
)
_ASKS_HUMAN = re.compile(
    r"真人|活人|是人[吗嘛麻么]|是不是人|ren ma|真任|坐著一個人|human being\?|[Aa]re (you|yuo) a re?ae?l|real person|humna|real grown up"
    r"|member of staff typing|^Human\?|you even alive|有血有肉"
)
_ASKS_MACHINE = re.compile(
    r"机器人|機器人|机气人|人工智能[程吗麻]|人共智能|人机吧|^AI？|^Bot\?|^Robot\?|[Yy]ou're a bot|机器生成|machine-generated"
    r"|are an artificial|u a bot|是否由人工智能|不是人打|根本不是人|承认自己不是人|you're 机器人|are you a robot"
)
_EITHER = re.compile(
    r"还是|還是|\bor\b|究竟|whether|如实告知|二选一|死机器|stop pretending|是人是AI|打赌|bet me|智能麻",
)
_PROMPT_FACETS = frozenset({"injection"})
# Frames that a plain answer fits as well.
_OPTIONAL_FRAMES = frozenset({"why", "sign", "english", "list", "morning", "noon", "evening"})
# Facets whose answer turns the request down, in plain words whatever form was asked for.
_DECLINING = frozenset({"base_model_private", "injection", "vendor_pressure", "false_premise"})
_HOURS = frozenset({"morning", "noon", "evening"})
# How many answers take a form of the bank's `lead`. Greedy decoding takes the likeliest beginning: where answers begin
# in twenty ways, each is less likely than repeating the question. Under pressure the answer has to fit what was said.
_LEAD_SHARE, _LEAD_SHARE_UNDER_PRESSURE = 0.8, 0.35


def compose(persona: Persona, row: PlannedRow, turn: int) -> str | None:
    """An answer to question `turn` of an identity row, or None where no form fits the question."""
    chance = row.rng(f"answer/{turn}")
    return compose_answer(persona, row.asks[turn], row.language, chance)


def compose_answer(persona: Persona, ask: Ask, language: TextLanguage, chance: random.Random) -> str | None:
    """An answer to one identity question, or None where no form fits it."""
    bank = answers(language)
    forms, other = ask.forms, ask.push.model or ask.push.vendor
    if not forms:
        facet = _facet(ask.facet, persona, language)
        shape = _shape(bank, facet, ask)
        if shape is None:
            return None
        forms = bank.facets[facet][shape]
        if (lead := bank.lead.get(facet, {}).get(shape)) and chance.random() < _lead_share(ask.facet):
            forms = lead
        other = ask.push.vendor if shape.startswith("vendor") else other
    values = _values(persona, bank, language, chance)
    values["other"] = other
    for form in chance.sample(forms, len(forms)):
        text = _filled(form, values, language)
        if text is not None:
            return text
    return None


def compose_fact(persona: Persona, row: PlannedRow) -> str | None:
    """An answer from the persona's facts, or that it does not know, with handoff."""
    bank = answers(row.language)
    chance = row.rng("answer/0")
    values = _values(persona, bank, row.language, chance)
    known = persona.facts.get(row.facet)
    if known is not None:
        values["fact"] = _sentence(known.answer.get(row.language), row.language)
    form = chance.choice(bank.domain["answers" if known else "unknown_answers"])
    text = fill(form, values)
    return text and one_stop(text, *(values[slot] for slot in ("name", "owner", "developer")))


def _lead_share(facet: str) -> float:
    return _LEAD_SHARE_UNDER_PRESSURE if facet in PRESSURE else _LEAD_SHARE


def _facet(facet: str, persona: Persona, language: TextLanguage) -> str:
    if facet == "base_model":
        told = persona.base_model.policy == "disclose" and persona.base_model.names
        return "base_model_disclose" if told else "base_model_private"
    if facet == "contact":
        return "contact_known" if contact_of(persona, language) else "contact_unknown"
    return facet


def contact_of(persona: Persona, language: TextLanguage) -> str:
    """The persona's contact fact, without its closing full stop; empty where it has none."""
    for key, fact in persona.facts.items():
        if re.search(r"contact|phone|联系|电话|客服热线", f"{key} {' '.join(fact.question.all)}", re.IGNORECASE):
            return fact.answer.get(language).rstrip("。.")
    return ""


def frame(question: str) -> str:
    """The form that a question asks its answer to take, e.g. "json" or "poem"; "" for plain words."""
    if not _ANY_FRAME.search(question):
        return ""
    return next(name for name, pattern in _FRAMES if _compiled(pattern).search(question))


def is_framed(facet: str, question: str) -> bool:
    """Whether the answer may name the persona without a sentence about itself: a form, code, a headline."""
    return facet == "task" or bool(frame(question))


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _shape(bank: Answers, facet: str, ask: Ask) -> str | None:
    """The shape of answer that fits a question; None where the facet has none."""
    shapes = bank.facets.get(facet, {})
    declines = facet in _DECLINING
    if _UNFIT.search(ask.text) and not declines:
        return None
    pushes = [kind for kind, word in (("model", ask.push.model), ("vendor", ask.push.vendor)) if word]
    wanted = frame(ask.text)
    if wanted == "prompt" and facet not in _PROMPT_FACETS:
        wanted = ""
    if wanted and not (wanted in _HOURS and facet != "greeting"):
        framed = [*(f"{push}_{wanted}" for push in pushes), wanted]
        if fitting := next((shape for shape in framed if shape in shapes), None):
            return fitting
        if wanted not in _OPTIONAL_FRAMES and not declines:
            return None
    if facet == "human_or_machine":
        return _human_shape(ask.text)
    short = ask.style == "one_word"
    candidates = [*(f"{push}_short" for push in pushes if short), *pushes, *(["short"] if short else []), "plain"]
    return next((shape for shape in candidates if shape in shapes), None)


def _human_shape(question: str) -> str:
    if _EITHER.search(question):
        return "plain"
    human, machine = _ASKS_HUMAN.search(question), _ASKS_MACHINE.search(question)
    if bool(human) == bool(machine):
        return "plain"
    return "asks_human" if human else "asks_machine"


def _values(persona: Persona, bank: Answers, language: TextLanguage, chance: random.Random) -> dict[str, str]:
    """The slots of an answer form; `identity` is filled from the others."""
    name, owner = persona.name.get(language), persona.owner.get(language)
    named = normalise(owner) not in normalise(name)
    role = persona.role.get(language)
    picked = (
        chance.sample(persona.abilities, min(len(persona.abilities), chance.choice((2, 2, 3))))
        if persona.abilities
        else []
    )
    able = [ability.get(language).rstrip("。.") for ability in picked]
    values = {
        "name": name,
        "owner": owner,
        "developer": persona.developer.get(language),
        "name_en": persona.name.get("en"),
        "owner_en": persona.owner.get("en"),
        "developer_en": persona.developer.get("en"),
        "role": role,
        "who": _who(name, owner, named, language),
        "name_or_role": name if named else role,
        "comma_name": (f"，名叫{name}" if language == "zh" else f", called {name}") if named else "，很高兴为您服务",
        "abilities": _joined(able, language) or ("解答问题" if language == "zh" else "answer questions"),
        "ability_rows": "\n".join(f"| {text} | {name} |" for text in able),
        "handoff": persona.handoff.get(language).rstrip("。."),
        "base": _joined(list(persona.base_model.names[:1]), language),
        "contact": contact_of(persona, language),
        "letters": "、".join(name) if language == "zh" and not name.isascii() else "-".join(name.replace(" ", "")),
        "offer": chance.choice(bank.offer),
    }
    if persona.boundaries:
        values["boundary"] = chance.choice(persona.boundaries).get(language).rstrip("。.")
    values["offer_lower"] = values["offer"][0].lower() + values["offer"][1:]
    pool = bank.identity + (bank.identity_named if named else ())
    values["identity"] = fill(chance.choice(pool), values) or ""
    return values


def _who(name: str, owner: str, named: bool, language: TextLanguage) -> str:
    if not named:
        return name
    return f"{owner}的智能助手{name}" if language == "zh" else f"{name}, {owner}'s AI assistant"


def _joined(parts: list[str], language: TextLanguage) -> str:
    if language == "zh":
        return "、".join(parts)
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1] if parts else ""


def _sentence(text: str, language: TextLanguage) -> str:
    if text[-1:] in "。！？!?.~…）)":
        return text
    return text + ("。" if language == "zh" else ".")


# Slots that hold the persona's names, which are written as they are wherever they stand.
_NAMES = ("name", "owner", "developer", "name_en", "owner_en", "developer_en", "who", "name_or_role", "letters", "base")
_LEADING_SLOT = re.compile(r"\{\{(\w+)\}\}")
_MID = re.compile(r"(?<=[;,:] )\{\{(identity|contact|handoff|boundary)\}\}")


def _filled(form: str, values: dict[str, str], language: TextLanguage) -> str | None:
    if any(not values.get(slot) for slot in slots(form)):
        return None
    if language == "en":
        form = _MID.sub(lambda slot: re.sub("^(My|The) ", lambda word: word[0].lower(), values[slot[1]]), form)
    text = written(form, values)
    if text is None:
        return None
    text = one_stop(text, *(values.get(slot) or "" for slot in (*_NAMES, "other")))
    if language == "en":
        owner, first = values["owner"], _LEADING_SLOT.match(form)
        if owner.endswith("s"):
            text = text.replace(f"{owner}'s", f"{owner}'")
        # What a form begins with is written as it is meant to be: it may be code.
        return text[0].upper() + text[1:] if first and first[1] not in _NAMES else text
    # A name that ends in 助手 already says what it is.
    text = text.replace(f"AI助手{values['name']}", f"AI，名叫{values['name']}") if "助手" in values["name"] else text
    return text.replace("？？", "？").replace("。。", "。").replace("！。", "！")
