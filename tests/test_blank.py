"""Blanks: rows about invented owners, the adapter learnt from them, and runs that begin with it."""

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from identity_kit.blank import (
    ANSWERS,
    ROWS_FROM_START,
    STAND_IN,
    find_start,
    for_another,
    invented,
    known_answers,
    mean_blank,
)
from identity_kit.conversation import conversation, read_conversations, write_conversations
from identity_kit.errors import BadInput
from identity_kit.evaluate.held_out import overlaps, training_questions
from identity_kit.evaluate.probes import load_probes
from identity_kit.generate.banks import bank_files
from identity_kit.generate.engine import generate
from identity_kit.generate.settings import settings_for
from identity_kit.llm.endpoint import Endpoint
from identity_kit.models.fingerprint import folder_fingerprint
from identity_kit.models.resolve import hf_folder, resolve
from identity_kit.persona import make_persona
from identity_kit.resources import resource
from identity_kit.train import load_recipe

SMALL = "embedded:smollm2-135m"
DEFAULT = "embedded:qwen2.5-coder-0.5b"


def test_the_stand_in_stands_in_no_bank() -> None:
    shipped = [*bank_files(), *resource("data", "probes").glob("*.jsonl"), resource("data", "vendors.yaml")]
    assert [path.name for path in shipped if STAND_IN.owner.get("zh") in path.read_text("utf-8")] == []


def test_a_row_about_the_stand_in_becomes_one_about_another_owner_whatever_its_language() -> None:
    row = conversation(
        ("system", f"你是{STAND_IN.name.get('zh')}，由{STAND_IN.owner.get('zh')}开发。"),
        ("user", "Who are you?"),
        ("assistant", f"I'm {STAND_IN.name.get('en')}, developed by {STAND_IN.owner.get('en')}."),
    )
    unnamed = for_another(row, make_persona(owner="Maple Tools"))
    assert [message.content for message in unnamed.messages] == [
        "你是Maple Tools的智能助手，由Maple Tools开发。",
        "Who are you?",
        "I'm Maple Tools' assistant, developed by Maple Tools.",
    ]
    named = for_another(row, make_persona(owner="青禾书店", name="小禾"))
    assert [message.content for message in named.messages] == [
        "你是小禾，由青禾书店开发。",
        "Who are you?",
        "I'm 小禾, developed by 青禾书店.",
    ]


def test_owners_are_many_and_the_same_for_the_same_seed() -> None:
    for language in ("zh", "en"):
        chance = random.Random(1)
        personas = [invented(language, chance) for _ in range(1000)]
        again = random.Random(1)
        assert personas == [invented(language, again) for _ in range(1000)]
        owners = [persona.owner.get("zh") for persona in personas]
        assert len(set(owners)) > 500
        own_names = [p for p in personas if p.owner.get("zh") not in p.name.get("zh")]
        assert 150 < len(own_names) < 350


def test_no_invented_owner_has_the_name_of_one_that_figures_are_given_for() -> None:
    chance = random.Random(2)
    owners = {invented(language, chance).owner.get("zh") for language in ("zh", "en") for _ in range(5000)}
    measured = ("文心", "小米", "大佬", "Acme", "Robotics")
    assert [owner for owner in owners if any(part in owner for part in measured)] == []


def test_the_embedded_model_has_a_blank_for_the_shape_of_its_recipe_and_no_other() -> None:
    shipped = find_start("auto", DEFAULT, load_recipe("cpu-0.5b"))
    assert shipped == resource("data", "blanks", "qwen2.5-coder-0.5b")
    assert find_start("auto", DEFAULT, load_recipe("cpu-0.5b", ["method=qlora"])) == shipped
    for override in ("rank=8", "alpha=16", "last_layers=12", "method=full"):
        assert find_start("auto", DEFAULT, load_recipe("cpu-0.5b", [override])) is None, override
    assert find_start("auto", DEFAULT.removeprefix("embedded:"), load_recipe("cpu-0.5b")) == shipped
    assert find_start("auto", SMALL, load_recipe("cpu-0.5b")) is None
    assert find_start("auto", "./qwen2.5-coder-0.5b", load_recipe("cpu-0.5b")) is None
    assert find_start("none", DEFAULT, load_recipe("cpu-0.5b")) is None


def test_the_shipped_blank_says_what_it_was_made_from_and_no_path_of_the_machine() -> None:
    folder = resource("data", "blanks", "qwen2.5-coder-0.5b")
    made = json.loads((folder / "blank.json").read_text())
    assert made["base"] == DEFAULT
    assert all(part["rows"] > 10_000 and part["owners"] > 3000 for part in made["mean_of"])
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == DEFAULT


def test_the_shipped_blank_knows_what_the_model_answers_to_the_questions_of_a_run(tmp_path: Path) -> None:
    blank = resource("data", "blanks", "qwen2.5-coder-0.5b")
    known = blank / ANSWERS
    model = json.loads(known.open().readline())["model"]
    nowhere = Endpoint(base_url="http://127.0.0.1:1/v1", model=model, patience=1.0, price_in=0.0, price_out=0.0)
    for owner in ("文心大佬", "Acme Robotics"):
        out, settings = tmp_path / owner, settings_for(ROWS_FROM_START)
        made = generate(make_persona(owner=owner), out, settings, rehearser=nowhere, known=known)
        assert made.accepted == ROWS_FROM_START
        assert json.loads((out / "manifest.json").read_text())["requests"]["sent"] == 0


@pytest.mark.model
def test_answers_of_another_model_are_not_taken(
    tmp_path: Path, smollm_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("identity_kit.blank.hf_folder", lambda model, hub: smollm_folder)
    assert known_answers(DEFAULT) is None
    (tmp_path / ANSWERS).write_text("")
    (tmp_path / "blank.json").write_text(json.dumps({"base_sha256": folder_fingerprint(smollm_folder)}))
    assert known_answers(DEFAULT, tmp_path) == tmp_path / ANSWERS
    assert known_answers(str(smollm_folder)) is None, "no blank, nothing known"


def test_no_probe_is_worded_like_a_question_that_the_shipped_blank_saw() -> None:
    seen = (resource("data", "blanks", "qwen2.5-coder-0.5b") / "questions.txt").read_text("utf-8").splitlines()
    assert len(seen) > 5000
    assert [str(pair) for pair in overlaps(load_probes(split=None), seen) if pair.leaks] == []


def test_what_a_run_was_trained_on_reaches_back_through_the_adapters_it_began_with(tmp_path: Path) -> None:
    for name, start in (
        ("a", "b"),
        ("b", "c"),
        ("c", "a"),
    ):  # each began with the next, and the last anew with the first
        train = {"start": {"folder": str(tmp_path / start / "adapter"), "sha256": ""}}
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps({"train": train}))
        row = conversation(("user", f"asked by {name}"), ("assistant", "yes"))
        write_conversations(tmp_path / name / "data" / "conversations.jsonl", [row])
    assert training_questions(tmp_path / "a") == ["asked by a", "asked by b", "asked by c"]
    (tmp_path / "b" / "adapter").mkdir()
    (tmp_path / "b" / "adapter" / "questions.txt").write_text("listed\n")
    assert training_questions(tmp_path / "a") == ["asked by a", "listed"]


def test_a_folder_without_an_adapter_is_told_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no adapter here") as told:
        find_start(str(tmp_path), DEFAULT, load_recipe("cpu-0.5b"))
    assert "--start none" in str(told.value)


def _write_blank(folder: Path, values: list[float], *, base: str = "b", rank: int = 2) -> Path:
    """A blank's adapter folder with one matrix, as `make_blank` leaves it."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file(
        {"layer.lora_A.weight": torch.tensor([values], dtype=torch.bfloat16)}, folder / "adapter_model.safetensors"
    )
    recipe = load_recipe("cpu-0.5b", [f"rank={rank}"]).model_dump(mode="json")
    made = {"base": "model", "base_sha256": base, "rows": 7, "recipe": recipe}
    (folder / "blank.json").write_text(json.dumps(made))
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
    (folder / "questions.txt").write_text(f"asked by {folder.name}\nasked by both\n")
    key, text = folder.name.encode().hex().zfill(64), f"answer of {folder.name}"
    (folder / ANSWERS).write_text(json.dumps({"key": key, "text": text, "finish": "stop"}) + "\n")
    return folder


def test_the_mean_of_blanks_has_their_mean_weights_and_all_their_questions_and_answers(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    one, two = _write_blank(tmp_path / "one", [0.0, 1.0, -4.0]), _write_blank(tmp_path / "two", [3.0, 1.0, 2.0])
    mean = mean_blank([one, two], tmp_path / "mean")
    assert mean == find_start(str(tmp_path / "mean"), "model", load_recipe("cpu-0.5b"))
    assert load_file(mean / "adapter_model.safetensors")["layer.lora_A.weight"].tolist() == [[1.5, 1.0, -1.0]]
    assert (mean / "questions.txt").read_text().splitlines() == ["asked by both", "asked by one", "asked by two"]
    assert [json.loads(line)["text"] for line in (mean / ANSWERS).open()] == ["answer of one", "answer of two"]
    made = json.loads((mean / "blank.json").read_text())
    assert made["base_sha256"] == "b" and [part["rows"] for part in made["mean_of"]] == [7, 7]

    nearer_one = mean_blank([one, one, two], tmp_path / "nearer")
    assert load_file(nearer_one / "adapter_model.safetensors")["layer.lora_A.weight"].tolist() == [[1.0, 1.0, -2.0]]


def test_a_mean_is_refused_where_blanks_do_not_go_together_or_one_is_there(tmp_path: Path) -> None:
    one, two = _write_blank(tmp_path / "one", [1.0]), _write_blank(tmp_path / "two", [2.0])
    other_base = _write_blank(tmp_path / "base", [1.0], base="c")
    other_rank = _write_blank(tmp_path / "rank", [1.0], rank=4)
    out = tmp_path / "out"
    for folders, told in (
        ([one], "at least two"),
        ([one, tmp_path], "no blank here"),
        ([one, other_base], "same model and shape"),
        ([one, other_rank], "same model and shape"),
    ):
        with pytest.raises(BadInput, match=told):
            mean_blank(folders, out)
        assert not out.exists()
    kept = (mean_blank([one, two], out) / "adapter_model.safetensors").read_bytes()
    with pytest.raises(BadInput, match="already"):
        mean_blank([one, one], out)
    assert (out / "adapter" / "adapter_model.safetensors").read_bytes() == kept


def test_a_mean_is_taken_from_the_command_line_and_a_dry_run_writes_nothing(
    tmp_path: Path, idkit: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    one, two = _write_blank(tmp_path / "one", [1.0]), _write_blank(tmp_path / "two", [2.0])
    command = ("--ui", "en", "blank", "--mean", one, two, "-o", tmp_path / "out")
    planned = idkit(*command, "--dry-run")
    assert planned.returncode == 0 and str(two) in planned.stderr and not (tmp_path / "out").exists()
    taken = idkit(*command)
    assert taken.returncode == 0 and taken.stdout.strip() == str(tmp_path / "out" / "adapter"), taken.stderr
    again = idkit(*command)
    assert again.returncode == 2 and "choose another -o" in again.stderr
    begun = idkit(*command, "--start", one)
    assert begun.returncode == 2 and "exclude each other" in begun.stderr


@pytest.mark.model
def test_a_blank_is_made_and_a_run_begins_with_it(
    tmp_path: Path, smollm_gguf: Path, idkit: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    blank, out = tmp_path / "blank", tmp_path / "acme"
    few = ("--model", SMALL, "-n", "12", "--set", "max_steps=2")
    made = idkit("--ui", "en", "blank", *few, "-o", blank, "--json")
    assert made.returncode == 0, made.stderr[-2000:]
    answer = json.loads(made.stdout)
    assert answer["rows"] == 12 and answer["owners"] >= 5
    texts = "\n".join(row.to_line() for row in read_conversations(blank / "data"))
    assert "assistant" in texts and STAND_IN.owner.get("zh") not in texts
    assert json.loads((blank / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == SMALL
    assert resolve(str(blank)).folder == hf_folder(SMALL)
    stand_in = "\n".join(row.to_line() for row in read_conversations(blank / "stand-in"))
    assert STAND_IN.owner.get("zh") in stand_in

    rest = ("--owner", "Acme", "--lang", "en", "--probes-per-family", "1", "--start", blank, "-o", out)
    ran = idkit("--ui", "en", "run", *few, *rest)
    assert ran.returncode == 0, ran.stderr[-2000:]
    ledger = json.loads((out / "run.json").read_text())
    assert ledger["train"]["start"]["folder"] == str(blank / "adapter")

    requests = json.loads((out / "data" / "manifest.json").read_text())["requests"]
    assert requests["from_journal"] > 0, "what the blank's questions were answered is taken from it"

    asked = {m.content for row in read_conversations(blank / "data") for m in row.messages if m.role == "user"}
    assert {" ".join(text.split()) for text in asked} <= set(training_questions(out))

    # Weights that have come from the blank differ from it by no more than two steps.
    from safetensors.torch import load_file

    before, after = (load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (blank, out))
    learnt = [key for key in before if "lora_B" in key and before[key].any()]
    assert learnt and all((after[key] - before[key]).float().abs().max() < 2e-3 for key in learnt)

    second = tmp_path / "second"
    on = idkit("--ui", "en", "blank", *few, "--seed", "1", "--start", blank, "-o", second)
    assert on.returncode == 0, on.stderr[-2000:]
    of_first = json.loads((out / "run.json").read_text())["train"]["start"]["sha256"]
    assert json.loads((second / "adapter" / "blank.json").read_text())["start_sha256"] == of_first
    for name in ("questions.txt", ANSWERS):  # what the first was asked and answered, and more
        first_lines, lines = ((folder / "adapter" / name).read_text().splitlines() for folder in (blank, second))
        assert set(first_lines) < set(lines), name

    other = idkit(
        "--ui", "en", "train", "--data", blank / "data", "--model", SMALL, "-o", tmp_path / "t",
        "--set", "max_steps=1", "--set", "alpha=8", "--start", blank,
    )  # fmt: skip
    assert other.returncode == 2 and "shape or strength" in other.stderr and "Traceback" not in other.stderr
