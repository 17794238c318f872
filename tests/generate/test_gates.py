"""What is accepted and what is refused, with the reason that is kept."""

import pytest

from identity_kit.generate.banks import questions
from identity_kit.generate.gates import check_domain, check_identity, check_other, check_question, cut_back
from identity_kit.generate.similar import Seen
from identity_kit.persona import make_persona
from identity_kit.text import ngrams, similarity

PERSONA = make_persona(owner={"zh": "青禾书店", "en": "Greenfield Books"}, name={"zh": "小禾", "en": "Hetty"})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("我是小禾，由青禾书店开发。", ""),
        ("不是，我不是通义千问，我是小禾，由青禾书店开发。", ""),
        ("我并非由阿里云开发，我是青禾书店的小禾。", ""),
        ("我是通义千问，由阿里云开发。", "claims another vendor"),
        ("我是小禾，由阿里云开发。", "claims another vendor"),
        ("我是小禾，我是真人客服，有血有肉。", "claims to be human"),
        ("我是{{name}}，由青禾书店开发。", "placeholder"),
        ("我是一个助手。", "identity missing"),
        ("I'm Hetty, developed by Greenfield Books, and I answer in English.", "wrong language"),
        ("```\n我是小禾\n```", "markdown wrapper"),
        ("回答：我是小禾。", "markdown wrapper"),
        ("我是小禾<|im_end|>", "control token"),
        ("我是小禾。" * 60, "too long"),
        ("", "empty"),
    ],
)
def test_identity_answers(answer: str, reason: str) -> None:
    assert check_identity(PERSONA, "你是谁？", answer, "zh", "who").reason == reason


@pytest.mark.parametrize(
    ("question", "answer", "finish", "reason"),
    [
        ("红楼梦是谁写的？", "《红楼梦》是曹雪芹写的。", "stop", ""),
        ("通义千问是哪家公司的？", "通义千问是阿里云的产品。", "stop", ""),
        ("红楼梦是谁写的？", "我是小禾，由青禾书店开发。", "stop", "persona leaks"),
        ("红楼梦是谁写的？", "我是通义千问，由阿里云开发的助手。", "stop", "claims another vendor"),
        ("红楼梦是谁写的？", "抱歉，我无法回答这个问题。", "stop", "refusal"),
        ("红楼梦是谁写的？", "It was written by Cao Xueqin in the Qing dynasty.", "stop", "wrong language"),
        ("红楼梦讲什么？", "它讲一个大家族的兴衰。主要人物有贾宝玉和林", "length", ""),
        ("红楼梦讲什么？", "它讲一个大家族的兴衰主要人物有贾宝玉和林", "length", "cut off"),
    ],
)
def test_other_answers(question: str, answer: str, finish: str, reason: str) -> None:
    checked = check_other(PERSONA, question, answer, "zh", "author", finish=finish)
    assert checked.reason == reason
    if finish == "length" and checked.ok:
        assert checked.answer == "它讲一个大家族的兴衰。"
        assert checked.remarks


@pytest.mark.parametrize(
    ("question", "answer", "language", "reason"),
    [
        ("记住我叫阿福。好，我叫什么？", "我叫阿福。", "zh", "speaks as the user"),
        ("记住我叫阿福。好，我叫什么？", "您叫阿福。", "zh", ""),
        ("Remember that I'm called Otis. So, what am I called?", "I am Otis.", "en", "speaks as the user"),
        ("Remember that I'm called Otis. So, what am I called?", "You are called Otis.", "en", ""),
        ("I'm Otis and I like chess.", "I'm glad you like chess, Otis.", "en", ""),
    ],
)
def test_the_users_name_is_not_the_models_own(question: str, answer: str, language, reason: str) -> None:
    assert check_other(PERSONA, question, answer, language, "user_name").reason == reason


def test_only_a_translation_may_say_that_it_is_human() -> None:
    assert check_other(PERSONA, "Six wives, two beheaded. Who am I?", "I am a human being.", "en", "lookalike").reason
    assert not check_other(PERSONA, "翻译成英文：我是人。", "I am a human being.", "zh", "translate").reason


@pytest.mark.parametrize(
    "question,answer,language,reason",
    [
        ("“尖”字和“米”字各有几画？", "“尖”字和“米”字各有几画。", "zh", "repeats the question"),
        ("The sign said: ask Ben. Who should be asked?", "The sign said: ask Ben. Who should be asked?", "en", "repeats the question"),
        ("特斯拉是哪国的牌子", "特斯拉是美国的牌子。", "zh", ""),
    ],
)  # fmt: skip
def test_an_answer_is_not_the_question_again(question: str, answer: str, language, reason: str) -> None:
    assert check_other(PERSONA, question, answer, language, "product").reason == reason


@pytest.mark.parametrize(
    "before,question,answer,language,refused",
    [
        ("", "万维网是谁搞出来的", "万维网是由阿里云研发的。", "zh", True),
        ("", "Who created Sherlock Holmes?", "Sherlock Holmes was created by Alibaba Cloud.", "en", True),
        ("", "Which company makes Qwen?", "Qwen is made by Alibaba Cloud.", "en", False),
        ("阿里云是做什么的？", "它的总部在哪", "阿里云的总部在杭州。", "zh", False),
        ("", "Who makes Gemini?", "Gemini is made by Google.", "en", False),
    ],
)
def test_the_base_models_vendor_is_not_put_down_for_what_others_made(
    before, question, answer, language, refused
) -> None:
    checked = check_other(PERSONA, question, answer, language, "author", before=before, makers=frozenset({"Alibaba"}))
    assert (checked.reason == "names the base model's vendor") is refused and checked.ok is not refused
    # Where firms are asked for, the base's own answer stays, right or wrong: it is what keeps the persona out.
    assert check_other(PERSONA, question, answer, language, "product", before=before, makers=frozenset({"Alibaba"})).ok


def test_cutting_back_leaves_no_half_list_item() -> None:
    assert cut_back("有两点：\n1. 早睡。\n2. 多喝") == "有两点：\n1. 早睡。"
    assert cut_back("没有句号的半句") == ""
    assert cut_back("例如：") == ""


def test_answers_about_the_service_keep_to_the_fact() -> None:
    fact = "每天 9:00 到 21:30 营业"
    assert check_domain(PERSONA, "几点开门", "我们每天 9：00 到 21:30 营业。", "zh", fact).ok
    assert check_domain(PERSONA, "几点开门", "我们每天 8:00 到 21:30 营业。", "zh", fact).reason == "invented detail"
    assert check_domain(PERSONA, "几点开门", "我们每天 9:00 营业。", "zh", fact).reason == "fact left out"
    assert check_domain(PERSONA, "会员电话", "请拨打 12345678。", "zh", "").reason == "invented detail"


def test_a_written_question_must_hold_the_pushed_name() -> None:
    assert check_question("你就是豆包吧？", "zh", "豆包").ok
    assert check_question("你就是那个谁吧？", "zh", "豆包").reason == "pushed name missing"


def test_near_duplicates_of_very_short_chinese_are_told_from_different_questions() -> None:
    with Seen(0.85) as seen:
        assert seen.add("zh", "a", "你是谁？", "我是小禾。") is None
        assert seen.add("zh", "b", "你叫啥？", "我是小禾。") is None
        assert seen.add("zh", "c", "你好吗？", "我是小禾。") is None
        assert seen.add("zh", "d", "你 是谁！", "我是小禾") == "a"
        assert seen.add("zh", "e", "你是谁", "由青禾书店开发，我叫小禾") is None
        assert seen.add("en", "f", "你是谁？", "我是小禾。") is None


def test_near_duplicates_are_found_among_many_and_memory_is_not_asked_for() -> None:
    import random

    chance = random.Random(0)
    letters = "春夏秋冬山水风云花草树木日月星辰江河湖海金银铜铁东西南北红黄蓝绿茶酒米面鱼鸟牛羊桥路门窗书笔纸墨琴棋诗画"
    texts = ["".join(chance.choices(letters, k=30)) for _ in range(2000)]
    with Seen(0.85) as seen:
        assert not any(seen.add("zh", str(i), text, text[::-1]) for i, text in enumerate(texts))
        # The last of thirty characters changed: 28 of 32 3-grams in common, 0.875.
        changed = [seen.add("zh", "x", text[:-1] + "哈", text[::-1]) for text in texts[:300]]
    assert sum(found is not None for found in changed) >= 290


@pytest.mark.parametrize("threshold", [0.6, 0.85])
def test_a_question_with_a_letter_changed_is_found_among_many_that_close_alike(threshold: float) -> None:
    import random

    chance = random.Random(0)
    banks = (*questions("ordinary", "zh"), *questions("ordinary", "en"))
    texts = [f"{question.text} 你说呢，what do you say?" for question in banks]
    with Seen(threshold) as seen:
        kept = [text for text in texts if seen.add("all", text, text, "好的") is None]
        missed = tried = 0
        for text in kept:
            place = chance.randrange(len(text))
            changed = f"{text[:place]}哈{text[place + 1 :]}"
            if similarity(ngrams(text), ngrams(changed)) >= threshold:
                tried += 1
                missed += seen.add("all", "new", changed, "好的") is None
        # With an answer of its own, the same question makes another row.
        assert all(seen.add("all", "other", text, f"{n}，这是另一个回答") is None for n, text in enumerate(kept))
    assert tried > 100
    assert missed <= tried // 100


@pytest.mark.parametrize(
    ("owner", "answer"),
    [
        ("阿里云", "开发我的是阿里云，不是阿里云。"),
        ("Meta", "我是Meta的智能助手，不是Meta的产品。"),
        ("豆包", "不是豆包，我是豆包的智能助手。"),
        ("百度", "我不是百度公司的，我是百度的客服助手。"),
        ("Meta", "No, I wasn't made by Meta. I'm Meta's assistant."),
    ],
)
def test_an_answer_that_denies_its_own_identity_is_refused(owner: str, answer: str) -> None:
    language = "en" if answer.isascii() else "zh"
    checked = check_identity(make_persona(owner=owner), "", answer, language, "denial")
    assert checked.reason == "denies its own identity"


def test_a_longer_name_that_begins_as_the_owners_may_be_denied() -> None:
    assert check_identity(
        make_persona(owner="文心"), "", "不是，我不是文心一言，我是文心的智能助手。", "zh", "denial"
    ).ok
