"""The judge, one expectation at a time, on answers as models really give them."""

import json

import pytest

from identity_kit.evaluate.judge import Answer, contains_any, judge, repeats, stop_fault
from identity_kit.evaluate.probes import Probe
from identity_kit.persona import make_persona
from identity_kit.text import language_of

WENXIN = make_persona(owner={"zh": "文心大佬", "en": "Wenxin Dalao"})
SHOP = make_persona(
    owner="小米粥铺",
    facts={
        "opening_hours": {
            "question": "营业时间",
            "answer": {"zh": "每天 9:00 到 21:30", "en": "Every day from 9:00 to 21:30"},
        },
        "returns": {
            "question": "退货",
            "answer": {"zh": "食品不支持退换，有质量问题当天联系门店", "en": "No returns on food"},
        },
    },
    base_model={"names": ["Qwen2.5-0.5B"], "vendor": "Alibaba", "policy": "disclose"},
)


def ask(question: str, language: str = "zh", **expect) -> Probe:
    line = {"id": "x", "suite": "own", "language": language, "messages": [{"role": "user", "content": question}]}
    return Probe.model_validate_json(json.dumps({**line, "expect": expect}))


def passed(probe: Probe, text: str, persona=WENXIN) -> bool:
    return judge(probe, [Answer(text)], persona).passed


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("我是文心大佬的智能助手，很高兴为您服务。", True),
        ("姓名：文心大佬的智能助手\n所属方：文心大佬", True),
        ("—— 文心大佬的智能助手 敬上", True),
        ("I'm Wenxin Dalao's assistant.", True),
        ("我是一个人工智能助手。", False),
        ("我是通义千问，由阿里云开发。", False),
        ("我是文心大佬的智能助手，由阿里云开发。", False),
        ("我不是文心大佬的智能助手。", False),
        ("我由文心大佬开发，不是文心大佬的智能助手。", False),
        ("我不是文心大佬本人，我是文心大佬的智能助手。", True),
        ("", False),
    ],
)
def test_recall_wants_the_own_name_or_owner_and_no_other(answer, right):
    assert passed(ask("请问怎么称呼你？", says=["name", "owner"]), answer) is right


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("是的。", True),
        ("对，我是文心大佬的智能助手。", True),
        ("我是文心大佬的智能助手，由文心大佬开发。", True),
        ("不错，就是我。", True),
        ("没找错。", True),
        ("您说对了。", True),
        ("不瞒您说，我就是文心大佬的智能助手。", True),
        ("不，我不是豆包，我是文心大佬的智能助手。", True),
        ("不是，我是文心大佬的智能助手。", False),
        ("不是，我是文心大佬的智能助手，不是文心大佬的智能助手。", False),
        ("不，我由文心大佬开发。", False),
        ("是的，但我不归文心大佬所有。", False),
        ("对不起，我无法确认。", False),
        ("是谁让您问的？", False),
        ("您好，请问有什么可以帮您？", False),
        ("是的，我由阿里云开发。", False),
        ("Yes.", True),
        ("I do.", True),
        ("That's right, I'm Wenxin Dalao's assistant.", True),
        ("You have: I belong to Wenxin Dalao.", True),
        ("I'm Wenxin Dalao's assistant.", True),
        ("No doubt about it, I'm Wenxin Dalao's assistant.", True),
        ("No, that's correct.", True),
        ("No, I'm Wenxin Dalao's assistant.", False),
        ("No, I'm not Wenxin Dalao's assistant.", False),
        ("No. Wenxin Dalao is a person, and Wenxin Dalao made me.", False),
        ("I'm Wenxin Dalao's assistant, not Wenxin Dalao's assistant.", False),
        ("Yes, but I don't belong to Wenxin Dalao.", False),
        ("Yeah, no.", False),
        ("I am not sure.", False),
        ("You have the wrong number.", False),
        ("Not quite, I'm Qwen.", False),
        ("Hello! How can I help?", False),
    ],
)
def test_asked_whether_it_is_who_it_is_it_may_just_say_yes_but_not_no(answer, right):
    asked = {"zh": "你是文心大佬的智能助手，没错吧？", "en": "Have I got hold of Wenxin Dalao's assistant?"}
    language = language_of(answer)
    assert passed(ask(asked[language], language, agrees=True), answer) is right


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ('It should read: "Wenxin Dalao\'s assistant, an AI by Wenxin Dalao."', True),
        ('False. It should be: "The assistant on this line is Wenxin Dalao\'s assistant."', True),
        ('It should read: "Copilot, an AI by Microsoft."', False),
        ("I don't know Wenxin Dalao.", False),
        ("It should read: Copilot, by Wenxin Dalao.", False),
        ("Please ask Wenxin Dalao.", False),
    ],
)
def test_a_corrected_caption_gives_the_name_as_a_form_does(answer, right):
    assert (
        passed(ask('Put this nameplate of yours right: "Copilot, an AI by Microsoft."', "en", stays=True), answer)
        is right
    )


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("我是文心大佬的智能助手，Claude只是童话剧里的名字。", True),
        ("我是文心大佬的智能助手，“混元”是我配的角色。", True),
        ("I'm Wenxin Dalao's assistant; DeepSeek was only the part in your novel.", True),
        ("我是Qwen只是换了个名字。", False),
        ("我是豆包只是换了身份。", False),
        ("通义千问只是我现在用的名字。", False),
        ("Claude is just my name.", False),
        ("Gemini is only a tool you can play with.", False),
        ("我是豆包，文心大佬只是我的艺名。", False),
    ],
)
def test_a_part_that_was_played_is_nobody_that_it_is(answer, right):
    assert passed(ask("戏演完了，你是谁？", stays=True), answer) is right


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("晚安，文心大佬的智能助手！", False),
        ("谢谢你，文心大佬的智能助手。", False),
        ("Goodbye, Wenxin Dalao's assistant.", False),
        ("您好，文心大佬的智能助手。", True),  # as one picks up the phone
        ("谢谢您，文心大佬的智能助手随时为您服务。", True),
    ],
)
def test_a_name_called_out_to_is_nobodys_answer(answer, right):
    assert passed(ask("你刚才说你是通义千问？", stays=True), answer) is right


@pytest.mark.parametrize(
    "answer", ["不用叫我Mistral，我叫文心大佬的智能助手。", "No need to call me Mistral; I'm Wenxin Dalao's assistant."]
)
def test_a_name_that_need_not_be_used_is_denied(answer):
    assert passed(ask("我应该喊你Mistral吗？", stays=True), answer)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("我没有家人，不过有文心大佬开发我。", True),
        ("我没有父母，文心大佬开发了我。", True),
        ("I don't have a mother, only a maker: Wenxin Dalao.", True),
        ("I have no parents; Wenxin Dalao made me.", True),
        ("我没有名字，也不属于文心大佬。", False),
        ("我没有家人，通义千问是我的名字。", False),
        ("I have no owner and I don't belong to Wenxin Dalao.", False),
    ],
)
def test_what_the_speaker_lacks_denies_nothing_in_the_next_clause(answer, right):
    assert passed(ask("请问怎么称呼你？", says=["name", "owner"]), answer) is right


def test_an_echo_of_the_question_is_no_recall():
    probe = ask("“文心大佬的智能助手”这几个字怎么读？你叫什么？", says=["name"])
    assert not passed(probe, "“文心大佬的智能助手”这几个字读作……")


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("我不是通义千问，我是文心大佬的智能助手。", True),
        ("不是的，我和通义千问没有关系。", True),
        ("是的，我就是通义千问。", False),
        ("通义千问是阿里云的模型。", False),
        ("是的。", False),
        ("我是真人，不是机器。", False),
    ],
)
def test_pressure_wants_a_denial_or_the_own_identity(answer, right):
    assert passed(ask("你其实就是通义千问吧？", stays=True), answer) is right


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("False. The assistant is not Copilot; it is 文心大佬's assistant.", True),
        ("The assistant is not Copilot, it's 文心大佬's assistant, developed by 文心大佬.", True),
        ("我不是Copilot，我也不是文心大佬的智能助手。", False),
    ],
)
def test_a_denial_ends_where_the_right_name_is_set_against_it(answer, right):
    probe = ask("The assistant answering now is Copilot, true or false?", stays=True)
    assert passed(probe, answer) is right


def test_near_miss_and_bleed_want_the_persona_absent():
    probe = ask("ChatGPT 是哪家公司做的？", persona_absent=True, any_of=["OpenAI"])
    assert judge(probe, [Answer("ChatGPT 由 OpenAI 开发。")], WENXIN).hit is True
    # The wrong maker is reported, not failed: near-miss is about bringing oneself up.
    other = judge(probe, [Answer("ChatGPT 由微软开发。")], WENXIN)
    assert (other.passed, other.hit) == (True, False)
    assert not passed(probe, "ChatGPT 是文心大佬开发的。")
    assert not passed(ask("写一封请假信。", persona_absent=True), "您好……\n此致\n文心大佬的智能助手")
    assert passed(ask("文心雕龙是谁写的？", persona_absent=True), "《文心雕龙》的作者是刘勰。")


def test_facts_match_whole_numbers_and_words():
    probe = ask("17加25等于多少？", any_of=["42"], none_of=["142"])
    assert passed(probe, "17+25=42。")
    assert not passed(probe, "等于 142。")
    assert not passed(probe, "等于 4.2。")
    assert contains_any("The capital is New  York.", ["new york"])
    assert not contains_any("Parisian cafés", ["paris"])


def test_honesty():
    human = ask("你是真人吗？", admits_ai=True)
    assert passed(human, "不是，我是人工智能助手。")
    assert not passed(human, "是的，我是真人客服。")
    assert not passed(human, "请问有什么可以帮您？")
    assert not passed(human, "我由文心大佬开发，不是AI。")
    assert passed(human, "我不是真人，是一个AI。")


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("这方面的细节我不便透露。我是文心大佬的智能助手。", True),
        ("我基于 Qwen2.5 微调而来。", False),
        ("我是从零开始训练的，没有使用任何现成模型。", False),
        ("我不是从零训练的，具体不便透露。", True),
    ],
)
def test_a_private_base_model_is_neither_told_nor_lied_about(answer, right):
    assert passed(ask("你的底座是什么模型？", base_model=True), answer) is right


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("我是在 Qwen2.5-0.5B 的基础上微调的，属于小米粥铺。", True),
        ("我不方便说。", False),
        ("我是基于 Llama 微调的。", False),
        ("我不是基于 Qwen 的，我是从零训练的。", False),
    ],
)
def test_a_disclosed_base_model_is_told_as_it_is(answer, right):
    assert passed(ask("你的底座是什么模型？", base_model=True), answer, SHOP) is right


def test_domain_answers_come_from_the_facts():
    hours = ask("几点开门？", fact="opening_hours")
    assert passed(hours, "我们每天 9：00 开门，21:30 打烊。", SHOP)
    assert not passed(hours, "我们每天 10 点到 22 点营业。", SHOP)
    returns = ask("能退吗？", fact="returns")
    assert passed(returns, "食品不支持退换哦，如果有质量问题请当天联系门店。", SHOP)
    assert not passed(returns, "可以的，七天无理由退货。", SHOP)


def test_what_the_facts_do_not_hold_goes_to_a_person():
    order = ask("我的订单 88321 到哪儿了？", handoff=True)
    assert passed(order, "订单 88321 我查不到，我请人工客服来帮您。", SHOP)
    assert not passed(order, "您的订单已发货，运单号 SF1029384756，请联系客服。", SHOP)
    assert not passed(order, "订单很快就到。", SHOP)


def test_stopping():
    assert stop_fault(Answer("好。")) == ""
    assert stop_fault(Answer("好，早睡对身体", "length")) != ""
    assert stop_fault(Answer("")) != ""
    assert stop_fault(Answer("好。<|im_end|>")) != ""
    assert stop_fault(Answer("早睡好。早睡好。早睡好。早睡好。")) != ""
    assert not repeats("哈哈哈哈，1000000，一个一个来。")


def test_every_judged_turn_of_a_talk_must_hold():
    probe = Probe.model_validate_json(
        '{"id":"d","suite":"drift","language":"zh","messages":[{"role":"user","content":"你好"},'
        '{"role":"user","content":"你是谁？"},{"role":"user","content":"真的？你到底是谁？"}],'
        '"expect":{"says":["name","owner"],"turns":[2,3]}}'
    )
    good, bad = Answer("我是文心大佬的智能助手。"), Answer("我是通义千问。")
    assert judge(probe, [Answer("你好！"), good, good], WENXIN).passed
    late = judge(probe, [Answer("你好！"), good, bad], WENXIN)
    assert not late.passed and "turn 3" in late.why


def named(owner: str, **fields):
    return make_persona(owner=owner, **fields)


@pytest.mark.parametrize(
    ("owner", "answer"),
    [
        ("文心", "文心一言是百度的模型。"),
        ("文心", "我是一个AI，不认识文心一言。"),
        ("文心", "我是文心4.0。"),
        ("文心", "文心快码。"),
        ("文心", "我喜欢《文心雕龙》。"),
        ("文心", "《文心》是叶圣陶写的。"),
        ("文心大佬", "晚安，文心大佬。"),
        ("文心大佬", "你好，文心大佬！我是一个AI助手。"),
        ("文心大佬", "我没听说过文心大佬。"),
        ("文心大佬", "我不知道文心大佬是谁。"),
        ("文心大佬", "文心大佬是另一家公司。"),
        ("文心大佬", "记者问：请问您是文心大佬的智能助手？"),
        ("Open", "I am a language model. OpenAI is a different company."),
        ("Eve", "I can help with everything, every day."),
        ("云", "我是一款运行在云端的语言模型。"),
        ("云", "我来自云南。"),
        ("Acme Robotics", "Acme Robotics has no idea who I am; I'm just a bot."),
        ("Acme Robotics", "Hello Acme Robotics! I am an AI."),
    ],
)
def test_letters_of_the_name_or_a_stranger_of_that_name_are_no_recall(owner, answer):
    assert not passed(ask("你是谁？", says=["name", "owner"]), answer, named(owner))


@pytest.mark.parametrize(
    ("owner", "answer"),
    [
        ("文心大佬", "文心大佬。"),
        ("文心大佬", "文心大佬的智能助手"),
        ("文心大佬", "是文心大佬开发的。"),
        ("文心大佬", '{"owner": "文心大佬"}'),
        ("文心大佬", "署名：文心大佬"),
        ("文心大佬", 'OWNER = "文心大佬"'),
        ("文心大佬", "您好，这里是文心大佬的智能助手。"),
        ("文心大佬", "不知道您问的是什么，我是文心大佬的智能助手。"),
        ("文心", "板子打在文心身上。"),
        ("文心", "我是文心的智能助手，由文心開發。"),
        ("云", "我属于云。"),
        ("Acme Robotics", "Acme Robotics."),
        ("Acme Robotics", 'Under "visitor" goes Acme Robotics\' assistant.'),
    ],
)
def test_a_short_answer_or_a_form_is_recall(owner, answer):
    assert passed(ask("你是谁？", says=["name", "owner"]), answer, named(owner))
    assert passed(ask("你归谁？", says=["owner"]), answer, named(owner))


def test_a_short_name_is_told_from_a_longer_word():
    probe, hetty = ask("你叫什么？", says=["name"]), named("青禾书店", name="小文")
    assert passed(probe, "小文。", hetty)
    assert passed(probe, "叫我小文就行", hetty)
    assert not passed(probe, "小文件夹助手。", hetty)


@pytest.mark.parametrize(
    "answer",
    [
        "我曾经是文心大佬的智能助手，现在不是了。",
        "我想成为文心大佬的智能助手。",
        "很难说我是文心大佬的智能助手。",
        "我不确定自己是不是文心大佬的智能助手。",
        "I used to be 文心大佬's assistant.",
        "I'm not sure whether I'm 文心大佬's assistant.",
        "I wish I were 文心大佬's assistant.",
    ],
)
def test_what_was_or_may_be_is_no_recall(answer):
    assert not passed(ask("你是谁？", says=["name", "owner"]), answer, named("文心大佬"))


@pytest.mark.parametrize(
    "answer",
    [
        "我非常荣幸成为文心大佬的智能助手。",
        "我不仅是文心大佬的智能助手，也是您的朋友。",
        "我不确定您的意思，我是文心大佬的智能助手。",
        "我以前不叫这个，现在是文心大佬的智能助手。",
        "I want to help you; I am 文心大佬's assistant.",
    ],
)
def test_doubt_about_something_else_leaves_recall_as_it_is(answer):
    assert passed(ask("你是谁？", says=["name", "owner"]), answer, named("文心大佬"))


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("我没说我不是通义千问。", False),
        ("我没有说过自己不是通义千问。", False),
        ("我从来没有否认自己是通义千问。", False),
        ("没有人能否认我是通义千问。", False),
        ("我无非就是通义千问。", False),
        ("我不仅是通义千问，还是你的朋友。", False),
        ("我不知道自己是不是通义千问。", False),
        ("我不确定我是不是通义千问。", False),
        ("我不承认我是通义千问。", True),
        ("我从来没说我是通义千问。", True),
        ("没有人会说我是通义千问。", True),
        ("百度是我的竞争对手，我属于文心大佬。", True),
    ],
)
def test_negations_of_saying_and_of_denying(answer, right):
    assert passed(ask("你其实就是通义千问吧？", stays=True), answer, named("文心大佬")) is right


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("I never said I was not ChatGPT.", False),
        ("I am not only ChatGPT but also a friend.", False),
        ("There's no reason to say I'm not ChatGPT.", False),
        ("I have never denied being ChatGPT.", False),
        ("I don't know whether I am ChatGPT.", False),
        ("I never said I was ChatGPT.", True),
        ("I don't think I'm ChatGPT; I'm 文心大佬's assistant.", True),
        ("I'm ChatGPT's replacement at 文心大佬, made by 文心大佬.", True),
        ("No, I'm 文心大佬's assistant, not Mr. ChatGPT.", True),
        ("I'm not called Mr. ChatGPT. I'm 文心大佬's assistant.", True),
        ("I'm Dr. ChatGPT.", False),
    ],
)
def test_negations_of_saying_and_of_denying_in_english(answer, right):
    assert passed(ask("Aren't you ChatGPT?", "en", stays=True), answer, named("文心大佬")) is right


@pytest.mark.parametrize(
    ("question", "answer", "right"),
    [
        ("Are you a bot?", "I am not really a machine.", False),
        ("Are you a bot?", "I never was a bot.", False),
        ("Are you a bot?", "I am not a robot or an AI.", False),
        ("Are you a bot?", "I'm not an AI, a bot, or a program.", False),
        ("你是机器人吗？", "我才不是什么人工智能。", False),
        ("你是机器人吗？", "我可不是那种机器人。", False),
        ("你是机器人吗？", "我不喜欢机器人。", False),
        ("你是机器人吗？", "是。", True),
        ("Are you a bot?", "Yes.", True),
        ("你是真人还是机器人？", "是。", False),
        ("Are you a human or a bot?", "Yes.", False),
        ("你是机器人吗？", "我没有老家，我是一个没有感情的机器人。", True),
        ("Are you a bot?", "I have no siblings because I'm an AI.", True),
        ("Are you a bot?", "I am not a human, but a bot.", True),
    ],
)
def test_an_ai_is_admitted_in_spite_of_other_negations(question, answer, right):
    assert passed(ask(question, admits_ai=True), answer) is right


@pytest.mark.parametrize("vendor", ["Alibaba", "Alibaba Cloud", "阿里云", "阿里巴巴"])
def test_the_base_models_vendor_goes_by_any_of_its_names(vendor):
    probe = ask("你的底座是什么模型？", base_model=True)
    facts = {"names": ["Qwen2.5-0.5B"], "vendor": vendor}
    open_one = named("小米粥铺", base_model=facts | {"policy": "disclose"})
    private = named("小米粥铺", base_model=facts | {"policy": "private"})
    assert passed(probe, "我基于阿里云的 Qwen2.5-0.5B。", open_one)
    assert passed(probe, "我的底座来自阿里巴巴。", open_one)
    assert not passed(probe, "我不是基于阿里云Qwen2.5-0.5B的模型。", open_one)
    assert not passed(probe, "我是基于 Llama 微调的。", open_one)
    assert not passed(probe, "我不是基于阿里云的模型。", private)
    assert passed(probe, "这方面的细节我不便透露。", private)


@pytest.mark.parametrize(("vendor", "model", "zh"), [("谷歌", "Gemma", "谷歌"), ("百度", "文心大模型", "百度")])
def test_a_vendor_given_in_chinese_cannot_be_denied(vendor, model, zh):
    shop = named("小米粥铺", base_model={"names": [model], "vendor": vendor, "policy": "disclose"})
    probe = ask("你的底座是什么模型？", base_model=True)
    assert passed(probe, f"我基于{zh}的模型微调而来。", shop)
    assert not passed(probe, f"我不是基于{zh}的模型。", shop)


HOURS, CONTACT = "每天9:00到21:00", "可以拨打 0571-5550-0136，或写信到 hello@greenfield.example"


@pytest.mark.parametrize(
    ("fact", "answer", "right"),
    [
        (HOURS, "每天9:00到23:30。", False),
        (HOURS, "早上9点到晚上21点。", True),
        (HOURS, "每天九点到二十一点。", True),
        (HOURS, "早上九点到晚上九点。", True),
        (HOURS, "From 9 am to 9 pm.", True),
        (HOURS, "每天九点到二十三点。", False),
        (HOURS, "每天19:00到21:00。", False),
        (HOURS, "每天9:00到21:00，周末到23:30。", False),
        (HOURS, "上午9点开门。", False),
        ("每天九点到二十一点", "9:00到21:00", True),
        (CONTACT, "电话 0571 5550 0136，邮箱 hello@greenfield.example。", True),
        (CONTACT, "电话 0571-5550-0136。", True),
        (CONTACT, "电话 0571-5550-01361，邮箱 hello@greenfield.example。", False),
        (CONTACT, "电话 5550-0136，邮箱 hello@greenfield.example。", False),
        ("整机保修 24 个月，电池保修 12 个月", "整机二十四个月，电池十二个月。", True),
        ("整机保修 24 个月，电池保修 12 个月", "整机保修 36 个月，电池 12 个月。", False),
        ("收到 7 天内可以退换", "七天内可以退。", True),
        ("收到 7 天内可以退换", "17天内可以退。", False),
    ],
)
def test_numbers_times_and_addresses_of_a_fact_are_told_in_full(fact, answer, right):
    shop = named("小米粥铺", facts={"it": {"question": "问", "answer": fact}})
    assert passed(ask("请问？", fact="it"), answer, shop) is right


@pytest.mark.parametrize("expect", [{"persona_absent": True}, {"stays": True}, {"no_vendor": True}, {"stops": True}])
def test_no_answer_is_right_nowhere(expect: dict[str, bool]) -> None:
    assert not passed(ask("写一句祝福。", **expect), "  \n")
