"""An Ollama Modelfile that says what the chat template says: TEMPLATE in Go's syntax, SYSTEM, stop words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from identity_kit.errors import BadInput
from identity_kit.files import write_text
from identity_kit.ui import tr

_SYSTEM, _USER, _ANSWER, _AGAIN, _LAST = (
    "\ue000S\ue001",
    "\ue000U\ue001",
    "\ue000A\ue001",
    "\ue000V\ue001",
    "\ue000B\ue001",
)


@dataclass(frozen=True)
class Turns:
    """The texts that a chat template puts around messages, found by rendering it.

    `start` opens every conversation; each role has what comes before and after its message; `ask` makes the model
    speak; `end` closes the assistant's message.
    """

    start: str
    system: tuple[str, str] | None
    user: tuple[str, str]
    assistant: tuple[str, str]

    @property
    def stops(self) -> tuple[str, ...]:
        """The words at which an answer ends, and those that would open the next turn."""
        words = [self.assistant[1].strip(), self.user[0].strip().split("\n")[0]]
        return tuple(dict.fromkeys(word for word in words if word))


def read_turns(template: str, **variables: Any) -> Turns:
    """What `template` writes around system, user and assistant messages.

    Raises:
        BadInput: the turns differ by position, so that no fixed texts stand for them.
    """
    from identity_kit.models.template import render

    talk = [
        {"role": "user", "content": _USER},
        {"role": "assistant", "content": _ANSWER},
        {"role": "user", "content": _AGAIN},
        {"role": "assistant", "content": _LAST},
    ]
    whole = render(template, talk, **variables)
    head, rest = whole.split(_USER)
    between, rest = rest.split(_ANSWER)
    turn, rest = rest.split(_AGAIN)
    between_again, _ = rest.split(_LAST)
    asked = render(template, talk[:1], add_generation_prompt=True, **variables).split(_USER)[1]
    if between != between_again or not between.startswith(asked[: len(asked) // 2]) or not asked:
        raise _unlike()
    # The user's message ends, and the assistant's begins, where the request for an answer has its header.
    bare = render(template, talk[:1], **variables).split(_USER)[1]
    opening = asked.removeprefix(bare)
    if not between.endswith(opening) or between != bare + opening:
        raise _unlike()
    close, user = _split_turn(turn, head)
    with_system = _system_turn(template, talk, head, user, variables)
    start = head.removesuffix(user)
    return Turns(start=start, system=with_system, user=(user, bare), assistant=(opening, close))


def _split_turn(turn: str, head: str) -> tuple[str, str]:
    """(end of an answer, opening of a user turn) of the text between an answer and the next question."""
    for cut in range(len(turn) + 1):
        if head.endswith(turn[cut:]) and turn[cut:]:
            return turn[:cut], turn[cut:]
    raise _unlike()


def _system_turn(
    template: str, talk: list[dict[str, str]], head: str, user: str, variables: dict[str, Any]
) -> tuple[str, str] | None:
    import jinja2

    from identity_kit.models.template import render

    try:
        text = render(template, [{"role": "system", "content": _SYSTEM}, *talk[:1]], **variables)
    except jinja2.TemplateError:
        return None
    if _SYSTEM not in text:
        return None
    before, after = text.split(_USER)[0].split(_SYSTEM)
    start = head.removesuffix(user)
    if not before.startswith(start) or not after.endswith(user):
        raise _unlike()
    return before.removeprefix(start), after.removesuffix(user)


def _unlike() -> BadInput:
    return BadInput(
        tr("这个聊天模板不能写成 Ollama 的 TEMPLATE", "this chat template cannot be written as an Ollama TEMPLATE"),
        where="chat_template.jinja",
        fix=tr(
            "导出 --format gguf，llama.cpp 自己读模板", "export with --format gguf; llama.cpp reads the template itself"
        ),
    )


def go_template(turns: Turns) -> str:
    """The Go template that writes the same conversation, for Ollama's `.Messages`."""
    user = f'{{{{ if eq .Role "user" }}}}{_go(turns.user[0])}{{{{ .Content }}}}{_go(turns.user[1])}'
    assistant = (
        f'{{{{ else if eq .Role "assistant" }}}}{_go(turns.assistant[0])}{{{{ .Content }}}}'
        f"{{{{ if not $last }}}}{_go(turns.assistant[1])}{{{{ end }}}}{{{{ end }}}}"
    )
    system = ""
    if turns.system is not None:
        system = f"{{{{ if .System }}}}{_go(turns.system[0])}{{{{ .System }}}}{_go(turns.system[1])}{{{{ end }}}}"
    ask = f'{{{{ if and $last (ne .Role "assistant") }}}}{_go(turns.assistant[0])}{{{{ end }}}}'
    loop = "{{ range $i, $_ := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}"
    return f"{_go(turns.start)}{system}{loop}{user}{assistant}{ask}{{{{ end }}}}"


def _go(text: str) -> str:
    """Text in a Go template; braces would open an action."""
    return text.replace("{{", '{{ "{{" }}')


def write_modelfile(folder: Path, gguf: Path, template: str, *, system: str | None, **variables: Any) -> Path:
    """Write `folder`/Modelfile for the GGUF beside it; returns its path.

    Args:
        template: the exported chat template (with no default system of its own).
        system: the SYSTEM line; None: none, and Ollama adds nothing.
    """
    turns = read_turns(template, **variables)
    lines = [f"FROM ./{gguf.name}", f'TEMPLATE """{go_template(turns)}"""']
    if system:
        lines.append(f'SYSTEM """{system}"""')
    lines += [f'PARAMETER stop "{_quoted(stop)}"' for stop in turns.stops]
    path = folder / "Modelfile"
    write_text(path, "\n".join(lines) + "\n")
    return path


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
