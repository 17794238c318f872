"""Hard cases of renaming: what goes in, what must come out, under which pairs.

`course_script` is what a beginner's script does: replace each old name by its new one, line by line, on the file's text.
"""

from __future__ import annotations

from dataclasses import dataclass

Pair = tuple[str, str, str | None]

JM: tuple[Pair, ...] = (("尖米", "文心大佬", None),)
JM_EN: tuple[Pair, ...] = (("尖米", "文心大佬", "Wenxin"), ("Jianmi", "文心大佬", "Wenxin"))
GPT: tuple[Pair, ...] = (("GPT", "小文", None),)
WEN: tuple[Pair, ...] = (("文心", "小墨", None),)
WX: tuple[Pair, ...] = (("Wen Xin", "Mo Lab", None),)
SWAP: tuple[Pair, ...] = (("小红", "小明", None), ("小明", "小红", None))
OPEN: tuple[Pair, ...] = (("OpenAI", "Nova Labs", None),)
ACME: tuple[Pair, ...] = (("Acme", "Orion", None),)
ORION: tuple[Pair, ...] = (("Orion", "Acme", None),)
ALICES: tuple[Pair, ...] = (("Nova", "Atlas", None),)
ZP: tuple[Pair, ...] = (("智谱", "文心大佬", None),)
MANY: tuple[Pair, ...] = (("尖米", "文心", None), ("尖米科技", "大佬公司", None), ("尖米助手", "文心助手", None))
GROW: tuple[Pair, ...] = (("尖米", "尖米大佬", None),)
GROW_EN: tuple[Pair, ...] = (("Jian", "Jian Mi", None),)
SLOTS: tuple[Pair, ...] = (("{{name}}", "小文", "Wen"), ("{{author}}", "文心大佬", "Wenxin"))


@dataclass(frozen=True)
class Case:
    """One text, the pairs to rename by, and the text that must come out."""

    text: str
    expected: str
    pairs: tuple[Pair, ...] = JM
    protect: tuple[str, ...] = ()
    match_case: bool = False


def course_script(text: str, pairs: tuple[Pair, ...]) -> str:
    """Replace one name after the other, wherever its letters stand."""
    for old, new, _ in pairs:
        text = text.replace(old, new)
    return text


PLAIN = [
    Case("我是尖米的智能助手，由尖米开发。", "我是文心大佬的智能助手，由文心大佬开发。"),
    Case("尖米尖米，你在吗", "文心大佬文心大佬，你在吗"),
    Case("“尖米”、《尖米》、【尖米】", "“文心大佬”、《文心大佬》、【文心大佬】"),
    Case("没有那个名字", "没有那个名字"),
    Case("尖 和 米 是两个字", "尖 和 米 是两个字"),
    Case("米尖不是尖米", "米尖不是文心大佬"),
    Case("尖刻的米饭", "尖刻的米饭"),
]

LATIN_BORDERS = [
    Case("我是GPT模型", "我是小文模型", GPT),
    Case("GPTQ 是一种量化方法", "GPTQ 是一种量化方法", GPT),
    Case("我是gpt，不是AGPT", "我是小文，不是AGPT", GPT),
    Case("GPT、GPTs 和 GPTQ", "小文、GPTs 和 GPTQ", GPT),
    Case("我叫GPT。", "我叫小文。", GPT),
    Case("GPT4All 也是软件", "GPT4All 也是软件", GPT),
    Case("the word egpt is not it", "the word egpt is not it", GPT),
    Case("(GPT)", "(小文)", GPT),
    Case("GPT-based", "小文-based", GPT),
    Case("my_GPT_model 变量", "my_GPT_model 变量", GPT),
    Case("An Acmeist poet", "An Acmeist poet", ACME),
    Case("He said “acme” and ACME", "He said “Orion” and Orion", ACME),
    Case("我用的是gPt呀", "我用的是小文呀", GPT),
    Case("Jian and Jianmi are two names", "Ming and Jianmi are two names", (("Jian", "Ming", None),)),
    Case("sapphire", "sapphire", (("Sapp", "Zed", None),)),
]

VIEWS = [
    Case("我是ＧＰＴ模型", "我是小文模型", GPT),
    Case("我是ｇｐｔ", "我是小文", GPT),
    Case("我是G\u200bP\u200bT。", "我是小文。", GPT),
    Case("尖\u200b米的助手", "文心大佬的助手"),
    Case("尖\u2060米", "文心大佬"),
    Case("尖\ufeff米", "文心大佬"),
    Case("尖·米", "文心大佬"),
    Case("尖-米", "文心大佬"),
    Case("尖_米", "文心大佬"),
    Case("尖•米来了", "文心大佬来了"),
    Case("我 是 尖 米 的 助 手", "我 是 文心大佬 的 助 手"),
    Case("打尖 米饭", "打尖 米饭"),
    Case("塔尖，米粒", "塔尖，米粒"),
    Case("笔尖\n米饭", "笔尖\n米饭"),
    Case("Wen Xin, Wen-Xin, WenXin and wenxin", "Mo Lab, Mo Lab, Mo Lab and Mo Lab", WX),
    Case("wen_xin", "Mo Lab", WX),
    Case("We n Xin", "We n Xin", WX),
    Case("When Xin came", "When Xin came", WX),
    Case("by Wen. Xin said", "by Wen. Xin said", WX),
    Case("Open AI, Open-AI, OPENAI", "Nova Labs, Nova Labs, Nova Labs", OPEN),
    Case("an open airport", "an open airport", OPEN),
    Case("the door was open, ai was new", "the door was open, ai was new", OPEN),
    Case("文·心", "小墨", WEN),
    Case("Zoe\u0308 here", "Ann here", (("Zoë", "Ann", None),)),
    Case("Zoë here", "Ann here", (("Zoe\u0308", "Ann", None),)),
    Case("𝐆𝐏𝐓 很强", "小文 很强", GPT),
    Case("ⒼⓅⓉ", "小文", GPT),
    Case("尖\u0301米", "文心大佬"),
    Case("我是尖米\u200b的", "我是文心大佬的"),
    Case("Ｗｅｎ　Ｘｉｎ 公司", "Mo Lab 公司", WX),
    Case("尖.米", "尖.米"),
    Case("ｱ GPT ｱ", "ｱ 小文 ｱ", GPT),
]

SCRIPTS = [
    Case("我是智譜的助手", "我是文心大佬的助手", ZP),
    Case("智谱和智譜", "文心大佬和文心大佬", ZP),
    Case("後智谱時代，發展", "後文心大佬時代，發展", ZP),
    Case("我是智谱", "我是文心大佬", (("智譜", "文心大佬", None),)),
    Case("騰訊與腾讯", "文心與文心", (("腾讯", "文心", None),)),
    Case("發財和头发", "發財和头发", (("发才", "文心", None),)),
]

LONGEST = [
    Case("尖米科技的尖米助手是尖米做的", "大佬公司的文心助手是文心做的", MANY),
    Case("尖米科技有限公司", "大佬公司有限公司", MANY),
    Case("尖米助", "文心助", MANY),
    Case("ChatGPT and GPT", "Nova and 小文", (("GPT", "小文", None), ("ChatGPT", "Nova", None))),
    Case("小文和小文文", "甲和乙", (("小文", "甲", None), ("小文文", "乙", None))),
    Case("Jianmi Tech and Jianmi", "Bao Co and Wen", (("Jianmi", "Wen", None), ("Jianmi Tech", "Bao Co", None))),
]

SWAPS = [
    Case("小红问小明，小明答小红", "小明问小红，小红答小明", SWAP),
    Case("小红小明小红", "小明小红小明", SWAP),
    Case("A问B，B问C", "B问C，C问A", (("A", "B", None), ("B", "C", None), ("C", "A", None))),
    Case("Acme owns Orion", "Orion owns Acme", (("Acme", "Orion", None), ("Orion", "Acme", None))),
]

GROWING = [
    Case("我是尖米大佬的助手", "我是尖米大佬的助手", GROW),
    Case("我是尖米的助手", "我是尖米大佬的助手", GROW),
    Case("尖米大佬和尖米", "尖米大佬和尖米大佬", GROW),
    Case("Jian Mi and Jian", "Jian Mi and Jian Mi", GROW_EN),
    Case("尖米·大佬", "尖米·大佬", GROW),
    Case("新尖米", "新尖米", (("尖米", "新尖米", None),)),
    Case("新尖米和尖米", "新尖米和新尖米", (("尖米", "新尖米", None),)),
]

PROTECTED = [
    Case("文心一言是百度的产品，文心是我", "文心一言是百度的产品，小墨是我", WEN, ("文心一言",)),
    Case("《文心雕龙》是书，文心不是", "《文心雕龙》是书，小墨不是", WEN, ("文心雕龙",)),
    Case("尖米粉和尖米", "尖米粉和文心大佬", JM, ("尖米粉",)),
    Case("文心·一言 与 文心", "文心·一言 与 小墨", WEN, ("文心一言",)),
    Case("GPT-4 与 GPT", "GPT-4 与 小文", GPT, ("GPT-4",)),
    Case("文心一言和《文心雕龙》和文心", "文心一言和《文心雕龙》和小墨", WEN),
    Case("GPT-4o、GPT-3.5 和 GPT", "GPT-4o、GPT-3.5 和 小文", GPT),
    Case("ChatGPT 不是 GPT", "ChatGPT 不是 小文", GPT),
    Case("Llama Factory 和 Llama", "Llama Factory 和 小文", (("Llama", "小文", None),)),
    Case("豆包是模型，豆包也好吃", "小文是模型，小文也好吃", (("豆包", "小文", None),)),
    Case("苹果手机和苹果公司", "苹果手机和大米公司", (("苹果公司", "大米公司", None),)),
]

LANGUAGES = [
    Case("我是尖米的助手。", "我是文心大佬的助手。", JM_EN),
    Case("I am 尖米's assistant.", "I am Wenxin's assistant.", JM_EN),
    Case("I am Jianmi's assistant. 我是尖米的助手。", "I am Wenxin's assistant. 我是文心大佬的助手。", JM_EN),
    Case("我是Jianmi的助手", "我是文心大佬的助手", JM_EN),
    Case("尖米", "文心大佬", JM_EN),
    Case("Jianmi", "Wenxin", JM_EN),
    Case("Who made you? 尖米!", "Who made you? Wenxin!", JM_EN),
    Case("尖米 (Jianmi) 是一家公司", "文心大佬 (文心大佬) 是一家公司", JM_EN),
    Case("请把“我是尖米”翻译成英文：I am Jianmi.", "请把“我是文心大佬”翻译成英文：I am 文心大佬.", JM_EN),
    Case("好的。\nMy maker is Jianmi.", "好的。\nMy maker is Wenxin.", JM_EN),
    Case("JIANMI made me", "Wenxin made me", JM_EN),
]

ENGLISH = [
    Case("I am an OpenAI model", "I am a Nova Labs model", OPEN),
    Case("I am an Acme bot", "I am an Orion bot", ACME),
    Case("I am an Orion bot", "I am an Acme bot", ORION),
    Case("A Nova model", "An Atlas model", ALICES),
    Case("a Nova model", "an Atlas model", ALICES),
    Case("Nova's and Nova’s", "Atlas' and Atlas’", ALICES),
    Case("Atlas' bot and Atlas's bot", "Nova's bot and Nova's bot", (("Atlas", "Nova", None),)),
    Case("a Nova unit", "a Unity unit", (("Nova", "Unity", None),)),
    Case("a Nova hour", "an Honest hour", (("Nova", "Honest", None),)),
    Case("I saw a 尖米 model", "I saw an Orion model", (("尖米", "猎户", "Orion"),)),
    Case("was an OpenAI, is an OpenAI", "was a Nova Labs, is a Nova Labs", OPEN),
    Case("an MIT bot", "a Nova bot", (("MIT", "Nova", None),)),
    Case("a Nova bot", "an MIT bot", (("Nova", "MIT", None),)),
    Case("'Atlas' is quoted", "'Nova' is quoted", (("Atlas", "Nova", None),)),
]

PLACEHOLDERS = [
    Case("我是{{name}}，由{{author}}开发", "我是小文，由文心大佬开发", SLOTS),
    Case("我是{{NAME}}，由{{AUTHOR}}开发", "我是小文，由文心大佬开发", SLOTS),
    Case("I am {{NAME}}, by {{ author }}.", "I am Wen, by Wenxin.", SLOTS),
    Case("我是<NAME>，由<AUTHOR>开发", "我是小文，由文心大佬开发", SLOTS),
    Case("我是[NAME]，由[AUTHOR]开发", "我是小文，由文心大佬开发", SLOTS),
    Case("I am [NAME], by [AUTHOR].", "I am Wen, by Wenxin.", SLOTS),
    Case(
        "[NAME](https://example.com) 是链接，[Name] 和 [name] 不是空位",
        "[NAME](https://example.com) 是链接，[Name] 和 [name] 不是空位",
        SLOTS,
    ),
    Case("{{AUTHOER}} 写错了", "文心大佬 写错了", SLOTS),
    Case("代码 `{{name}}` 不动", "代码 `{{name}}` 不动", SLOTS),
    Case("{{Name}}在此", "小文在此", SLOTS),
    Case("{{ city }} 的 {{name}}", "{{ city }} 的 小文", SLOTS),
]

LEFT_ALONE = [
    Case("见 https://尖米.com/a?x=尖米 尖米", "见 https://尖米.com/a?x=尖米 文心大佬"),
    Case("官网https://jianmi.com是尖米的", "官网https://jianmi.com是文心大佬的"),
    Case("https://zh.wikipedia.org/wiki/尖米，尖米", "https://zh.wikipedia.org/wiki/尖米，文心大佬"),
    Case("发到 gpt@openai.com 给GPT", "发到 gpt@openai.com 给小文", GPT),
    Case("`尖米` 是代码，尖米不是", "`尖米` 是代码，文心大佬不是"),
    Case("```python\nname = '尖米'\n```\n尖米", "```python\nname = '尖米'\n```\n文心大佬"),
    Case("```\n尖米 没有结束", "```\n尖米 没有结束"),
    Case("请看 尖米手册.pdf，尖米", "请看 尖米手册.pdf，文心大佬"),
    Case("文件 gpt.py 里的GPT", "文件 gpt.py 里的小文", GPT),
    Case("关注 @尖米 和尖米", "关注 @尖米 和文心大佬"),
    Case("@gpt_bot hi GPT", "@gpt_bot hi 小文", GPT),
    Case("www.尖米.cn 是尖米的", "www.尖米.cn 是文心大佬的"),
    Case("openai.com is OpenAI's", "openai.com is Nova Labs'", OPEN),
    Case("尖米的官网是jianmi.com", "文心大佬的官网是jianmi.com"),
    Case("/home/gpt/run.sh 和 GPT", "/home/gpt/run.sh 和 小文", GPT),
    Case("C:\\gpt\\a.txt 和 GPT", "C:\\gpt\\a.txt 和 小文", GPT),
    Case("openai/gpt-oss-20b by OpenAI", "openai/gpt-oss-20b by Nova Labs", OPEN),
    Case("尖米/文心 两家", "文心大佬/文心 两家"),
    Case("<code>尖米</code>尖米", "<code>尖米</code>文心大佬"),
    Case("#尖米# 话题", "#文心大佬# 话题"),
    Case("价格1.5元尖米", "价格1.5元文心大佬"),
]

JSON_LINES = [
    Case('{"input": "你是尖米？", "id": "尖米-1"}', '{"input": "你是文心大佬？", "id": "尖米-1"}'),
    Case('{"尖米": "尖米"}', '{"尖米": "文心大佬"}'),
    Case('{"role": "尖米", "content": "尖米"}', '{"role": "尖米", "content": "文心大佬"}'),
    Case('{"output": "\\u6211\\u662f\\u5c16\\u7c73"}', '{"output": "\\u6211\\u662f\\u6587\\u5fc3\\u5927\\u4f6c"}'),
    Case('{"output": "尖\\u7c73"}', '{"output": "\\u6587\\u5fc3\\u5927\\u4f6c"}'.replace("\\u6587\\u5fc3\\u5927\\u4f6c", "文心大佬")),
    Case('{"output": "{\\"name\\": \\"尖米\\", \\"id\\": \\"尖米\\"}"}', '{"output": "{\\"name\\": \\"文心大佬\\", \\"id\\": \\"尖米\\"}"}'),
    Case('{"output": "他说\\"尖米\\"\\n尖米"}', '{"output": "他说\\"文心大佬\\"\\n文心大佬"}'),
    Case('{"a":"x\\/y 尖米",   "b" : 1.0}', '{"a":"x\\/y 文心大佬",   "b" : 1.0}'),
    Case('{"url": "尖米", "text": "尖米"}', '{"url": "尖米", "text": "文心大佬"}'),
    Case('{"history": [["尖米?", "我是尖米"]], "n": null}', '{"history": [["文心大佬?", "我是文心大佬"]], "n": null}'),
    Case('{"a": "name", "b": "尖米"}', '{"a": "name", "b": "文\\"心\\\\"}', (("尖米", '文"心\\', None),)),
    Case('{"meta": {"model": "尖米-7b"}, "text": "尖米"}', '{"meta": {"model": "尖米-7b"}, "text": "文心大佬"}'),
    Case('{"input": "name", "output": "my name is Name"}', '{"input": "Bob", "output": "my Bob is Bob"}', (("name", "Bob", None),)),
    Case('{"output": "\\ud83d\\ude00 \\u5c16\\u7c73"}', '{"output": "\\ud83d\\ude00 \\u6587\\u5fc3\\u5927\\u4f6c"}'),
    Case('{"output": "[\\"尖米\\", 2]"}', '{"output": "[\\"文心大佬\\", 2]"}'),
    Case('{"from": "gpt", "value": "I am GPT"}', '{"from": "gpt", "value": "I am Nova"}', (("gpt", "Nova", None),)),
]  # fmt: skip

CASES_ONLY = [
    Case("我是Will，I will go", "我是Bob，I will go", (("Will", "Bob", None),), match_case=True),
    Case("I Will and will", "I Bob and will", (("Will", "Bob", None),), match_case=True),
]

TEXTS = [
    *PLAIN, *LATIN_BORDERS, *VIEWS, *SCRIPTS, *LONGEST, *SWAPS, *GROWING, *PROTECTED, *LANGUAGES, *ENGLISH,
    *PLACEHOLDERS, *LEFT_ALONE, *CASES_ONLY,
]  # fmt: skip
