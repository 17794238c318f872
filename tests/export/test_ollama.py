"""The Modelfile's template writes what the chat template writes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from identity_kit.errors import BadInput
from identity_kit.export.ollama import go_template, read_turns, write_modelfile
from identity_kit.models.template import render

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = (
    "{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
TALK = [
    {"role": "system", "content": "简短地答"},
    {"role": "user", "content": "你是谁？"},
    {"role": "assistant", "content": "小文"},
    {"role": "user", "content": 'a "b" {{c}}'},
]
# Ollama hands its templates .System and .Messages (template/template.go in its source).
PROGRAM = """package main
import ("encoding/json"; "os"; "text/template")
type Message struct { Role, Content string }
func main() {
    var input struct { Template, System string; Messages []*Message }
    json.NewDecoder(os.Stdin).Decode(&input)
    t := template.Must(template.New("").Parse(input.Template))
    if err := t.Execute(os.Stdout, map[string]any{"System": input.System, "Messages": input.Messages}); err != nil { panic(err) }
}
"""


def test_the_turns_are_read_off_the_template() -> None:
    turns = read_turns(CHATML)
    assert turns.user == ("<|im_start|>user\n", "<|im_end|>\n")
    assert turns.assistant == ("<|im_start|>assistant\n", "<|im_end|>\n")
    assert turns.system == ("<|im_start|>system\n", "<|im_end|>\n")
    assert "<|im_end|>" in turns.stops


def test_a_template_that_numbers_its_turns_is_refused() -> None:
    numbered = CHATML.replace("m.role + '\n'", "m.role + loop.index|string + '\n'")
    with pytest.raises(BadInput, match="cannot be written"):
        read_turns(numbered)


def test_modelfile(tmp_path: Path) -> None:
    path = write_modelfile(tmp_path, tmp_path / "model-Q4_K_M.gguf", CHATML, system="你是小文。")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("FROM ./model-Q4_K_M.gguf\n")
    assert 'SYSTEM """你是小文。"""' in text
    assert 'PARAMETER stop "<|im_end|>"' in text
    assert "SYSTEM" not in write_modelfile(tmp_path, tmp_path / "m.gguf", CHATML, system=None).read_text()


@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go, whose template engine Ollama uses")
@pytest.mark.parametrize("template", [CHATML, LLAMA])
@pytest.mark.parametrize("talk", [TALK, TALK[1:], TALK[1:2]])
def test_go_renders_what_jinja_renders(template: str, talk: list[dict[str, str]], tmp_path: Path) -> None:
    (tmp_path / "main.go").write_text(PROGRAM)
    system = talk[0]["content"] if talk[0]["role"] == "system" else ""
    given = {
        "Template": go_template(read_turns(template)),
        "System": system,
        "Messages": [{"Role": m["role"], "Content": m["content"]} for m in talk],
    }
    done = subprocess.run(
        ["go", "run", str(tmp_path / "main.go")], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    assert done.stdout == render(template, talk, add_generation_prompt=True)
