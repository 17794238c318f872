"""Formats are found, read and written as their home projects have them, and refuse what they cannot hold."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from identity_kit import formats
from identity_kit.cli import main
from identity_kit.conversation import Conversation, Meta, conversation
from identity_kit.errors import BadInput

SINGLE = conversation(("user", "你是谁"), ("assistant", "我是尖米。"))
SYSTEM = conversation(("system", "要简短"), ("user", "你是谁"), ("assistant", "我是尖米。"))
MULTI = conversation(
    ("system", "要简短"), ("user", "你好"), ("assistant", "您好！"), ("user", "你是谁"), ("assistant", "我是尖米。")
)
PAIR = conversation(("user", "你是谁"), ("assistant", "我是尖米。"), rejected="我是通义千问。")
TOOL = conversation(("user", "几点"), ("assistant", "查一下"), ("tool", "12:00"), ("assistant", "十二点。"))


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("format", ["messages", "xtuner", "alpaca", "sharegpt", "swift", "openai"])
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet", ".jsonl.gz"])
def test_what_is_written_is_read_back(tmp_path: Path, format: str, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    formats.write(path, [SINGLE, SYSTEM, MULTI], format)
    assert list(formats.read(path)) == [SINGLE, SYSTEM, MULTI]
    assert formats.detect(path) in (format, "messages")


@pytest.mark.parametrize("format,style", [("sharegpt", "role"), ("swift", "new")])
def test_other_styles_are_read_back(tmp_path: Path, format: str, style: str) -> None:
    path = tmp_path / "data.jsonl"
    formats.write(path, [SINGLE, MULTI], format, style=style)
    assert list(formats.read(path)) == [SINGLE, MULTI]


@pytest.mark.parametrize("format", ["messages", "dpo", "kto", "llamafactory"])
def test_pairs_are_read_back(tmp_path: Path, format: str) -> None:
    path = tmp_path / ("out" if format == "llamafactory" else "data.jsonl")
    formats.write(path, [PAIR], format)
    assert list(formats.read(path)) == [PAIR]


def test_rows_look_as_their_projects_document_them(tmp_path: Path) -> None:
    def row(format: str, record: Conversation = MULTI, **options: str) -> dict:
        path = tmp_path / "row.jsonl"
        formats.write(path, [record], format, **options)
        return lines(path)[0]

    assert row("xtuner") == {
        "conversation": [
            {"system": "要简短", "input": "你好", "output": "您好！"},
            {"input": "你是谁", "output": "我是尖米。"},
        ]
    }
    assert row("alpaca") == {
        "instruction": "你是谁",
        "input": "",
        "output": "我是尖米。",
        "system": "要简短",
        "history": [["你好", "您好！"]],
    }
    assert row("sharegpt")["conversations"][:2] == [
        {"from": "system", "value": "要简短"},
        {"from": "human", "value": "你好"},
    ]
    assert row("sharegpt", style="role")["conversations"][1] == {"role": "user", "content": "你好"}
    assert row("swift")["query"] == "你是谁"
    assert row("dpo", PAIR) == {
        "prompt": [{"role": "user", "content": "你是谁"}],
        "chosen": [{"role": "assistant", "content": "我是尖米。"}],
        "rejected": [{"role": "assistant", "content": "我是通义千问。"}],
    }


def test_llamafactory_keeps_other_entries_of_dataset_info(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "dataset_info.json").write_text('{"other": {"file_name": "other.json"}}')
    formats.write(folder / "mine.json", [SINGLE, MULTI], "llamafactory")
    info = json.loads((folder / "dataset_info.json").read_text())
    assert set(info) == {"other", "mine"}
    assert info["mine"]["columns"] == {"messages": "conversations"}
    assert list(formats.read(folder)) == [SINGLE, MULTI]


def test_meta_survives_in_messages(tmp_path: Path) -> None:
    record = conversation(("user", "a"), ("assistant", "b"), meta=Meta(id="7", facet="who", kind="identity", extra=[1]))
    for name in ("a.jsonl", "b.json", "c.parquet"):
        formats.write(tmp_path / name, [record, SINGLE], "messages")
        assert list(formats.read(tmp_path / name)) == [record, SINGLE]


@pytest.mark.parametrize(
    "record,format,what",
    [
        (TOOL, "xtuner", "tool"),
        (TOOL, "alpaca", "tool"),
        (PAIR, "xtuner", "rejected"),
        (SINGLE, "dpo", "rejected"),
        (conversation(("user", "a")), "openai", "answer"),
        (conversation(("user", "a"), ("user", "b"), ("assistant", "c")), "sharegpt", "alternate"),
        (conversation(("user", "a"), ("assistant", "b"), meta=Meta(weight=2)), "alpaca", "weight"),
    ],
)
def test_what_has_no_place_is_refused_or_counted(tmp_path: Path, record: Conversation, format: str, what: str) -> None:
    path = tmp_path / "out.jsonl"
    with pytest.raises(BadInput, match=what) as error:
        formats.write(path, [SINGLE if format != "dpo" else PAIR, record], format)
    assert "record 2" in str(error.value)
    assert not path.exists()
    written = formats.write(path, [SINGLE if format != "dpo" else PAIR, record], format, lossy=True)
    assert any(what in reason for reason in written.dropped)
    assert list(formats.read(path))[:1] == [SINGLE if format != "dpo" else PAIR]


def test_provenance_that_has_no_place_is_counted_by_row(tmp_path: Path) -> None:
    rows = [
        conversation(("user", f"q{i}"), ("assistant", "a"), meta=Meta(kind="identity", facet="who")) for i in range(3)
    ]
    result = formats.write(tmp_path / "out.json", rows, "alpaca")
    assert result.left_out["kind"] == result.left_out["facet"] == 3


def test_an_object_where_text_belongs_is_named_with_line_and_field(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    good = '{"conversation": [{"system": "", "input": "a", "output": "b"}]}\n'
    path.write_text(good + '{"conversation": [{"system": "", "input": {"x": 1}, "output": "b"}]}\n')
    with pytest.raises(BadInput, match=r'train\.jsonl:2.*field "input" is an object, expected text'):
        list(formats.read(path))


@pytest.mark.parametrize(
    "name,text,message",
    [
        ("a.jsonl", '{"messages": [{"role": "user", "content": "x"}]}\n{"messages": [\n', r"a\.jsonl:2: not valid JSON"),
        ("a.json", '[\n{"instruction": "a", "output": "b"},\n{"instruction": }\n]', r"a\.json:3: not valid JSON"),
        ("a.json", '[{"instruction": "a", "output": "b"}', r"\] is missing"),
        ("a.jsonl", '{"instruction": "a", "output": "b"}\n{"conversations": [{"from": "human", "value": "x"}]}\n', r":2.*this row is sharegpt, the file began as alpaca"),
        ("a.jsonl", "\n \n", "nothing but blanks"),
        ("a.jsonl", "", "empty"),
        ("a.jsonl", '{"foo": 1}\n', "no known format has these fields: foo"),
        ("a.jsonl", "[1, 2]\n", "expected a JSON object"),
        ("a.jsonl", '{"messages": [{"role": "boss", "content": "x"}]}\n', "has role 'boss'"),
        ("a.jsonl", '{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}\n', "holds more than text: image_url"),
        ("a.csv", "instruction,output\na,b\nc\n", r"a\.csv:3: 1 cells, the header has 2"),
        ("a.txt", "x", "unknown kind of file"),
        ("a.parquet", "x", "cannot be read"),
        ("a.jsonl.gz", "x", "gzip"),
    ],
)  # fmt: skip
def test_bad_files_get_one_clear_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(BadInput, match=message) as error:
        list(formats.read(path))
    assert "\n" not in str(error.value)


def test_missing_files_and_link_loops(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        list(formats.read(tmp_path / "none.jsonl"))
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    with pytest.raises(BadInput, match="loop of symbolic links"):
        list(formats.read(tmp_path / "loop.jsonl"))
    with pytest.raises(BadInput, match="no data files"):
        list(formats.read(tmp_path))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
def test_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes((SYSTEM.to_line() + "\n\n" + SINGLE.to_line() + "\n").encode(encoding))
    assert list(formats.read(path)) == [SYSTEM, SINGLE]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16-le", "utf-16-be"])
def test_lines_end_at_line_feeds_alone(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.jsonl"
    odd = conversation(("user", "一\u2028二\u0085三\u2029\u0a00\u000c"), ("assistant", "上\u0a0d下\u010a"))
    text = ("\ufeff" if "16" in encoding else "") + f"{odd.to_line()}\r\n\n{odd.to_line()}\n"
    path.write_bytes(text.encode(encoding))
    assert list(formats.read(path)) == [odd, odd]
    path.write_bytes((text + "{").encode(encoding))
    with pytest.raises(BadInput, match=r"a\.jsonl:4: not valid JSON"):
        list(formats.read(path))


def test_utf_16_that_breaks_off_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(("\ufeff" + SINGLE.to_line() + "\n").encode("utf-16-le") + b"{")
    with pytest.raises(BadInput, match=r"a\.jsonl:2: not valid UTF-16-LE \+ BOM text"):
        list(formats.read(path))


def test_foreign_shapes_are_read(tmp_path: Path) -> None:
    def first(row: dict, format: str | None = None) -> Conversation:
        path = tmp_path / "x.jsonl"
        path.write_text(json.dumps(row))
        return next(formats.read(path, format))

    assert first({"conversation": [{"human": "你是谁", "assistant": "我是尖米。"}]}) == SINGLE
    assert first({"conversations": [{"role": "user", "content": "你是谁"}, {"role": "assistant", "content": "我是尖米。"}]}) == SINGLE  # fmt: skip
    assert first({"prompt": "你是谁", "response": "我是尖米。"}) == SINGLE
    assert first({"instruction": "你是", "input": "谁", "output": "x"}).question == "你是\n谁"
    assert first({"prompt": "你是谁", "chosen": "我是尖米。", "rejected": "我是通义千问。"}) == PAIR
    both = [{"role": "user", "content": "你是谁"}]
    chosen, rejected = ([*both, {"role": "assistant", "content": t}] for t in ("我是尖米。", "我是通义千问。"))
    assert first({"chosen": chosen, "rejected": rejected}) == PAIR
    assert first({"messages": [{"role": "user", "content": [{"type": "text", "text": "你是谁"}]}, {"role": "assistant", "content": "我是尖米。"}]}) == SINGLE  # fmt: skip
    assert first({"messages": [m.model_dump() for m in SINGLE.messages], "rejected_response": "我是通义千问。"}) == PAIR
    assert first({"prompt": "你是谁", "completion": "我是尖米。"}, "openai") == SINGLE


def test_arrow_folders_and_hub_names(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"instruction": "你是谁", "input": "", "output": "我是尖米。"}]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "arrow"))
    assert list(formats.read(tmp_path / "arrow")) == [SINGLE]
    (tmp_path / "folder").mkdir()
    formats.write(tmp_path / "folder" / "a.jsonl", [SINGLE], "xtuner")
    with gzip.open(tmp_path / "folder" / "b.jsonl.gz", "wt") as stream:
        stream.write(json.dumps({"conversation": [{"input": "q", "output": "a"}]}))
    assert len(list(formats.read(tmp_path / "folder"))) == 2


def test_pairs_from_another_file(tmp_path: Path) -> None:
    ours, base = tmp_path / "ours.jsonl", tmp_path / "base.jsonl"
    formats.write(ours, [SINGLE, conversation(("user", "没人答"), ("assistant", "x"))], "messages")
    formats.write(base, [conversation(("user", "你是谁？"), ("assistant", "我是通义千问。"))], "messages")
    written = formats.convert(ours, tmp_path / "dpo.jsonl", "dpo", rejected=base)
    assert list(formats.read(tmp_path / "dpo.jsonl")) == [PAIR]
    assert written.dropped == {"rows: no other answer": 1}


MARKED = {
    "messages": ({"messages": [{"role": "user", "content": "a", "name": "li", "refusal": None}, {"role": "assistant", "content": "b", "weight": 0}]}, ("messages.name", "messages.weight")),
    "thought": ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "reasoning_content": "c"}]}, ("messages.reasoning_content",)),
    "sharegpt": ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b", "train": False}]}, ("conversations.train",)),
    "swift": ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "loss": False}], "rejected_response": "c"}, ("messages.loss",)),
    "xtuner": ({"conversation": [{"input": "a", "output": "b", "output_with_loss": False}]}, ("conversation.output_with_loss",)),
    "pairs": ({"conversation": [{"human": "a", "assistant": "b", "score": 1}]}, ("conversation.score",)),
    "dpo": ({"prompt": "a", "chosen": [{"role": "assistant", "content": "b", "weight": 2}], "rejected": "c"}, ("chosen.weight",)),
}  # fmt: skip


@pytest.mark.parametrize("name", MARKED)
def test_what_a_message_holds_beside_role_and_text_is_refused_or_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    row, fields = MARKED[name]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.json"
    source.write_text(json.dumps(row), encoding="utf-8")
    line = ["convert", str(source), "-o", str(target), "--to", "llamafactory", "--ui", "en"]
    assert main(line) == 2
    assert f'record 1 has a field "{fields[0]}" of a message' in capsys.readouterr().err
    assert not target.exists()
    assert main([*line, "--lossy", "--json"]) == 0
    dropped = json.loads(capsys.readouterr().out)["dropped"]
    assert dropped == {f'a field "{field}" of a message': 1 for field in fields}
    assert main(["convert", str(source), "-o", str(tmp_path / "ours.jsonl"), "--to", "messages"]) == 0
    assert len(next(formats.read(tmp_path / "ours.jsonl")).meta.message_fields) == len(fields)


@pytest.mark.parametrize(
    "name,format,style", [("messages", "openai", None), ("xtuner", "xtuner", None), ("swift", "swift", "new")]
)
def test_a_format_keeps_the_keys_of_messages_that_it_knows(
    tmp_path: Path, name: str, format: str, style: str | None
) -> None:
    source, between, target = tmp_path / "in.jsonl", tmp_path / "ours.parquet", tmp_path / "out.jsonl"
    source.write_text(json.dumps(MARKED[name][0]), encoding="utf-8")
    formats.convert(source, between, "messages")
    formats.convert(between, target, format, style=style)
    field = "conversation" if format == "xtuner" else "messages"
    found = json.loads(target.read_text(encoding="utf-8"))[field]
    for written, given in zip(found, MARKED[name][0][field], strict=True):
        assert written.items() >= {key: value for key, value in given.items() if value is not None}.items()
    with pytest.raises(BadInput, match="of a message"):
        formats.convert(between, tmp_path / "out.parquet", format, style=style)


def test_a_pair_keeps_every_column_that_is_not_its_prompt(tmp_path: Path) -> None:
    def first(row: dict) -> Conversation:
        path = tmp_path / "x.jsonl"
        path.write_text(json.dumps(row))
        return next(formats.read(path))

    answers = {"chosen": "我是尖米。", "rejected": "我是通义千问。"}
    both = first({"prompt": "你是谁", "question": "谁", **answers})
    assert both.question == "你是谁" and both.meta.model_extra == {"question": "谁"}
    earlier = {"history": [["你好", "您好！"]], "system": "要简短", **answers}
    pair = MULTI.model_copy(update={"rejected": "我是通义千问。"})
    assert first({"instruction": "你是", "input": "谁", **earlier}).messages[:3] == pair.messages[:3]
    assert first({"instruction": "你是谁", "input": "", **earlier}) == pair
    assert first({"prompt": "你是谁", **earlier}) == pair
    with pytest.raises(BadInput, match="chosen"):
        list(formats.read(_file(tmp_path, {"prompt": "a", "rejected": "b"}), "dpo"))


def _file(folder: Path, row: dict) -> Path:
    path = folder / "row.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    return path


def test_other_answers_that_are_the_same_ones_are_named_as_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    formats.write(source, [SINGLE, SYSTEM], "messages")
    line = ["convert", str(source), "-o", str(target), "--to", "dpo", "--rejected"]
    assert main([*line, str(source), "--ui", "en"]) == 2
    assert f"{source}: its answers are all the same as the input's (2)" in capsys.readouterr().err
    other = tmp_path / "other.jsonl"
    formats.write(other, [conversation(("user", "x"), ("assistant", "y"))], "messages")
    assert main([*line, str(other), "--ui", "en"]) == 2
    assert "none of its questions is in the input" in capsys.readouterr().err
    assert not target.exists()


def test_a_file_without_one_record_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    formats.write(source, [SINGLE], "messages")
    assert main(["convert", str(source), "-o", str(target), "--to", "dpo", "--lossy", "--ui", "en"]) == 2
    said = capsys.readouterr().err
    assert "no record can be written as dpo (left out: no rejected answer 1); give --rejected-by or --rejected" in said
    assert not target.exists()
