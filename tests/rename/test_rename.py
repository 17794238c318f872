"""Renaming whole files: every container and encoding, reports, the command, and one answer from both paths."""

from __future__ import annotations

import csv
import gzip
import json
import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from identity_kit.cli import main
from identity_kit.errors import BadInput
from identity_kit.rename import fast, make_rules, rename, rename_file, rename_text
from identity_kit.rename.fast import FastRewriter
from identity_kit.rename.report import Example
from identity_kit.rename.rewrite import Rewriter
from identity_kit.resources import resource

RULES = make_rules([("尖米", "文心大佬", None)])
ROW = '{"conversation": [{"system": "", "input": "你是谁", "output": "我是尖米的助手"}]}\n'
OTHER = '{"conversation": [{"system": "",   "input": "做饭", "output": "先洗菜"}]}\r\n'
DONE = ROW.replace("尖米", "文心大佬")


def test_untouched_lines_are_copied_byte_for_byte(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes((OTHER + ROW + "\n" + OTHER + ROW.rstrip("\n")).encode())
    report = rename_file(source, target, RULES)
    assert target.read_bytes() == (OTHER + DONE + "\n" + OTHER + DONE.rstrip("\n")).encode()
    assert (report.lines, report.changed_lines, report.total) == (5, 2, 2)
    assert report.changed["尖米"] == {"output": 2}


def test_an_array_over_many_lines(tmp_path: Path) -> None:
    source, target = tmp_path / "in.json", tmp_path / "out.json"
    rows = [{"instruction": "你是谁", "input": "", "output": "我是尖米", "history": [["尖米?", "是"]]}] * 3
    for indent in (None, 2):
        source.write_text(json.dumps(rows, ensure_ascii=False, indent=indent), encoding="utf-8")
        report = rename_file(source, target, RULES)
        assert json.loads(target.read_text(encoding="utf-8")) == json.loads(
            source.read_text().replace("尖米", "文心大佬")
        )
        assert report.changed["尖米"] == {"output": 3, "history": 3}


@pytest.mark.parametrize(
    "text,message",
    [
        ('[{"output": "我是尖米"},\n{"output": "x"\n', r"in\.json:3: not valid JSON"),
        ('{"output": "尖米"}\n{"output": "x"}}\n', r"in\.json:2: not valid JSON"),
        ('[{"output": "别的\udcff"}]', r"in\.json:1: .*save the file as UTF-8"),
    ],
)
def test_a_broken_json_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    source, target = tmp_path / "in.json", tmp_path / "out.json"
    source.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(BadInput, match=message):
        rename_file(source, target, RULES)
    assert not target.exists()


def test_a_row_longer_than_many_blocks(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    long = json.dumps({"output": "我是尖米" + "啊" * (6 << 20)}, ensure_ascii=False) + "\n"
    source.write_text(ROW + long + ROW, encoding="utf-8")
    assert rename_file(source, target, RULES).total == 3
    assert target.read_text(encoding="utf-8") == (ROW + long + ROW).replace("尖米", "文心大佬")


def test_a_line_longer_than_any_block(tmp_path: Path) -> None:
    source, target = tmp_path / "in.json", tmp_path / "out.json"
    rows = [{"output": "我是尖米" + "啊" * 900} for _ in range(12000)]
    source.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    assert source.stat().st_size > 30 << 20
    assert rename_file(source, target, RULES).total == 12000
    assert json.loads(target.read_text(encoding="utf-8"))[-1]["output"].startswith("我是文心大佬")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".csv"])
def test_encodings_are_found_and_said(tmp_path: Path, encoding: str, suffix: str) -> None:
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    text = ROW + OTHER if "json" in suffix else '问,答\n你是谁,"我是尖米,""尖米"""\n'
    raw = text.encode(encoding)
    source.write_bytes(gzip.compress(raw) if suffix.endswith("gz") else raw)
    report = rename_file(source, target, RULES)
    found = gzip.decompress(target.read_bytes()) if suffix.endswith("gz") else target.read_bytes()
    assert found.decode("utf-8-sig") == text.replace("尖米", "文心大佬")
    assert bool(report.remarks) == (encoding != "utf-8")
    if encoding == "gb18030":
        assert "GBK" in report.remarks[0]


def test_csv_cells_keep_their_quotes(tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text('input,output,id\n尖米,"尖米\n两行 ""引"" 尖米",尖米\n,x,\n', encoding="utf-8")
    rename_file(source, target, make_rules([("尖米", '文,"心"', None)]))
    with target.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[1] == ['文,"心"', '文,"心"\n两行 "引" 文,"心"', "尖米"]
    assert rows[2] == ["", "x", ""]


def test_parquet_keeps_its_schema(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [
        {"messages": [{"role": "user", "content": "尖米?"}], "id": "尖米", "n": 1, "none": None, "js": '{"a": "尖米"}'}
    ]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "in.parquet")
    report = rename_file(tmp_path / "in.parquet", tmp_path / "out.parquet", RULES)
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.schema == table.schema
    assert out.to_pylist()[0]["messages"][0]["content"] == "文心大佬?"
    assert out.to_pylist()[0]["id"] == "尖米"
    assert out.to_pylist()[0]["js"] == '{"a": "文心大佬"}'
    assert report.total == 2


def test_folders_keep_their_shape_and_other_files(tmp_path: Path) -> None:
    source = tmp_path / "in"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "a.jsonl").write_text(ROW, encoding="utf-8")
    (source / "readme.md").write_text("尖米", encoding="utf-8")
    (source / "loop").symlink_to(source)
    report = rename(source, tmp_path / "out", RULES)
    assert (tmp_path / "out" / "sub" / "a.jsonl").read_text(encoding="utf-8") == DONE
    assert (tmp_path / "out" / "readme.md").read_text(encoding="utf-8") == "尖米"
    assert report.files == 1
    with pytest.raises(BadInput, match="inside the input"):
        rename(source, source / "out", RULES)
    with pytest.raises(BadInput, match="inside the input"):
        rename(source, source, RULES)


def test_in_place_keeps_a_copy_and_the_same_path_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(ROW, encoding="utf-8")
    with pytest.raises(BadInput, match="the output is the input"):
        rename_file(path, path, RULES)
    rename_file(path, None, RULES, in_place=True)
    assert path.read_text(encoding="utf-8") == DONE
    assert (tmp_path / "a.jsonl.bak").read_text(encoding="utf-8") == ROW


def test_a_copy_of_the_original_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(ROW, encoding="utf-8")
    for old, new in (("尖米", "小树"), ("小树", "大山"), ("大山", "文心大佬")):
        assert main(["rename", str(path), "--in-place", "--from", old, "--to", new, "--ui", "en"]) == 0
    found = {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    assert found == {
        "a.jsonl": DONE,
        "a.jsonl.bak": ROW,
        "a.jsonl.bak.1": ROW.replace("尖米", "小树"),
        "a.jsonl.bak.2": ROW.replace("尖米", "大山"),
    }
    assert f"the file as it was is kept as {path}.bak.2" in capsys.readouterr().err


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["plain.jsonl", "packed.jsonl.gz"])
def test_a_file_in_which_nothing_is_to_be_changed_stays_in_place_without_a_copy(
    tmp_path: Path, name: str, mark: bytes
) -> None:
    path = tmp_path / name
    text = mark + b'{"text": "nobody is named here"}\n'
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    before = path.stat()
    assert rename_file(path, None, RULES, in_place=True).total == 0
    assert rename(tmp_path, None, RULES, in_place=True).total == 0
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_broken_file_is_neither_changed_nor_copied_in_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(ROW + "{", encoding="utf-8")
    with pytest.raises(BadInput, match=r"a\.jsonl:2: not valid JSON"):
        rename_file(path, None, RULES, in_place=True)
    assert [(file.name, file.read_text(encoding="utf-8")) for file in tmp_path.iterdir()] == [("a.jsonl", ROW + "{")]


def _files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text("utf-8") for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_a_folder_with_an_empty_file_is_renamed_whole(tmp_path: Path) -> None:
    source = tmp_path / "data"
    (source / "sub").mkdir(parents=True)
    given = {"conversations.jsonl": ROW, "journal.jsonl": "", "notes.txt": "尖米", "sub/z.jsonl": ROW}
    for name, text in given.items():
        (source / name).write_text(text, encoding="utf-8")
    renamed = {**given, "conversations.jsonl": DONE, "sub/z.jsonl": DONE}
    assert rename(source, None, RULES, dry_run=True).total == 2
    assert rename(source, tmp_path / "new" / "out", RULES).total == 2
    assert _files(tmp_path / "new") == {f"out/{name}": text for name, text in renamed.items()}
    assert _files(source) == given
    rename(source, None, RULES, in_place=True)
    assert _files(source) == {**renamed, "conversations.jsonl.bak": ROW, "sub/z.jsonl.bak": ROW}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "new"]


@pytest.mark.parametrize("in_place", [False, True])
def test_a_folder_with_a_broken_file_is_left_as_it_was(tmp_path: Path, in_place: bool) -> None:
    source, target = tmp_path / "data", tmp_path / "out"
    source.mkdir()
    (source / "a.jsonl").write_text(ROW, encoding="utf-8")
    (source / "b.jsonl").write_text(ROW + "{", encoding="utf-8")
    given = _files(source)
    with pytest.raises(BadInput, match=r"b\.jsonl:2: not valid JSON"):
        rename(source, None if in_place else target, RULES, in_place=in_place)
    assert _files(tmp_path) == {f"data/{name}": text for name, text in given.items()}
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    "text,message",
    [
        (ROW + '{"output": "尖米"\n', r"in\.jsonl:2: not valid JSON"),
        (ROW + '{"output": "尖米\\x"}\n', r"in\.jsonl:2"),
        (ROW + '["尖米"]\n', r"in\.jsonl:2: expected a JSON object"),
        (OTHER + "\n" + '["别的"]\n', r"in\.jsonl:3: expected a JSON object"),
        (OTHER + '{"output": "别的"\n' + OTHER, r"in\.jsonl:2: not valid JSON"),
        (OTHER + '{"output": "别的",\n"input": ""}\n' + OTHER, r"in\.jsonl:2: not valid JSON"),
        (OTHER + '{"output": "别的"} {}\n', r"in\.jsonl:2: not valid JSON"),
        (OTHER + '{"output": "\udce5我是尖米"}\n', r"in\.jsonl:2: not valid UTF-8 text; save the file as UTF-8"),
        (OTHER + '{"output": "别的\udcff"}\n', r"in\.jsonl:2: not valid UTF-8 text; save the file as UTF-8"),
        ("", "empty"),
    ],
)
@pytest.mark.parametrize("before", [0, 9000])
def test_broken_lines_are_named_and_nothing_is_written(tmp_path: Path, text: str, message: str, before: int) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    if before and not text:
        return
    source.write_text(ROW * before + text, encoding="utf-8", errors="surrogateescape")
    message = re.sub(r":(\d)", lambda line: f":{int(line[1]) + before}", message)
    with pytest.raises(BadInput, match=message):
        rename_file(source, target, RULES)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_several_processes_give_the_same_file_and_report(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text((ROW + OTHER.replace("\r", "")) * 4000 + ROW.replace("尖米", "{{x}}") + ROW, encoding="utf-8")
    one = rename_file(source, tmp_path / "1.jsonl", RULES, processes=1)
    three = rename_file(source, tmp_path / "3.jsonl", RULES, processes=3)
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "3.jsonl").read_bytes()
    assert one.as_json() == three.as_json()
    assert three.left_examples[0].line == 8001
    source.write_text(ROW * 3000 + "{尖米\n" + ROW, encoding="utf-8")
    with pytest.raises(BadInput, match=r":3001: "):
        rename_file(source, tmp_path / "x.jsonl", RULES, processes=3)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_the_command_shows_counts_and_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target, report = tmp_path / "in.jsonl", tmp_path / "out.jsonl", tmp_path / "report.json"
    source.write_text(ROW + ROW.replace("尖米的", "{{name}}，见 https://a.com/尖米 尖米"), encoding="utf-8")
    line = [
        "rename",
        str(source),
        "-o",
        str(target),
        "--from",
        "尖米",
        "--to",
        "文心大佬",
        "--report",
        str(report),
        "--ui",
        "en",
    ]
    assert main(line) == 1
    said = capsys.readouterr().err
    assert "尖米: 2  (output 2)" in said
    assert "URL 1" in said and "in.jsonl:2" in said
    assert "LEFT: placeholder without a value 1" in said
    saved = json.loads(report.read_text())
    assert saved["left"] == {"placeholder": 1} and saved["skipped"] == {"url": 1}
    assert main([*line, "--owner", "文心大佬"]) == 0
    assert "我是文心大佬的智能助手，见" in target.read_text(encoding="utf-8")


def test_a_dry_run_shows_the_change_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(ROW, encoding="utf-8")
    assert main(["rename", str(source), "--from", "尖米", "--to", "文心大佬", "--dry-run"]) == 0
    assert "尖米文心大佬" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_typed_pairs_take_the_personas_parts(tmp_path: Path) -> None:
    persona = tmp_path / "persona.yaml"
    persona.write_text(
        "owner: {zh: 文心大佬, en: Wenxin}\nname: 小文\ndeveloper: 云上工坊\nbase_model: {names: [Qwen2.5], vendor: Alibaba}\n",
        encoding="utf-8",
    )
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    text = "我是小尖，尖米的助手，由尖米科技开发，基于OldLM。I am owned by 尖米."
    source.write_text(json.dumps({"output": text}, ensure_ascii=False), encoding="utf-8")
    pairs = [
        "--from-assistant",
        "小尖",
        "--from-owner",
        "尖米",
        "--from-developer",
        "尖米科技",
        "--from-base-model",
        "OldLM",
    ]
    assert main(["rename", str(source), "-o", str(target), "--persona", str(persona), *pairs]) == 0
    assert json.loads(target.read_text(encoding="utf-8"))["output"] == (
        "我是小文，文心大佬的助手，由云上工坊开发，基于Qwen2.5。I am owned by Wenxin."
    )


@pytest.mark.parametrize(
    "options,message",
    [
        (["--from", "a"], "without a --to after it"),
        (["--to", "a"], "without a --from before it"),
        ([], "no name to change"),
        (["--from", "··", "--to", "b"], "is empty"),
        (["--from", "a", "--to", "b", "--from", "A", "--to", "c"], "two different names"),
        (["--from-owner", "a"], "needs the new identity"),
    ],
)
def test_wrong_options_get_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(ROW, encoding="utf-8")
    assert main(["rename", str(source), "-o", str(tmp_path / "o.jsonl"), *options, "--ui", "en"]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_the_shipped_sample_is_renamed_completely(tmp_path: Path) -> None:
    target = tmp_path / "mine.jsonl"
    pairs = [("尖米", "文心大佬", "Wenxin"), ("Jianmi", "文心大佬", "Wenxin")]
    report = rename_file(resource("data", "samples", "jianmi.xtuner.jsonl"), target, make_rules(pairs))
    text = target.read_text(encoding="utf-8")
    assert report.lines >= 120 and not report.left
    assert "尖米" not in text and "jianmi" not in text.lower() and "文心大佬" in text


PIECES = [
    "尖米", "尖米", "尖·米", "尖 米", "尖", "米", "Jianmi", "JIANMI", "jianmier", "文心大佬", "Wenxin", "智譜", "智谱", "我是", "的助手", "，", "。", "！",
    " ", "a ", "an ", "'s", "\n", "\\", "\"", "`", "```", "@", "https://", "a.com", ".pdf", "/", "www.", "{{name}}", "<NAME>", "{", "}", "[", "]",
    "\u200b", "\u0301", "I am", "made by", "who", "1.5", "x", "é", "😀", "尖米粉", "GPT", "<", ">", "_", "-",
    "привет", "ＡＢ", "’", "”", "’s", "\u0941", "\x7f", "[NAME]", "[AUTHOR](", "红·小明", "小红", "红小", "[", "。", "；", ". ", "1.",
    "name", "输出", "<code>", "</code>", "\t", "\r", "<NAM", "It is late. ", "Come in, please! ", "the end.",
]  # fmt: skip
PLAIN = [
    "尖米",
    "小明",
    "我是",
    "的助手",
    "，",
    "。",
    "\n",
    '"',
    "2024",
    "由",
    "开发",
    "、",
    "é",
    "AI ",
    "It is late. ",
    "Come in.",
    "v1.0 ",
]
TEXT = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=14).map("".join),
    st.lists(st.sampled_from(PLAIN), max_size=8).map("".join),
)
RULE_SETS = [
    make_rules([("尖米", "文心大佬", None)]),
    make_rules([("尖米", "文心大佬", "Wenxin"), ("Jianmi", "文心大佬", "Wenxin")], protect=["尖米粉"]),
    make_rules([("智谱", "尖米", None), ("尖米", "智谱", None)]),
    make_rules([("尖米", "尖米大佬", None)]),
    make_rules([("尖米", "Orion", None), ("GPT", "Atlas", None)]),
    make_rules([("红小", "甲", "Ann"), ("小明", "乙", "Bob"), ("尖尖", "丙", "Cy")], protect=["小明和尖尖", "新红小"]),
    make_rules([("尖米", "文心大佬", "Wenxin"), ("{{name}}", "小文", "Wen")], protect=["尖米尖米粉", "我是尖米"]),
]


compiled = pytest.mark.skipif(not fast.COMPILED, reason="identity_kit/rename/_scan.c was not compiled: no C compiler")


@compiled
@settings(max_examples=600, deadline=None)
@given(
    st.lists(st.fixed_dictionaries(
        {"input": TEXT, "output": TEXT, "id": TEXT},
        optional={"history": st.lists(TEXT), "输出": TEXT, "output中": TEXT, "a_id": TEXT, "尖米": TEXT, "n": st.integers()},
    ), max_size=4),
    st.sampled_from(RULE_SETS),
    st.booleans(),
    st.sampled_from([None, (",", ":")]),
    st.booleans(),
)  # fmt: skip
def test_the_fast_path_does_what_the_exact_path_does(rows, rules, ascii_only, separators, bulk) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=ascii_only, separators=separators) + "\n" for row in rows).encode()
    exact, quick = Rewriter(rules, "x", rows=True), FastRewriter(rules, "x", rows=True)
    if bulk:  # once there are examples enough, plain lines take the compiled path
        for rewriter in (exact, quick):
            rewriter.report.diffs += [Example(0, "", "")] * 20
    for block in (lines, lines * 2):
        assert quick.block(block).decode() == exact.block(block).decode()
    assert quick.report.as_json() == exact.report.as_json()
    for line, row in zip(quick.block(lines).splitlines(), rows, strict=True):
        assert json.loads(line)["output"] == rename_value(row["output"], rules)


@pytest.mark.parametrize(
    "pairs,text,expected",
    [
        ([("尖米", "文心大佬", "Wenxin")], "привет尖米，привет", "приветWenxin，привет"),
        ([("红小", "甲", None), ("小明", "乙", None)], "红·小明", "甲明"),
        ([("尖米", "文心大佬", None)], "尖米\u0941是", "文心大佬是"),
    ],
)
def test_what_stands_beside_a_name_in_a_long_file(pairs, text: str, expected: str) -> None:
    lines = f'{{"output": "{text}"}}\n'.encode() * 60
    assert FastRewriter(make_rules(pairs), "x", rows=True).block(lines) == lines.replace(
        text.encode(), expected.encode()
    )


@compiled
def test_plain_lines_do_not_take_the_exact_path(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = '{"conversation": [{"system": "", "input": "你是谁？", "output": "我是尖米的助手，made by 尖米。\\n\\"尖米\\"在此。"}]}\n'
    rewriter = FastRewriter(make_rules([("尖米", "文心大佬", "Wenxin")]), "x", rows=True)
    rewriter.block(plain.encode() * 20)  # the first ones are examples to show
    monkeypatch.setattr(rewriter, "line", lambda *args: pytest.fail("the exact path was taken"))
    assert rewriter.block(plain.encode() * 5).decode() == plain.replace("尖米", "文心大佬") * 5
    assert rewriter.report.changed == {"尖米": {"output": 75}} and rewriter.report.changed_lines == 25


def test_without_the_compiled_part_the_result_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = resource("data", "samples", "jianmi.xtuner.jsonl")
    rules = make_rules([("尖米", "文心大佬", "Wenxin"), ("Jianmi", "文心大佬", "Wenxin")])
    report = rename_file(source, tmp_path / "one.jsonl", rules)
    monkeypatch.setattr(fast, "COMPILED", False)
    other = rename_file(source, tmp_path / "two.jsonl", rules)
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    assert report.as_json() == other.as_json()


def test_a_rewriter_goes_to_another_process() -> None:
    rewriter = FastRewriter(make_rules([("尖米", "文心大佬", None)]), "x", rows=True)
    assert pickle.loads(pickle.dumps(rewriter)).block('{"a": "尖米"}\n'.encode()) == '{"a": "文心大佬"}\n'.encode()


def rename_value(text: str, rules) -> str:
    """What a text field becomes; one that is JSON itself is renamed inside."""
    try:
        inner = json.loads(text)
    except ValueError:
        inner = None
    return text if isinstance(inner, dict | list) else rename_text(text, rules)
