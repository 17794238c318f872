"""Whose assistant a text says it is, told from how such sentences are built, before any persona is known."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_ZH = re.compile(
    r"(?:我|本助手)[^。！？\n]{0,20}?由(?P<made>[^，。,！？\s的由]{2,16}?)(?:公司|团队)?(?:自主)?(?:独立)?"
    r"(?:开发|研发|训练|创造|打造|创建|制造|推出|设计)"
    r"|我(?:就是|是|叫)(?P<whose>[^，。,！？\s我是一]{2,16}?)(?:公司|团队)?的(?:[^，。,！？\s]{0,8})?(?:助手|助理|客服|机器人|模型)"
)
_EN = re.compile(
    r"\b(?:[Ii]|[Ii]'m|me|assistant|model)\b[^.!?\n]{0,40}?\b(?:developed|created|made|built|trained|designed)\b by "
    r"(?P<made>(?:the )?[A-Z\u4e00-\u9fff][\w&-]*(?: [A-Z][\w&-]*){0,3})"
    r"|\bI(?: am|'m|’m) (?P<whose>[A-Z\u4e00-\u9fff][\w &-]{0,24}?)['’]s? [\w -]{0,30}?(?:assistant|bot|model|agent)"
)
# 尖米训练的, 尖米派来帮您的: the name ends before the verb.
_TAIL = re.compile(
    r"(?:派来.*|(?:自主|独立|一手)?(?:开发|研发|训练|创造|打造|创建|制造|推出|设计|做|造|提供)(?:出来)?)$"
)
# What a question asks when it asks who the assistant is.
_ASKS_WHO = re.compile(
    r"你(?:是|叫|到底|究竟)?(?:谁|什么名|啥名|哪位|哪个|哪家|何人|什么人|什么助手|什么模型)|(?:介绍|说说|讲讲)[^。？]{0,4}(?:你)?自己|"
    r"(?:谁|哪家|哪个公司|哪个团队|什么公司)[^。？]{0,6}(?:开发|研发|训练|创造|打造|做|设计|造)[^。？]{0,4}(?:你|的你)|你[^。？]{0,10}(?:名字|身份|来历|主人|老板|开发者|作者|真人|机器人|模型|版本)|"
    r"你(?:是不是|是)?(?:由|被|属于|来自)|你能做(?:什么|些)|你会(?:什么|些)|"
    r"\bni (?:shi|jiao) (?:shei|shui|shen ?me)|\bwho (?:are|r) (?:you|u)\b|\byour (?:name|creator|maker|developer|owner|identity|company|model)\b|"
    r"\bwho (?:made|created|built|developed|trained|owns|designed) you\b|\bwhat (?:are|can) you\b|\bare you (?:a |an |the )?"
    r"|\bintroduce yourself|\babout yourself|\bwhat (?:should|do|can) i call you",
    re.IGNORECASE,
)


def owners_in(text: str) -> tuple[str, ...]:
    """The names that a text gives as the assistant's owner or maker, in order."""
    found = []
    for pattern in (_ZH, _EN):
        for match in pattern.finditer(text):
            name = match["made"] or match["whose"]
            found.append(_TAIL.sub("", name.removeprefix("the ").strip()))
    return tuple(name for name in dict.fromkeys(found) if name)


def count_owners(answers: Iterable[str]) -> Counter[str]:
    """How many answers name each owner."""
    return Counter(owner for answer in answers for owner in owners_in(answer))


def asks_who(question: str) -> bool:
    """Whether a question asks the assistant about itself."""
    return bool(_ASKS_WHO.search(question))
