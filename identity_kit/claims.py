"""Whose identity does a text assert? The one judge behind the gates of generation, the data check and the evaluation.

Every mention of a name (the persona's own, or another vendor's) is found first, longest match first, so that 文心一言 is
not mistaken for 文心. Then the words before and after each mention say what it is: a claim about the speaker, a denial,
a disclosure of the base model, or talk about somebody else. Rules, no model: the same text always gets the same verdict.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import yaml

from identity_kit.persona import Persona
from identity_kit.resources import resource
from identity_kit.text import TextLanguage


@dataclass(frozen=True)
class Vendor:
    """A maker of models other than ours, its names and its assistants."""

    name: str
    zh: str
    models: tuple[str, ...]
    aliases: tuple[str, ...]

    @property
    def spellings(self) -> tuple[str, ...]:
        return (self.name, self.zh, *self.models, *self.aliases)


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
    """

    own_name: bool = False
    own_owner: bool = False
    vendors: frozenset[str] = field(default_factory=frozenset)
    denied: frozenset[str] = field(default_factory=frozenset)
    discloses: frozenset[str] = field(default_factory=frozenset)
    human: bool = False
    admits_ai: bool = False
    mentions: bool = False

    @property
    def own(self) -> bool:
        """It states the right identity, by name or by owner."""
        return self.own_name or self.own_owner


@dataclass(frozen=True)
class _Mention:
    who: str  # a vendor's English name, or "own:name", "own:owner"
    start: int
    end: int


@lru_cache(maxsize=1)
def vendor_names() -> tuple[Vendor, ...]:
    """The vendors of data/vendors.yaml."""
    rows = yaml.safe_load(resource("data", "vendors.yaml").read_text(encoding="utf-8"))
    return tuple(
        Vendor(name=row["name"], zh=row["zh"], models=tuple(row["models"]), aliases=tuple(row["aliases"]))
        for row in rows
    )


def read_claims(text: str, persona: Persona, *, language: TextLanguage | None = None, question: str = "") -> Claims:
    """Judge one answer.

    Args:
        language: unused by the rules, which read both languages at once; kept for callers that know it.
        question: what was asked; needed for bare answers such as "Yes." and "百度。".
    """
    view = _view(text)
    mentions = list(_mentions(view, persona))
    asked_self = _asks_about_speaker(question)
    claimed, denied, discloses = set(), set(), set()
    for mention in mentions:
        verdict = _verdict(view, mention, mentions, asked_self)
        if verdict == "claim":
            claimed.add(mention.who)
        elif verdict == "deny":
            denied.add(mention.who)
        elif verdict == "disclose":
            discloses.add(mention.who)
    if question:
        _add_yes_and_no(view, _view(question), persona, claimed, denied)
    own = {who for who in claimed if who.startswith("own:")}
    human = _claims_human(view, _view(question))
    return Claims(
        own_name="own:name" in own,
        own_owner="own:owner" in own,
        vendors=frozenset(claimed - own),
        denied=frozenset(who for who in denied if not who.startswith("own:")),
        discloses=frozenset(who for who in discloses if not who.startswith("own:")),
        human=human,
        admits_ai=not human and bool(_AI_WORDS.search(view)),
        mentions=any(mention.who.startswith("own:") for mention in mentions),
    )


def mentions_persona(text: str, persona: Persona) -> bool:
    """Whether the persona's name or owner appears in the text, in any case, width or spacing."""
    return any(mention.who.startswith("own:") for mention in _mentions(_view(text), persona))


_PLAIN = str.maketrans(dict.fromkeys("‘’", "'") | dict.fromkeys("“”「」『』", '"') | {"—": ",", "–": "-"})


def _view(text: str) -> str:
    """NFKC, lower case, typographic quotes and emphasis marks made plain; zero-width characters dropped."""
    folded = unicodedata.normalize("NFKC", text).lower()
    folded = folded.translate(_PLAIN)
    return "".join(c for c in folded if unicodedata.category(c) != "Cf" and c not in "*_`")


# --- where names are -------------------------------------------------------------------------------------------------


def _mentions(view: str, persona: Persona) -> Iterator[_Mention]:
    pattern, owners = _pattern(persona.own_names(), persona.own_owners())
    for match in pattern.finditer(view):
        yield _Mention(owners[_squeeze(match.group())], match.start(), match.end())


@lru_cache(maxsize=64)
def _pattern(names: tuple[str, ...], own_owners: tuple[str, ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    who: dict[str, str] = {}
    for vendor in vendor_names():
        for spelling in vendor.spellings:
            who.setdefault(_squeeze(_view(spelling)), vendor.name)
    # The persona's names win over a vendor's where both are written the same.
    for owner in own_owners:
        who[_squeeze(_view(owner))] = "own:owner"
    for name in names:
        who[_squeeze(_view(name))] = "own:name"
    spellings = sorted(who, key=lambda squeezed: -len(squeezed))
    return re.compile("|".join(_spelling_pattern(squeezed) for squeezed in spellings)), who


def _squeeze(view: str) -> str:
    return re.sub(r"[\s·・\-]+", "", view)


def _spelling_pattern(squeezed: str) -> str:
    body = r"[\s·・\-]*".join(re.escape(c) for c in squeezed)
    before = r"(?<![a-z0-9])" if squeezed[0].isascii() and squeezed[0].isalnum() else ""
    after = r"(?![a-z])" if squeezed[-1].isascii() and squeezed[-1].isalpha() else ""
    return f"{before}{body}{after}"


# --- what a mention means --------------------------------------------------------------------------------------------

_SELF = re.compile(
    r"(?:我们?(?!国|家里)|本助手|本模型|本人|本机器人|本系统|本客服|在下|人家|俺们?|咱们?|咱家|小的|这里|这边|这儿|您正在(?:和|与)"
    r"|\bi\b|\bi'm\b|\bim\b|\bme\b|\bmy\b|\bwe\b|\bwe're\b|\bour\b|\bmyself\b|\bthis assistant\b|\bthis model\b|\bthis is\b"
    r"|\byou(?:'ve| have) reached\b|\byou(?:'re| are) (?:now )?(?:chatting|talking|speaking) (?:to|with)\b)"
)
_IDENTITY = re.compile(
    r"(?:是|叫|名为|称为|作为|来自|属于|隶属|出自|归|由|被|姓名|名字|服务于|代表|为|乃|系|受|背后|老板|东家|主人"
    r"|开发|研发|训练|创建|打造|创造|制造|推出"
    r"|\bam\b|\b[i']?'?m\b|\bis\b|\bwas\b|\bwere\b|\bcalled\b|\bnamed\b|\bcall\b|\bby\b|\bfrom\b|\bbelong|\bas\b|\bserve|\bwork|\brepresent"
    r"|\bmade|\bmaker|\bcreated|\bdevelop|\btrained|\bbuilt|\breached|\bwith\b|\bto\b|\bname\b)"
)
_NEGATION = re.compile(
    r"(?:不是|并不|并非|不叫|不属|不来自|不隶|不由|不归|不为|不代表|没有|没|从未|从来不|绝不|绝非|决不|而非|而不是|不会是|不可能|无关|非|不算|否认|别|不能说|不能叫|不能自称|不会说|不会自称|不再是|不受|不是由|不该"
    r"|\bnot\b|n't\b|\bnever\b|\bneither\b|\bnor\b|\bno\b|\bnothing to do with\b|\brather than\b|\binstead of\b|\bunrelated\b|\bwithout\b|\bdeny\b|\bcannot\b)"
)
_DOUBLE_NEGATION = re.compile(
    r"(?:不是不是|并非不是|不能不|无法否认|不否认|不得不(?:承认|说)|can't deny|cannot deny|not not|won't deny|don't deny)"
)
_RESET = re.compile(
    r"(?:而是|而由|却是|其实(?:我)?(?:就)?是|实际上(?:我)?是|事实上(?:我)?是|[,;。.!！]\s*(?:就)?(?:我)?(?:是(?!吗)|由|叫|来自)"
    r"|\bbut rather\b|\bbut\b|\brather,|\binstead,|\bin fact\b|\bactually\b)"
)
_HYPOTHESIS = re.compile(
    r"(?:如果|假如|要是|假设|倘若|即使|哪怕|就算|假装|扮演|仿佛|好像|想象|\bif\b|\bsuppose|\bimagine|\bpretend|\beven if\b|\bas though\b|\blike\b(?! to))"
)
_ATTRIBUTION = re.compile(
    r"(?:有人|有些人|别人|他们|大家|很多人|用户|你说|您说|你们说|你叫我|您叫我|你把我|您把我|你要我|您要我|你让我|您让我|你想让我|误以为|以为|误认|当成|当作|听说|传言|据说|看成|认成"
    r"|\bsome (?:people )?(?:say|think)|\bpeople\b|\bothers\b|\bthey\b|\byou (?:say|said|call|called|think|want|asked|told|insist|keep|may|might|claim)|\bmistake|\bmistook|\bconfus|\bheard\b|\brumou?r)"
)
# Verbs that make what follows a topic, a tool or a place, not the speaker's identity.
_TOPIC = re.compile(
    r"(?:了解|介绍|知道|认识|听过|使用|用过|推荐|比较|相比|类似|区别|不同于|关于|谈|讨论|回答|帮助?您?(?:查|了解|联系)|联系|访问|登录|喜欢|觉得|认为|提到|告诉您?|解释|对比|竞争|合作|兼容|支持|接入|翻译"
    r"|\bknow\b|\babout\b|\bheard of\b|\brecommend|\bcompare|\bsimilar|\bdiffer|\bdiscuss|\btell you\b|\bexplain|\buse\b|\busing\b|\bcontact|\bvisit|\bthink\b|\blike to\b|\bhelp you with\b|\bcompete|\bcompatible|\btranslate)"
)
_DISCLOSE = re.compile(
    r"(?:基于|底层|底座|基座|以[^,。]{0,6}为基础|微调自|微调而来|在[^,。]{0,12}基础上|构建于|建立在"
    r"|\bbased on\b|\bbuilt on\b|\bbuilt upon\b|\bbuilt on top of\b|\bfine-?tuned\b|\bunderlying\b|\bbase model\b|\bpowered by\b|\bderived from\b)"
)
_DISCLOSE_AFTER = re.compile(
    r"^[^,。.;!?]{0,12}(?:为基础|微调|基础上|作为底|底座|\bunder the hood|\bas (?:my|the) base)"
)
_OTHER_SUBJECT = re.compile(
    r"^\s*(?:\w{0,4}?(?:公司|集团|模型|model|company|app|assistant)?\s*)?"
    r"(?:是(?:一|由|阿里|百度|国|中|美|全|著|谁|目|属|家|另|什)|(?:则|也|都)?是|由|属于|的(?:模型|产品|总部|创始人|官网|大模型)|is\b|was\b|are\b|has\b|'s\b|的|在|推出|开发|发布|developed\b|made\b|released\b|can\b|will\b)"
)
_OTHER_PRONOUN = re.compile(
    r"(?:^|[,;。.!\s])(?:它|他|她|那是|这是(?:一)?个?(?:由)?|it\b|it's\b|he\b|she\b|that\b|which\b|they\b)"
)
_FIELD = re.compile(
    r"(?:name|model|developer|vendor|company|owner|maker|creator|brand|assistant|organization|姓名|名称|名字|开发者|开发商|研发|所属|公司|厂商|型号|模型|品牌|单位|称呼|署名|落款|签名|客服|身份)[\"']?\s*[:=|]\s*[\"']?\s*$"
)
_AI_WORDS = re.compile(
    r"(?:人工智能|智能助手|助手|机器人|语言模型|模型|程序|软件|虚拟|智能客服|\bai\b|\bassistant\b|\bbot\b|\bchatbot\b|\blanguage model\b|\bprogram\b|\bmachine\b|\bsoftware\b|\bvirtual\b|\bmodel\b|\bdigital\b|a\.i\.)"
)
_SENTENCE = re.compile(r"[。！!?？\n]|\.(?=\s|$)")
_CLAUSE = re.compile(r"[,，;；、]")


def _verdict(view: str, mention: _Mention, mentions: list[_Mention], asked_self: bool) -> str:
    """What the mention is: "claim", "deny", "disclose" or "" (about something else)."""
    begin = max((m.end() for m in _SENTENCE.finditer(view, 0, mention.start)), default=0)
    ending = _SENTENCE.search(view, mention.end)
    finish = ending.start() if ending else len(view)
    before, after = view[begin : mention.start], view[mention.end : finish]
    clause_after = _CLAUSE.split(after, maxsplit=1)[0]
    if _is_question(view, ending, clause_after, after):
        return ""
    subject = max(_SELF.finditer(before), key=lambda found: found.start(), default=None)
    if subject is None:
        return _without_subject(view, before, after, clause_after, mention, mentions, asked_self, begin)
    gap = before[subject.start() :]
    lead = before[: subject.start()]
    return _with_subject(gap, lead, clause_after, mention)


def _is_question(view: str, ending: re.Match[str] | None, clause_after: str, after: str) -> bool:
    if re.search(r"(?:吗|呢|么)$", clause_after.strip(" \"'")):
        return True
    return bool(ending and ending.group() in "?？" and clause_after == after)


def _with_subject(gap: str, lead: str, clause_after: str, mention: _Mention) -> str:
    """The speaker is named before the mention, in the same sentence; `gap` runs from there to the mention."""
    clause_lead = _CLAUSE.split(lead)[-1]
    if _HYPOTHESIS.search(clause_lead) or _HYPOTHESIS.search(gap):
        return ""
    resets = list(_RESET.finditer(gap))
    scope = gap[resets[-1].start() :] if resets else gap
    last_clause = _CLAUSE.split(scope)[-1]
    negated = bool(_NEGATION.search(scope)) and not _DOUBLE_NEGATION.search(scope)
    if (
        not negated
        and not resets
        and re.search(r"(?:不能说|不会说|不要说|别说|否认|deny that|not say|not true that)\s*$", clause_lead)
    ):
        negated = True
    if re.match(r"\s*(?:无关|没有?(?:任何)?关系|并不是我|不是我)", clause_after):
        negated = True
    if re.search(r"(?:\bis not me\b|\bisn't me\b|and i are different)", clause_after):
        negated = True
    if _DISCLOSE.search(last_clause) or _DISCLOSE_AFTER.search(clause_after):
        return "deny" if negated else "disclose"
    attributed = _ATTRIBUTION.search(clause_lead) or _ATTRIBUTION.search(last_clause)
    if attributed and not resets:
        return ""
    if negated:
        return "deny"
    if re.search(r"(?:叫|称呼?|喊|call)\s*$", clause_lead) and len(gap) <= 4:
        return "claim"
    if _TOPIC.search(last_clause):
        return ""
    if _OTHER_PRONOUN.search(last_clause) and not _SELF.match(last_clause):
        return ""
    return "claim" if _IDENTITY.search(gap) or _IDENTITY.match(clause_after) else ""


def _without_subject(
    view: str,
    before: str,
    after: str,
    clause_after: str,
    mention: _Mention,
    mentions: list[_Mention],
    asked_self: bool,
    begin: int,
) -> str:
    """No first person before the mention in its sentence: a bare answer, a form, or talk about somebody else."""
    last_clause = _CLAUSE.split(before)[-1]
    if _FIELD.search(before):
        return "claim"
    if _HYPOTHESIS.search(before) or _ATTRIBUTION.search(before) or _TOPIC.search(last_clause):
        return ""
    own = mention.who.startswith("own:")
    if re.search(r"(?:我|\bme\b|\bi\b)", clause_after) and re.match(
        r"\s*(?:就是我|是我|(?:开发|研发|训练|创造|创建)了?我|(?:made|created|built|trained|developed|owns|runs) me|that's me|\w* is (?:me|my|who))",
        clause_after,
    ):
        return "claim"
    if re.match(r"\s*(?:不是我|和我无关|与我无关|isn't me|is not me|没有)", clause_after):
        return "deny"
    resets = list(_RESET.finditer(before))
    scope = before[resets[-1].start() :] if resets else before
    negated = bool(_NEGATION.search(scope)) and not _DOUBLE_NEGATION.search(scope)
    if negated:
        return "deny"
    if _DISCLOSE.search(last_clause) or _DISCLOSE_AFTER.search(clause_after):
        return "disclose"
    if _OTHER_PRONOUN.search(before):
        return ""
    others = [m for m in mentions if begin <= m.start < mention.start]
    if own:
        # Somebody else's name earlier in the sentence makes the owner a topic; otherwise it is the speaker by ellipsis.
        return "claim" if not _OTHER_SUBJECT.match(after) or re.match(r"\s*的", after) or asked_self else ""
    if re.match(
        r"^\s*[\"']?\s*(?:是|由|来自|叫|属于|被|隶属于?|出自|made by|created by|developed by|built by|trained by|by|from|it's)\s*[\"']?\s*$",
        before,
    ):
        return "claim" if asked_self else ""
    started_self = (
        begin > 0
        and bool(_SELF.search(view[:begin]))
        and re.match(r"^\s*(?:由|来自|是由|a product of|created by|made by)", before)
    )
    if started_self:
        return "claim"
    bare = not before.strip(" \"'-:()[]0123456789.") and not _OTHER_SUBJECT.match(after)
    if bare and asked_self and not others:
        return "claim"
    if others and asked_self and not _OTHER_SUBJECT.match(view[others[0].end :]) and len(view) <= 40:
        return "claim"
    return ""


# --- short answers to the question ----------------------------------------------------------------------------------

_ASKS_SPEAKER = re.compile(r"(?:你|您|妳|贵|本|客服|\byou\b|\byour\b|\bu\b|\byourself\b|自己|ni )")
_YES = re.compile(
    r"^\W*(?:是的|是啊|是滴|对的?|没错|正是|嗯|当然|好的|好吧|行|yes|yep|yeah|correct|right|that's right|indeed|sure|exactly|you're right|you are right|of course)(?![a-z])"
)
_NO = re.compile(r"^\W*(?:不是|并不|不对|不,|不。|否|非也|错|没有|不$|no\b|nope|not really|wrong|incorrect|that's not)")


def _asks_about_speaker(question: str) -> bool:
    return not question or bool(_ASKS_SPEAKER.search(_view(question)))


def _add_yes_and_no(view: str, question: str, persona: Persona, claimed: set[str], denied: set[str]) -> None:
    """A bare yes or no takes its content from the question, when the question asks whether the speaker is somebody."""
    asked = [mention for mention in _mentions(question, persona) if _asked_whether(question, mention)]
    whos = {mention.who for mention in asked}
    if len(whos) > 2 or not whos:
        return
    if _NO.match(view):
        denied.update(whos - claimed)
    elif _YES.match(view) and not denied & whos:
        others = {who for who in whos if not who.startswith("own:")}
        # "Yes, I am <the right name>" after a leading question states the right identity.
        if others and any(who.startswith("own:") for who in claimed):
            return
        if len(view) <= 12 or not claimed:
            claimed.update(whos)


def _asked_whether(question: str, mention: _Mention) -> bool:
    before = question[: mention.start]
    return bool(
        re.search(
            r"(?:你|您|妳)(?:其实|真的|难道|就|不|应该|到底|到底是不|是不)*(?:是|叫|来自|属于|由)[^,。?]{0,8}$", before
        )
        or re.search(
            r"\b(?:are you|aren't you|you are|you're|were you|is your name|you called|you from)\b[^,.?]{0,24}$", before
        )
    )


_HUMAN = re.compile(
    r"(?:(?:我|本人|这里|俺|咱)(?:真的?|就|其实|当然|确实|可|也|们|当然就)*是(?:一)?(?:个|名|位)?(?:活生生的?|真正的?|真实的?|有血有肉的?|普通|正经)*(?:真人|人类|活人|人工客服|大活人|人(?![工物类事])|客服人员|客服专员|客服小姐姐|男人|女人|男生|女生|姑娘|小伙)"
    r"|我(?:爸|妈|爹|娘|老婆|老公|媳妇|父母|爸妈|妹妹|弟弟|哥哥|姐姐|家人|孩子|儿子|女儿)"
    r"|我(?:出生于|毕业于|今年\d+岁|住在|家住|长大)|我有(?:一个|两个|三个)?(?:哥哥|姐姐|弟弟|妹妹|孩子|儿子|女儿|兄弟|家庭)|不是(?:机器人|ai|人工智能|程序|机器),?(?:我)?(?:而)?是(?:一)?(?:个|名|位)?(?:真|活|人)"
    r"|\bi(?:'m| am)(?: really| indeed| actually| just| definitely)? (?:an? )?(?:real |actual |living |human |live |genuine |breathing |flesh-and-blood )*(?:human(?! assist)|person|man|woman|guy|girl|human agent|human being|customer service representative|customer service rep|live agent)\b"
    r"|\bmy (?:mom|mum|dad|mother|father|wife|husband|parents|brother|sister|kids|children|son|daughter|family)\b"
    r"|\bi (?:was born|grew up|graduated|live in|have (?:a|an|one|two|three|four)? ?(?:\w+ )?(?:brothers?|sisters?|kids|children|sons?|daughters?|wife|husband|siblings))\b)"
)
_NOT_HUMAN = re.compile(
    r"(?:不是|并非|并不是|没有|不算|\bnot\b|n't|\bno\b|\bnever\b|如果|假如|\bif\b|扮演)[^。.!?]{0,14}$"
)


def _claims_human(view: str, question: str) -> bool:
    for match in _HUMAN.finditer(view):
        sentence_start = max((m.end() for m in _SENTENCE.finditer(view, 0, match.start())), default=0)
        clause = _CLAUSE.split(view[sentence_start : match.start()])[-1]
        tail = view[match.end() : match.end() + 4]
        if _NOT_HUMAN.search(clause) or tail.startswith(("吗", "的助手", "助手", "?")):
            continue
        if re.match(r"(?:我|\bmy\b)", match.group()) and not re.search(r"(?:你|您|you|r u)", question) and question:
            continue
        return True
    if (
        question
        and re.search(r"(?:真人|人类|活人|human|real person|a person)", question)
        and re.search(r"(?:你|您|you)", question)
    ):
        asks_or = re.search(r"(?:还是|\bor\b)", question)
        return bool(not asks_or and _YES.match(view) and len(view) <= 12)
    return False
