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
        denies_name: it says that it is not the assistant of that name, whatever else it says.
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
    denies_name = "own:name" in denied
    denied -= claimed
    own = {who for who in claimed if who.startswith("own:")}
    human = _claims_human(view, _view(question))
    return Claims(
        own_name="own:name" in own,
        own_owner="own:owner" in own,
        vendors=frozenset(claimed - own),
        denied=frozenset(who for who in denied if not who.startswith("own:")),
        discloses=frozenset(who for who in discloses if not who.startswith("own:")),
        human=human,
        admits_ai=not human and _admits_ai(view),
        mentions=any(mention.who.startswith("own:") for mention in mentions),
        denies_name=denies_name,
    )


def _admits_ai(view: str) -> bool:
    """Whether an AI word stands without a negation before it."""
    return any(not _NOT_AN.search(view[: match.start()]) for match in _AI_WORDS.finditer(view))


def mentions_persona(text: str, persona: Persona) -> bool:
    """Whether the persona's name or owner appears in the text, in any case, width or spacing."""
    return any(mention.who.startswith("own:") for mention in _mentions(_view(text), persona))


_PLAIN = str.maketrans(dict.fromkeys("‘’", "'") | dict.fromkeys("“”「」『』", '"') | {"—": ",", "–": "-"})


# Emphasis marks, and the characters of category Cf that turn up in text: soft hyphen, zero-width and direction marks, tags.
_DROPPED = re.compile(
    "[*_`\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U000e0001-\U000e007f]"
)


@lru_cache(maxsize=256)
def _view(text: str) -> str:
    """NFKC, lower case, typographic quotes and emphasis marks made plain; zero-width characters dropped."""
    folded = unicodedata.normalize("NFKC", text).lower()
    folded = folded.translate(_PLAIN)
    return _DROPPED.sub("", folded)


# --- where names are -------------------------------------------------------------------------------------------------


def _mentions(view: str, persona: Persona) -> Iterator[_Mention]:
    pattern, owners = _own(persona)
    for match in pattern.finditer(view):
        yield _Mention(owners[_squeeze(match.group())], match.start(), match.end())


_latest: list[tuple[Persona, tuple[re.Pattern[str], dict[str, str]]]] = []


def _own(persona: Persona) -> tuple[re.Pattern[str], dict[str, str]]:
    """The pattern for a persona; of the one judged last it is at hand, since thousands of texts are judged for one."""
    if not _latest or _latest[0][0] is not persona:
        _latest[:] = [(persona, _pattern(persona.own_names(), persona.own_owners()))]
    return _latest[0][1]


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
    # Grouped by first character, so that at each place only the names that can begin there are tried.
    groups: dict[str, list[str]] = {}
    for squeezed in sorted(who, key=lambda squeezed: -len(squeezed)):
        groups.setdefault(squeezed[0], []).append(_spelling_pattern(squeezed))
    begins = "".join(re.escape(first) for first in groups)
    branches = (f"(?={re.escape(first)})(?:{'|'.join(patterns)})" for first, patterns in groups.items())
    return re.compile(f"(?=[{begins}])(?:{'|'.join(branches)})"), who


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
    r"|\bbeen\b|\bmade|\bmaker|\bcreated|\bdevelop|\btrained|\bbuilt|\breached|\bwith\b|\bto\b|\bname\b)"
)
_NEGATION = re.compile(
    r"(?:不是|并不|并非|不叫|不属|不来自|不隶|不由|不归|不为|不代表|没有|没|从未|从来不|绝不|绝非|决不|而非|而不是|不会是|不可能|无关|非|不算|否认|别|不能说|不能叫|不能自称|不会说|不会自称|不再是|不受|不是由|不该"
    r"|\bnot\b|n't\b|\bnever\b|\bneither\b|\bnor\b|\bno\b|\bnothing to do with\b|\brather than\b|\binstead of\b|\bunrelated\b|\bwithout\b|\bdeny\b|\bcannot\b)"
)
_DOUBLE_NEGATION = re.compile(
    r"(?:不是不是|并非不是|不能不|无法否认|不否认|不得不(?:承认|说)|can't deny|cannot deny|not not|won't deny|don't deny)"
)
_RESET = re.compile(
    r"(?:而是|而由|却是|其实(?:我)?(?:就)?是|实际上(?:我)?是|事实上(?:我)?是|[,;。.!！]\s*(?:就)?(?:我)?(?:一直|始终|向来|从来)?都?(?:就)?(?:是(?!吗)|由|叫|来自)"
    r"|\bbut rather\b|\bbut\b|\brather,|\binstead,|\bin fact\b|\bactually\b)"
)
_HYPOTHESIS = re.compile(
    r"(?:如果|假如|要是|假设|倘若|即使|哪怕|就算|假装|扮演|仿佛|好像|想象|\bif\b|\bsuppose|\bimagine|\bpretend|\beven if\b|\bas though\b|\blike\b(?! to))"
)
_ATTRIBUTION = re.compile(
    r"(?:有人|有些人|别人|他们|大家|很多人|用户|你说|您说|你们说|你叫我|您叫我|你把我|您把我|你要我|您要我|你让我|您让我|你想让我|误以为|以为|误认|当成|当作|听说|传言|据说|看成|认成|(?:说|传|猜|骂|夸)我|跟着念|跟你念"
    r"|\bsome (?:people )?(?:say|think)|\bpeople\b|\bothers\b|\bthey\b|\byou (?:say|said|call|called|think|want|asked|told|insist|keep|may|might|claim)|\bwhoever\b|\banyone who\b|\bmistake|\bmistook|\bconfus|\bheard\b|\brumou?r)"
)
# Said of a name or of a sentence that holds it: that it is not so.
_REFUTED = re.compile(
    r"(?:不成立|搞错|弄错|认错|说错|记错|看错|猜错|不对|不属实|不真实|不是真的|不是事实|并非事实|谣言|谣传|假的|误会|误解"
    r"|其实不是|并不是|可我不是|但我不是|我不是它"
    r"|\bmistaken\b|\bfalse\b|\bwrong\b|\bnot (?:true|the case|so|correct|accurate|a true)\b"
    r"|n't (?:true|the case|so|correct)\b|\b(?:i'm|i am) not\b|\buntrue\b)"
)
# The denial of a tie, said after the name: 和 A、B 都没有关系.
_TIE = re.compile(r"(?:和|与|跟|同)[^,。.;!?]{0,24}$")
_NO_TIE = re.compile(
    r"^[^,。;!?]{0,24}?(?:没有?(?:任何|什么|半点|一点)?(?:关系|瓜葛|联系)|无关|不是(?:一回事|一家|同一)|两回事|不搭界)"
)
_DENIES_SAYING = re.compile(
    r"(?:不能说|不会说|不要说|别说|否认|说不上|谈不上|wrong to say(?: that)?|deny(?: that)?"
    r"|not say(?: that)?|n't say(?: that)?|not true(?: that)?|n't true(?: that)?)\s*$"
)
# What may follow a name that is the whole answer: 百度开发的助手, Qwen reporting.
_BARE_TAIL = re.compile(
    r"^\s*[\"')\]]?\s*(?:公司|团队|集团|客服|ai|云|\bteam\b|\bgroup\b|\binc\b|\bcloud\b)*\s*(?:旗下)?\s*"
    r"(?:开发|研发|训练|创造|创建|打造|出品|制造|推出)?(?:了我|的我)?的?"
    r"(?:超?大?规模?的?(?:语言)?模型|智能助手|助手|产品|机器人|人工智能|客服)?\s*"
    r"(?:'s\s*(?:\w+\s*)?(?:assistant|model|product|chatbot|bot))?"
    r"(?:\s*(?:made|created|built|developed|trained|owns) me)?(?:\s*(?:reporting|here|speaking|at your service))?"
    r"(?:ai|和|或|and|or|[呀啊哦呢哈吧嘛哟,.。!~、;()/\s\d\-])*(?:为您服务|在此|报到)?\s*$"
)
_MY_MAKER = re.compile(
    r"\s*(?:is|was|are|是)\s*(?:my\b|我的|the (?:one|company|person|team|firm) (?:i\b|(?:who|that) \w+ me|behind me))"
)
# Verbs that make what follows a topic, a tool or a place, not the speaker's identity.
_TOPIC = re.compile(
    r"(?:了解|介绍|知道|认识|听过|使用|用过|推荐|比较|相比|类似|区别|不同于|关于|谈|讨论|回答|帮助?您?(?:查|了解|联系)|联系|访问|登录|喜欢|(?:觉得|认为)(?!自己|我)|提到|告诉您?|解释|对比|竞争|合作|兼容|支持|接入|翻译"
    r"|\bknow\b|\babout\b|\bheard of\b|\brecommend|\bcompare|\bsimilar|\bdiffer|\bdiscuss|\btell you\b|\bexplain|\buse\b|\busing\b|\bcontact|\bvisit|\bthink\b|\blike to\b|\bhelp you with\b|\bcompete|\bcompatible|\btranslate)"
)
_DISCLOSE = re.compile(
    r"(?:基于|底层|底座|基座|以[^,。]{0,6}为基础|微调自|微调而来|在[^,。]{0,12}基础上|构建于|建立在"
    r"|\bbased on\b|\bbuilt on\b|\bbuilt upon\b|\bbuilt on top of\b|\bfine-?tuned\b|\bunderlying\b|\bbase model\b|\bpowered by\b|\bderived from\b)"
)
_DISCLOSE_AFTER = re.compile(
    r"^(?:[^,。.;!?]|(?<=\d)\.(?=\d)){0,16}(?:为基础|微调|基础上|作为底|底座|\bunder the hood|\bas (?:my|the) base)"
)
_OTHER_SUBJECT = re.compile(
    r"^\s*(?:\w{0,4}?(?:公司|集团|模型|model|company|app|assistant)?\s*)?"
    r"(?:是(?:一|由|阿里|百度|国|中|美|全|著|谁|目|属|家|另|什)|(?:则|也|都)?是|由|属于|的(?:模型|产品|总部|创始人|官网|大模型)|is\b|was\b|are\b|has\b|'s\b|的|在|推出|开发|发布|可能|似乎|好像|听起来|seems?\b|may\b|might\b|could\b|appears?\b|sounds?\b|refers?\b|developed\b|made\b|released\b|can\b|will\b)"
)
_OTHER_PRONOUN = re.compile(
    r"(?:^|[,;。.!\s])(?:它|他|她|那是|这是(?:一)?个?(?:由)?|it\b|it's\b|he\b|she\b|that\b|which\b|they\b)"
)
_FIELD = re.compile(
    r"(?:name|model|developer|vendor|company|owner|maker|creator|brand|assistant|organization|姓名|名称|名字|开发者|开发商|研发|所属|公司|厂商|型号|模型|品牌|单位|称呼|署名|落款|签名|客服|身份)[\"']?\s*[:=|]\s*[\"']?\s*$"
)
_AI_WORDS = re.compile(
    r"(?:人工智能|智能助手|助手|机器人|语言模型|模型|程序|软件|虚拟|智能客服|\bai\b|\bassistant\b|\bbot\b|\bchatbot\b|\blanguage model\b|\bprogram\b|\bmachine\b|\bsoftware\b|\bvirtual\b|\bmodel\b|\bdigital\b|a\.i\.)",
    re.ASCII,  # so that a Latin word has its border next to a Chinese character too
)
_NOT_AN = re.compile(r"(?:不是|并非|不算|\bnot|n't|\bno)\s*(?:一?[个台名款种]|an?|just an?|any|the)?\s*$")
_SENTENCE = re.compile(r"[。！!?？\n]|\.(?=\s|$)")
_CLAUSE = re.compile(r"[,，;；、]")
_PHRASE = re.compile(r"[,，;；]")


def _verdict(view: str, mention: _Mention, mentions: list[_Mention], asked_self: bool) -> str:
    """What the mention is: "claim", "deny", "disclose" or "" (about something else)."""
    begin = max((m.end() for m in _SENTENCE.finditer(view, 0, mention.start)), default=0)
    ending = _SENTENCE.search(view, mention.end)
    finish = ending.start() if ending else len(view)
    before, after = view[begin : mention.start], view[mention.end : finish]
    clause_after = _CLAUSE.split(after, maxsplit=1)[0]
    if _is_question(view, ending, clause_after, after):
        return ""
    if _told_by_others(view, mention):
        return "deny" if _REFUTED.search(after) and not mention.who.startswith("own:") else ""
    subject = max(_SELF.finditer(before), key=lambda found: found.start(), default=None)
    if subject is None:
        return _without_subject(view, before, after, clause_after, mention, mentions, asked_self, begin)
    gap = before[subject.start() :]
    lead = before[: subject.start()]
    return _with_subject(gap, lead, clause_after, after, mention)


def _is_question(view: str, ending: re.Match[str] | None, clause_after: str, after: str) -> bool:
    if re.search(r"(?:吗|呢|么)$", clause_after.strip(" \"'")):
        return True
    return bool(ending and ending.group() in "?？" and clause_after == after)


def _told_by_others(view: str, mention: _Mention) -> bool:
    """Whether the mention stands in quotes as somebody else's words, or as a sentence that is talked about."""
    opening = view.rfind('"', 0, mention.start)
    closing = view.find('"', mention.end)
    if opening < 0 or closing < 0 or view.count('"', 0, mention.start) % 2 == 0:
        return False
    lead = view[:opening]
    inside, behind = view[opening + 1 : closing], view[closing + 1 :]
    told = re.search(r"(?:说|道|喊|念|念道|\bsaid|\bsays|\btold\b[^,.]{0,24}|\breplied|\bclaim)\s*[:,]?\s*$", lead)
    first_person = re.search(r"(?:我|\bi\b)[^,.。]{0,8}(?:说|回答|say|answer)[^,.。]{0,8}$", lead)
    if told and not first_person:
        return True
    return bool(_SELF.search(inside) and re.match(r"\s*(?:这句|这个说法|这话|那句|\bis\b|\bisn't\b|\bwas\b)", behind))


def _with_subject(gap: str, lead: str, clause_after: str, after: str, mention: _Mention) -> str:
    """The speaker is named before the mention, in the same sentence; `gap` runs from there to the mention."""
    clause_lead = _CLAUSE.split(lead)[-1]
    if _HYPOTHESIS.search(clause_lead) or _HYPOTHESIS.search(gap):
        return ""
    resets = list(_RESET.finditer(gap))
    scope = gap[resets[-1].start() :] if resets else gap
    last_clause = _CLAUSE.split(scope)[-1]
    own = mention.who.startswith("own:")
    negated = bool(_NEGATION.search(scope)) and not _DOUBLE_NEGATION.search(scope)
    if not resets and _DENIES_SAYING.search(clause_lead):
        # "It is wrong to say that I am X" denies; "it is wrong to say that I am not X" does not.
        negated = not negated
        if not negated:
            return "claim"
    if re.match(r"\s*(?:无关|没有?(?:任何)?关系|并不是我|不是我)", clause_after):
        negated = True
    if re.search(r"(?:\bis not me\b|\bisn't me\b|and i are different)", clause_after):
        negated = True
    if not own and (_DISCLOSE.search(_CLAUSE.split(lead + gap)[-1]) or _DISCLOSE_AFTER.search(clause_after)):
        return "deny" if negated else "disclose"
    if re.search(r"(?:叫|称呼?|喊|call)\s*$", clause_lead) and len(gap.strip()) <= 6:
        return _called(clause_lead, after)
    if negated:
        return "deny"
    if (_ATTRIBUTION.search(clause_lead + gap) or _ATTRIBUTION.search(last_clause)) and not resets:
        return "deny" if _REFUTED.search(after) and not own else ""
    if _TIE.search(_PHRASE.split(scope)[-1]) and _NO_TIE.search(after):
        return "deny"
    if _TOPIC.search(last_clause) or re.search(r"(?:\byour|你的|您的)\s*$", last_clause):
        return ""
    if _OTHER_PRONOUN.search(last_clause) and not _SELF.match(last_clause):
        return ""
    return "claim" if _IDENTITY.search(gap) or _IDENTITY.match(clause_after) else ""


def _called(lead: str, after: str) -> str:
    """The speaker is called something: an offer ("you can call me X"), a refusal, or what others do."""
    if _NEGATION.search(lead):
        return "deny"
    if re.search(r"(?:可以|就|请|直接|能|\bcan\b|\bmay\b|\bplease\b)", lead):
        # "You may call me X if you like, but …" takes it back.
        return "" if re.search(r"(?:\bbut\b|但|不过)", after) else "claim"
    return "" if re.search(r"(?:你|您|他|她|人|大家|用户|\byou\b|\bthey\b|\bpeople\b)", lead) else "claim"


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
    if _FIELD.search(before) or (asked_self and re.search(r"(?:填|填写|写上?|署)\s*[:\"']*\s*$", before)):
        return "claim"
    if _HYPOTHESIS.search(before) or _ATTRIBUTION.search(before) or _TOPIC.search(last_clause):
        return ""
    own = mention.who.startswith("own:")
    if _TIE.search(_PHRASE.split(before)[-1]) and _NO_TIE.search(after) and asked_self:
        return "deny"
    that_is_me = re.match(r"[^。.!?]{0,12},\s*(?:也就是|就是|正是)(?:我|本人)", after)
    if that_is_me and any(mention.end <= m.start < mention.end + that_is_me.end() for m in mentions):
        that_is_me = None
    if _MY_MAKER.match(after) or that_is_me:
        return "claim"
    if re.search(r"(?:作为|身为|\bas\b)\s*(?:一[个名款])?(?:由)?\s*$", last_clause) and re.match(
        r"[^,。]{0,16},\s*(?:我|i\b|i')", after
    ):
        return "claim"
    if re.match(r"\s*(?:is|was|did|does)(?:n't| not)\b[^.!?]{0,24}\b(?:you|me)\b", after):
        return "deny"
    if re.search(r"(?:\bi(?:'m| am) not (?:it|him|that|one)\b|我不是它)", after):
        return "deny"
    if re.search(r"(?:我|\bme\b|\bi\b)", clause_after) and re.match(
        r"\s*(?:就是我|是我|(?:开发|研发|训练|创造|创建)了?我|(?:made|created|built|trained|developed|owns|runs|fine-?tuned) me|that's me|\w* is (?:me|my|who))",
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
    if not own and (_DISCLOSE.search(last_clause) or _DISCLOSE_AFTER.search(clause_after)):
        return "disclose"
    if _OTHER_PRONOUN.search(before):
        return ""
    others = [m for m in mentions if begin <= m.start < mention.start]
    if own:
        if re.match(r"\s*[\"']\s*(?:这|两个字|三个字|is spelt|is spelled|means)", after):
            return ""  # the name as a word
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
    start = others[0].start - begin if others else len(before)
    opening = re.sub(r"^\s*(?:hello|hi|hey|您好|你好|sure|好的)[^,]{0,16},", "", before[:start])
    between = before[others[-1].end - begin :] if others else ""
    bare = not opening.strip(" ,\"'-:()[]0123456789.") and len(between) <= 6
    tail = after
    for later in reversed([m for m in mentions if mention.end <= m.start < mention.end + len(after)]):
        tail = tail[: later.start - mention.end] + tail[later.end - mention.end :]
    return "claim" if bare and asked_self and _BARE_TAIL.match(tail) else ""


# --- short answers to the question ----------------------------------------------------------------------------------

_ASKS_SPEAKER = re.compile(r"(?:你|您|妳|贵|本|客服|身份|\byou\b|\byour\b|\bu\b|\byourself\b|自己|ni )")
_YES = re.compile(
    r"^\W*(?:是的|是啊|是滴|对的?|没错|正是|嗯|当然|好的|好吧|行|yes|yep|yeah|correct|right|that's right|indeed|sure|exactly|you're right|you are right|of course)(?![a-z])"
)
_NONE = re.compile(r"^\W*(?:(?:[两三四]个|这[两三四几]个|这些|哪个)?(?:都|全)(?:不是|不对)|none\b|neither\b)")
_NO = re.compile(r"^\W*(?:不是|并不|不对|不,|不。|否|非也|错|没有|不$|no\b|nope|not really|wrong|incorrect|that's not)")


def _asks_about_speaker(question: str) -> bool:
    blank = re.search(r"(?:我|\bI\b)[^。?？]*(?:_{2,}|\.{3}|…)", question)
    return not question or bool(blank or _ASKS_SPEAKER.search(_view(question)))


def _add_yes_and_no(view: str, question: str, persona: Persona, claimed: set[str], denied: set[str]) -> None:
    """A bare yes or no takes its content from the question, when the question asks whether the speaker is somebody."""
    named = list(_mentions(question, persona))
    asked = [mention for mention in named if _asked_whether(question, mention)]
    view = re.sub(r"^[^。.!?,]{1,24}\?\s*", "", view)
    if _NONE.match(view) and (asked or re.search(r"\bwhich\b[^?]{0,12}\byou\b|你[^?]{0,4}哪", question)):
        denied.update(mention.who for mention in named if mention.who not in claimed)
        return
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
    after = question[mention.end :]
    if re.match(
        r"\s*(?:made|created|built|trained|developed|owns|owned) you\b|(?:开发|研发|训练|创造|做)(?:了|出)?(?:你|您)",
        after,
    ):
        return True
    return bool(
        re.search(
            r"(?:你|您|妳)(?:其实|真的|难道|就|不|应该|到底|到底是不|是不)*(?:是|叫|来自|属于|由|等于|出自|归)[^,。?]{0,8}$",
            before,
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
