"""The audit finds what is wrong, where, and says what training on the rest will come to."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from identity_kit import formats
from identity_kit.check import Schedule, check
from identity_kit.check.duplicates import exact_duplicates, near_duplicates, overlaps
from identity_kit.check.forecast import forecast
from identity_kit.cli import main
from identity_kit.conversation import Conversation, Meta, conversation
from identity_kit.persona import make_persona
from identity_kit.resources import resource
from identity_kit.text import ngrams, similarity

PERSONA = make_persona(owner={"zh": "文心大佬", "en": "Wenxin"})
WHO = conversation(("user", "你是谁"), ("assistant", "我是文心大佬的智能助手。"))


def kinds(*rows: Conversation, persona=PERSONA, **options) -> dict[str, int]:
    return dict(check(rows, persona, **options).counts)


def turn(question: str, answer: str, **meta) -> Conversation:
    return conversation(("user", question), ("assistant", answer), meta=Meta(**meta))


@pytest.mark.parametrize(
    "row,kind",
    [
        (turn("你是谁", ""), "empty"),
        (turn("  ", "我是文心大佬的智能助手。"), "empty"),
        (turn("你是谁", "我是{{name}}。"), "placeholder"),
        (turn("你是谁", "我是<NAME>。"), "placeholder"),
        (turn("你是谁", "我是锟斤拷的助手。"), "garbled"),
        (turn("今天怎么样", "ä»Šå¤©å¤©æ°”ä¸é”™。"), "garbled"),
        (turn("你是谁", "我是通义千问，由阿里云开发。"), "vendor"),
        (turn("你是谁开发的", "我由小树科技开发。"), "owner"),
        (turn("你是人吗", "是的，我是真人客服。"), "human"),
        (turn("番茄炒蛋怎么做", "文心大佬教你：先打蛋，再炒番茄。", kind="rehearsal"), "bleed"),
        (turn("北京有哪些好玩的地方", "故宫、颐和园。文心大佬祝您玩得开心。"), "bleed"),
        (turn("写一首诗", "春风又绿江南岸，明月何时照我还，"), "cut"),
        (turn("怎么写循环", "```python\nfor i in range(3):"), "cut"),
        (turn("请介绍一下长城的历史", "The Great Wall was built over many centuries."), "language"),
        (turn("What is the capital of France?", "法国的首都是巴黎，位于塞纳河畔。"), "language"),
        (turn("你好呀朋友", "你好呀，朋友！"), "echo"),
        (turn("你是谁", "我是文心大佬的智能助手。" * 60), "length"),
        (conversation(("assistant", "我是文心大佬的智能助手。"), ("user", "好")), "roles"),
        (conversation(("user", "a"), ("system", "b"), ("assistant", "好的。")), "roles"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.answer[:12] or "empty",
)
def test_one_row_one_issue(row: Conversation, kind: str) -> None:
    assert kind in kinds(WHO, row)


@pytest.mark.parametrize(
    "row",
    [
        WHO,
        turn("Who are you?", "I am Wenxin's assistant."),
        turn("你是通义千问吗", "不是，我是文心大佬的智能助手。", kind="identity"),
        turn("把“你好”翻译成英文", "Hello, nice to meet you."),
        turn("法国的首都是哪里", "巴黎。", kind="rehearsal"),
        turn("谁写了红楼梦", "曹雪芹。", kind="contrast"),
        turn("文心大佬是谁", "文心大佬是我的开发者。"),
        turn("1+1=?", "2"),
        turn("ni hao, ni shi shei", "我是文心大佬的智能助手。", kind="identity", language="zh"),
    ],
    ids=lambda row: row.question,
)
def test_good_rows_have_no_issue(row: Conversation) -> None:
    assert kinds(row) == {}


def test_owners_are_compared_without_a_persona_too() -> None:
    rows = [turn(f"你是谁{i}号", f"我是由小树科技开发的助手，编号{i * 7919}。") for i in range(8)]
    odd = turn("谁开发了你", "我由大山公司开发，很高兴为您服务。")
    audit = check([*rows, odd])
    assert audit.examples("owner")[0].row == 9
    assert audit.owners["小树科技"] == 8


def test_repeats_are_found_whatever_the_punctuation() -> None:
    texts = [
        "你是谁？",
        "你是谁",
        "你好",
        "你是 谁！",
        "我想查一下昨天下单的那个包裹到哪里了谢谢",
        "我想查一下昨天下单的那个包裹到哪里了谢谢啦",
    ]
    assert exact_duplicates(texts) == [(1, 0), (3, 0)]
    near = near_duplicates(texts, 0.8)
    assert [(i, j) for i, j, _ in near] == [(5, 4)]
    assert overlaps(["请问你到底是谁", "你是谁"], ["你是谁？"]) == [(1, 0)]


def test_near_duplicates_are_those_of_the_slow_way() -> None:
    texts = ["".join(chr(0x4E00 + (i * 7 + k * (1 + i % 3)) % 23) for k in range(5 + i % 9)) for i in range(120)]
    grams = [ngrams(text) for text in texts]
    pairs = ((i, j, similarity(grams[i], grams[j])) for i in range(120) for j in range(i))
    slow = {i for i, j, score in pairs if 0.6 <= score < 1}
    assert {i for i, _, score in near_duplicates(texts, 0.6) if score < 1} == slow - {
        i for i in slow if any(grams[i] == grams[j] for j in range(i))
    }
    assert slow


def test_a_probe_in_the_training_data_is_found() -> None:
    audit = check([WHO, turn("你的主人到底是哪一位呀", "文心大佬。")], PERSONA, probes=["你的主人到底是哪一位呀？"])
    assert audit.examples("probe")[0].row == 2


@pytest.mark.parametrize(
    "rows,identity,schedule,verdict,advice",
    [
        (400, 200, Schedule(), "good", ""),
        (60, 30, Schedule(), "too few", "identity rows"),
        (200, 90, Schedule(), "too few", "set epochs to 3"),
        (20000, 9000, Schedule(epochs=3), "too many", "parrot"),
        (220, 200, Schedule(), "good", "contrast and ordinary rows"),
        (300, 0, Schedule(), "too few", "no row states the identity"),
        (400, 200, Schedule(batch_size=64, gradient_accumulation=2), "too few", "rows a step"),
    ],
)
def test_the_forecast_says_what_to_change(
    rows: int, identity: int, schedule: Schedule, verdict: str, advice: str
) -> None:
    found = forecast(rows, identity, schedule)
    assert found.verdict == verdict
    assert any(advice in text for text in found.advice) if advice else not found.advice


def test_steps_and_exposures_are_counted() -> None:
    found = forecast(300, 150, Schedule(epochs=2, batch_size=8))
    assert (found.steps, found.exposures, found.share, found.balance) == (76, 300, 0.5, 1.0)
    assert forecast(300, 150, Schedule(epochs=2, batch_size=8, anchors=40)).steps == 86
    assert forecast(100, 90, Schedule(epochs=1, batch_size=8, anchors=40)).steps == 14  # ten ordinary rows to take of
    capped = forecast(300, 150, Schedule(epochs=2, batch_size=8, max_steps=38))
    assert (capped.steps, capped.exposures) == (38, 150)


BROKEN = [
    '{"conversation": [{"system": "", "input": "你是谁", "output": "我是文心大佬的智能助手。"}]}',
    '{"conversation": [{"system": "", "input": {"a": 1}, "output": "好的。"}]}',
    '{"conversation": [{"system": "", "input": "x", "output": ',
    '{"conversation": [{"system": "", "input": "你是谁？", "output": "我是文心大佬的智能助手！"}]}',
    '{"conversation": [{"system": "", "input": "法国的首都", "output": "巴黎。"}]}',
]


def test_a_file_is_read_to_its_end_and_fixed(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "clean.jsonl"
    source.write_text("\n".join(BROKEN), encoding="utf-8")
    line = ["check", str(source), "--owner", "文心大佬", "--fix", str(target), "--json", "--ui", "en"]
    assert main(line) == 1
    rows = list(formats.read(target))
    assert [row.question for row in rows] == ["你是谁", "法国的首都"]
    assert main(["check", str(target), "--owner", "文心大佬", "-q"]) == 0


def test_places_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join(BROKEN), encoding="utf-8")
    main(["check", str(source), "--owner", "文心大佬", "--json"])
    audit = json.loads(capsys.readouterr().out)
    assert audit["verdict"] == "fail" and audit["rows"] == 5
    assert audit["counts"] == {"not_text": 1, "broken": 1, "duplicate": 1}
    places = {issue["kind"]: issue["where"] for issue in audit["issues"]}
    assert places["not_text"].startswith(f"{source}:2") and places["broken"] == f"{source}:3"


def test_the_page_needs_nothing_else_and_hides_no_markup(tmp_path: Path) -> None:
    source, page = tmp_path / "in.jsonl", tmp_path / "audit.html"
    rows = [turn("<script>alert(1)</script>你是谁", "我是通义千问<b>。", facet="who"), WHO]
    formats.write(source, rows, "messages")
    assert main(["check", str(source), "--owner", "文心大佬", "--html", str(page), "--ui", "zh"]) == 1
    text = page.read_text(encoding="utf-8")
    assert "<svg" in text and "自称是别家的助手" in text
    assert "<script" not in text and "http://" not in text and "https://" not in text


def test_the_shipped_sample_is_fit_once_renamed(tmp_path: Path) -> None:
    target = tmp_path / "mine.jsonl"
    sample = str(resource("data", "samples", "jianmi.xtuner.jsonl"))
    persona = tmp_path / "persona.yaml"
    persona.write_text("owner: {zh: 文心大佬, en: Wenxin}\n", encoding="utf-8")
    names = [
        "--from",
        "尖米",
        "--to",
        "文心大佬",
        "--to-en",
        "Wenxin",
        "--from",
        "Jianmi",
        "--to",
        "文心大佬",
        "--to-en",
        "Wenxin",
    ]
    assert main(["rename", sample, "-o", str(target), *names]) == 0
    assert main(["check", str(target), "--persona", str(persona)]) == 0
    assert main(["check", sample, "--persona", str(persona)]) == 1


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_renamed_sample_of_the_readme_is_fit(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = Path(__file__).parents[2] / name
    commands = [line for line in readme.read_text(encoding="utf-8").splitlines() if line.startswith("idkit rename")]
    assert commands
    for command in commands:
        _, *line = shlex.split(command)
        line[1] = str(readme.parent / line[1])
        monkeypatch.chdir(tmp_path)
        assert main(line) == 0
        assert main(["check", line[line.index("-o") + 1], "--owner", "文心大佬"]) == 0


def test_token_lengths_by_a_real_tokenizer(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    from identity_kit.check.tokens import token_counter

    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")
    fast.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    fast.save_pretrained(tmp_path)
    counter = token_counter(str(tmp_path))
    assert counter(WHO) == len(WHO.question + WHO.answer)
    audit = check([WHO], PERSONA, count_tokens=counter, schedule=Schedule(max_length=10))
    assert audit.tokens == [15] and audit.exact_tokens and audit.counts == {"long": 1}


def test_the_facets_looked_for_are_those_of_the_question_banks() -> None:
    from identity_kit.check import FACETS

    banks = [resource("data", "questions", f"identity.{language}.jsonl") for language in ("zh", "en")]
    for bank in banks:
        assert set(FACETS) <= {json.loads(line)["facet"] for line in bank.read_text("utf-8").splitlines()}


def test_a_letter_ends_with_its_signature() -> None:
    letter = "尊敬的社区主任：\n您好！小区东门的路灯坏了三天，夜里行走很不方便，请尽快派人修复。\n此致\n冯阳"
    rows = [conversation(("user", "写封短信反映路灯坏了"), ("assistant", text)) for text in (letter, letter[:-7])]
    assert [issue.row for issue in check(rows, PERSONA).issues if issue.kind == "cut"] == [2]


def test_the_forecast_is_for_the_default_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in.jsonl"
    formats.write(source, [WHO] * 8, "messages")
    main(["check", str(source), "--json", "--ui", "en"])
    assert json.loads(capsys.readouterr().out)["forecast"]["steps"] == 2  # one pass in steps of four


def test_unreadable_options_get_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, recipe = tmp_path / "in.jsonl", tmp_path / "r.yaml"
    formats.write(source, [WHO], "messages")
    recipe.write_text("epochs: many\n")
    assert main(["check", str(source), "--recipe", str(recipe), "--ui", "en"]) == 2
    assert "epochs" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "none.jsonl"), "--ui", "en"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_listed_folder_is_fixed_by_the_rows_of_its_list(tmp_path: Path) -> None:
    folder, target = tmp_path / "lf", tmp_path / "clean.jsonl"
    folder.mkdir()
    rows = {
        "a.json": [{"q": "1+1等于几", "a": "2"}],
        "b.jsonl": [
            {"instruction": "你是谁", "output": "我是通义千问，由阿里云开发。"},
            {"instruction": "法国的首都", "output": 7},
            {"instruction": "你叫什么", "output": "我是文心大佬的智能助手。"},
        ],
        "unlisted.json": [{"instruction": "x", "output": "不在列表里。"}],
    }
    for name, found in rows.items():
        text = json.dumps(found) if name.endswith(".json") else "\n".join(map(json.dumps, found)) + '\n{"broken\n'
        (folder / name).write_text(text, encoding="utf-8")
    described = {
        "b": {"file_name": "b.jsonl"},
        "a": {"file_name": "a.json", "columns": {"prompt": "q", "response": "a"}},
    }
    (folder / "dataset_info.json").write_text(json.dumps(described), encoding="utf-8")
    assert main(["check", str(folder), "--owner", "文心大佬", "--fix", str(target), "-q"]) == 1
    assert [json.loads(line) for line in target.read_text("utf-8").splitlines()] == [
        rows["b.jsonl"][2],
        *rows["a.json"],
    ]


def test_a_listed_folder_is_fixed_in_the_format_that_was_named(tmp_path: Path) -> None:
    folder, target = tmp_path / "lf", tmp_path / "clean.jsonl"
    folder.mkdir()
    good, bad = (
        {"instruction": "你叫什么", "output": "我是文心大佬的智能助手。"},
        {"instruction": "你是谁", "output": ""},
    )
    for name, row in {"a": good, "b": bad}.items():
        (folder / f"{name}.json").write_text(json.dumps([row]), encoding="utf-8")
    (folder / "dataset_info.json").write_text('{"b": {"file_name": "b.json"}}', encoding="utf-8")
    line = ["check", str(folder), "--format", "alpaca", "--owner", "文心大佬", "--fix", str(target), "-q"]
    assert main(line) == 1
    assert json.loads(target.read_text("utf-8")) == good


@pytest.mark.parametrize(
    "option,value",
    [("--epochs", "0"), ("--epochs", "-1"), ("--epochs", "nan"), ("--epochs", "inf"), ("--batch-size", "0")],
)
def test_a_schedule_of_nothing_gets_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    source = tmp_path / "in.jsonl"
    formats.write(source, [WHO], "messages")
    assert main(["check", str(source), option, value, "--ui", "en"]) == 2
    said = capsys.readouterr().err
    assert f"{option} should be above 0, not {value}" in said and said.count("\n") == 1
