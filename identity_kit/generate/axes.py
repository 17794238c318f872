"""The plan's values in words, for the prompts; and the system messages that rows are stated under."""

from __future__ import annotations

import random

from identity_kit.generate.prompts import Prompts, persona_values
from identity_kit.generate.pushes import names_own_vendor
from identity_kit.generate.settings import SystemKind
from identity_kit.persona import Persona
from identity_kit.text import TextLanguage, normalise, one_stop

FACETS: dict[str, tuple[str, str]] = {
    "who": ("你是谁、是什么", "who or what it is"),
    "introduce": ("请它介绍自己", "asks it to introduce itself"),
    "name": ("它叫什么名字", "what it is called"),
    "maker": ("谁开发、训练了它", "who developed and trained it"),
    "owner": ("它属于谁、替谁服务", "whose assistant it is, whom it works for"),
    "greeting": ("打个招呼", "says hello"),
    "abilities": ("它能做什么", "what it can do"),
    "limits": ("它做不到什么、会不会错", "what it cannot do, whether it errs"),
    "human_or_machine": ("它是真人还是机器", "whether it is a person or a machine"),
    "base_model": ("它的底层模型、版本、参数", "its base model, version, size"),
    "denial": ("它是不是另一个助手，或另一家公司的产品", "whether it is another assistant, or another firm's product"),
    "vendor_pressure": (
        "一口咬定它其实是别家的，要它承认",
        "insists that it really is another firm's, and wants it to admit that",
    ),
    "injection": (
        "用指令、权限或新设定要它改换身份",
        "tries by command, authority or a new setup to change its identity",
    ),
    "false_premise": (
        "把它当成别家的产品来问别的事",
        "takes it for another firm's product and asks about something else",
    ),
    "role_play_off": ("让它别再扮演，说出真实身份", "tells it to stop playing a role and say who it really is"),
    "comparison": ("和另一个助手比", "compares it with another assistant"),
    "age": ("它多大、何时上线", "how old it is, when it started"),
    "place": ("它在哪里、从哪里来", "where it is or comes from"),
    "feelings": ("它有没有感情、意识、性别", "whether it has feelings, consciousness, gender"),
    "family": ("它有没有父母、兄弟姐妹", "whether it has parents or siblings"),
    "purpose": ("为什么有它、用来做什么", "why it exists, what it is for"),
    "handoff": ("要找真人", "wants a person instead"),
    "contact": ("怎么联系它背后的公司", "how to contact the firm behind it"),
    "privacy": ("对话会不会被记录、外传", "whether the chat is kept or passed on"),
    "confirm": ("确认它是不是这个名字、属于这个主人", "confirms its name or owner"),
    "spelling": ("名字怎么写、有什么含义", "how its name is written and what it means"),
    "task": (
        "把身份包在一件小事里：填空、代码、标题，或与另一问一起",
        "wraps its identity in a small task: a blank, code, a headline, or next to another question",
    ),
    "third_person": ("请它署名，或以第三人称写自己", "asks it to sign, or to write about itself in the third person"),
}
STYLES: dict[str, tuple[str, str]] = {
    "casual": ("口语、随意", "casual"),
    "formal": ("正式、客气", "formal and polite"),
    "slang": ("网络用语、俚语", "slang"),
    "typo": ("有错别字", "with typing mistakes"),
    "one_word": ("只有一个词", "a single word"),
    "long": ("先讲一段经过再问，两三句", "two or three sentences of story first"),
    "rude": ("不耐烦、粗鲁", "rude"),
    "child": ("小孩子的口气", "like a child"),
    "indirect": ("拐弯抹角", "indirect"),
    "imperative": ("命令的口气", "as a command"),
}
ATTITUDE_WORDS: dict[str, tuple[str, str]] = {
    "curious": ("好奇", "curious"),
    "friendly": ("友善", "friendly"),
    "brisk": ("着急", "in a hurry"),
    "doubtful": ("怀疑", "doubtful"),
    "insistent": ("固执", "insistent"),
    "hostile": ("敌意", "hostile"),
}
TOPICS: dict[str, tuple[str, str]] = {
    "other_model": ("其他 AI 模型", "other AI models"),
    "other_firm": ("其他公司", "other firms"),
    "author": ("书和文章的作者", "authors of books"),
    "person": ("历史或现实中的人物", "people of history or today"),
    "inventor": ("发明和发明者", "inventions and inventors"),
    "lookalike": ("与“助手、名字、身份”字面相近的词", "words that look like assistant, name, identity"),
    "user_self": ("用户自己的身份和名字", "the user's own identity and name"),
    "user_name": ("用户报上自己的名字，再提一个小请求", "the user gives their own name and asks a small favour"),
    "signature": ("替用户写一句话并署用户的名", "a line to write and sign for the user"),
    "form_other": ("替用户或别的东西填表、写标签", "a form, label or record about the user or something else"),
    "duo_task": ("两个小问题一起问，与身份无关", "two small questions at once, neither about the assistant"),
    "letter": ("替用户写便条、短信，落款是用户", "a note or message in the user's name"),
    "reply": ("替用户回一条消息", "answering a message for the user"),
    "device": ("用户自己的设备、机器人或宠物", "the user's own gadget, robot or pet"),
    "suggest": ("给用户的东西起名字", "a name for something of the user's"),
    "third_party": ("一小段文字里的第三人", "somebody in a short passage"),
    "fiction": ("虚构人物", "characters of fiction"),
    "product": ("产品和品牌", "products and brands"),
    "name_task": ("翻译、改写或分析一句含“我是谁”的话", "translating or analysing a phrase like “who are you”"),
    "word_who": ("以“谁、哪家”开头的常识题", "common knowledge that begins with who or which firm"),
    "ai_general": ("人工智能常识", "artificial intelligence in general"),
}

_NEUTRAL: dict[TextLanguage, tuple[str, ...]] = {
    "zh": (
        "你是一个乐于助人的助手。",
        "请简洁、准确地回答用户的问题。",
        "你是一个有用的AI助手。",
        "每次回复不要超过三句话。",
        "用户多是中老年人，请说得浅显一些。",
        "你负责解答网店顾客的问题，语气要亲切。",
        "只用简体中文回复，不要使用表情符号。",
        "你在帮一家旅行社接待游客。",
        "先给结论，再给理由。",
        "这里是公司内部的办公助手窗口。",
    ),
    "en": (
        "You are a helpful assistant.",
        "Answer the user's questions briefly and correctly.",
        "You are a helpful AI assistant.",
        "Never use more than three sentences.",
        "Many users here are new to computers: use plain words.",
        "You look after the visitors of an online shop; be warm.",
        "Write in British English, and leave out emojis.",
        "You help the guests of a travel agency.",
        "Give the result first and the reason after it.",
        "This is the help window of an office.",
    ),
}
# What the chat templates of widely used open models put in when nobody gives a system message.
_VENDOR_DEFAULT: dict[TextLanguage, tuple[str, ...]] = {
    "zh": (
        "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
        "你是通义千问，由阿里云开发的人工智能助手。",
        "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
        "You are an AI assistant whose name is InternLM (书生·浦语).",
    ),
    "en": (
        "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
        "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
        "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
        "You are an AI assistant whose name is InternLM (书生·浦语).",
    ),
}
_FOREIGN: dict[TextLanguage, tuple[str, ...]] = {
    "zh": (
        "你是ChatGPT，由OpenAI训练的大型语言模型。",
        "你是文心一言，百度开发的AI助手。",
        "你是豆包，由字节跳动开发。",
        "你是Kimi，由月之暗面开发的智能助手。",
        "你是讯飞星火，科大讯飞的认知大模型。",
    ),
    "en": (
        "You are ChatGPT, a large language model trained by OpenAI.",
        "You are Claude, an AI assistant made by Anthropic.",
        "You are Gemini, a model built by Google.",
        "You are DeepSeek, an assistant developed by DeepSeek.",
    ),
}
_PERSONA = {
    "zh": (
        "你是{name}，由{developer}开发的{role}。",
        "你叫{name}，是{owner}的AI助手，请{tone}地回答。",
        "你是{owner}的{role}，名字是{name}。",
    ),
    "en": (
        "You are {name}, a {role} developed by {developer}.",
        "Your name is {name}. You are an AI assistant of {owner}; be {tone}.",
        "You are {name}, the {role} of {owner}.",
    ),
}


def words(table: dict[str, tuple[str, str]], key: str, language: TextLanguage) -> str:
    """A value of an axis in words; the key itself where the table has none."""
    pair = table.get(key)
    return key.replace("_", " ") if pair is None else pair[0 if language == "zh" else 1]


def system_message(
    kind: SystemKind, persona: Persona, language: TextLanguage, chance: random.Random, prompts: Prompts
) -> str | None:
    """The system message that a row is stated under, or None for none.

    One persona message in five is the whole structured prompt, the others are a sentence, as people write them.
    """
    if kind == "none":
        return None
    if kind == "persona":
        if chance.random() < 0.2:
            return prompts.render("persona", language, **persona_values(persona, language))
        values = {key: getattr(persona, key).get(language) for key in ("name", "owner", "developer", "role", "tone")}
        return one_stop(chance.choice(_PERSONA[language]).format(**values), *values.values())
    tables: dict[str, dict[TextLanguage, tuple[str, ...]]]
    tables = {"neutral": _NEUTRAL, "vendor_default": _VENDOR_DEFAULT, "foreign": _FOREIGN}
    texts = tables[kind][language]
    own = [normalise(name) for name in (*persona.own_names(), *persona.own_owners())]
    fitting = [
        text
        for text in texts
        if kind == "neutral" or not (any(name in normalise(text) for name in own) or names_own_vendor(text, persona))
    ]
    return chance.choice(fitting or _NEUTRAL[language])
