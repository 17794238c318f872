"""A talk with one or two models: what was said, the commands that change it, and keeping it in a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from identity_kit.chat.engine import Messages
from identity_kit.conversation import Conversation, Message, Meta
from identity_kit.errors import BadInput
from identity_kit.files import write_text
from identity_kit.ui import tr

COMMANDS = ("system", "reset", "retry", "save", "help", "exit")
_OTHER_NAMES = {"quit": "exit", "q": "exit", "bye": "exit", "clear": "reset", "new": "reset", "?": "help", "h": "help"}


@dataclass
class Talk:
    """The turns of a talk. With two models each has its own answers, so the history is kept per model.

    Attributes:
        labels: the models' names.
        system: the system message, None for none.
        questions: what the user said, in order.
        answers: one list of answers per model, each as long as `questions` except while an answer comes.
    """

    labels: tuple[str, ...]
    system: str | None = None
    questions: list[str] = field(default_factory=list)
    answers: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answers = self.answers or [[] for _ in self.labels]

    def messages(self, model: int) -> Messages:
        """What model number `model` reads: system message, its own history, and the question it has not answered."""
        result: Messages = [{"role": "system", "content": self.system}] if self.system else []
        for position, question in enumerate(self.questions):
            result.append({"role": "user", "content": question})
            if position < len(self.answers[model]):
                result.append({"role": "assistant", "content": self.answers[model][position]})
        return result

    def reset(self) -> None:
        """Forget the turns; the system message stays."""
        self.questions.clear()
        self.answers = [[] for _ in self.labels]

    def take_back(self) -> str | None:
        """Forget the last turn and return its question, None when there is none."""
        if not self.questions:
            return None
        question = self.questions.pop()
        for answers in self.answers:
            del answers[len(self.questions) :]
        return question

    def drop_unanswered(self) -> None:
        """Forget a last question that a model has not answered, so that history alternates."""
        if any(len(answers) < len(self.questions) for answers in self.answers):
            self.take_back()

    def save(self, path: Path) -> None:
        """Write the talk: `.md` for reading, anything else as one record a model (JSONL), which idkit reads as data.

        Raises:
            BadInput: nothing was said yet.
        """
        if not self.questions:
            raise BadInput(tr("还没有对话可保存", "nothing was said yet"))
        if path.suffix.lower() == ".md":
            write_text(path, self._markdown())
            return
        lines = []
        for number, label in enumerate(self.labels):
            turns = tuple(Message.model_validate(turn) for turn in self.messages(number))
            lines.append(Conversation(messages=turns, meta=Meta(source="chat", model=label)).to_line())
        write_text(path, "\n".join(lines) + "\n")

    def _markdown(self) -> str:
        parts = [f"> {self.system}"] if self.system else []
        for position, question in enumerate(self.questions):
            parts.append(f"**{tr('我', 'me')}**\n\n{question}")
            parts += [
                f"**{label}**\n\n{self.answers[number][position]}"
                for number, label in enumerate(self.labels)
                if position < len(self.answers[number])
            ]
        return "\n\n".join(parts) + "\n"


def parse_command(line: str) -> tuple[str, str] | None:
    """(command, argument) of a line like `/save talk.md`; None when the line is something to say.

    Raises:
        BadInput: an unknown command; a path such as /etc/hosts is something to say.
    """
    if not line.startswith("/"):
        return None
    word, _, argument = line[1:].partition(" ")
    name = _OTHER_NAMES.get(word.lower(), word.lower())
    if name in COMMANDS:
        return name, argument.strip()
    if "/" in word or not word.isascii() or not word.isalpha():
        return None
    raise BadInput(
        tr(f"没有命令 /{word}", f"no command /{word}"),
        fix=tr("可用：", "known: ") + " ".join("/" + name for name in COMMANDS),
    )


def help_text() -> str:
    """What can be typed, one command a line."""
    return tr(
        "/system 文字   设定系统提示（/system - 去掉）\n"
        "/reset         忘掉前面的对话\n"
        "/retry         重新回答上一句\n"
        "/save 文件     保存对话：.md 便于阅读，.jsonl 可作数据\n"
        "/help          这些说明\n"
        "/exit          结束（或 Ctrl-D）\n"
        '多行输入：行末加 \\ 续行，或用 """ 开始与结束；粘贴多行也可以。\n'
        "Ctrl-C 停止正在说的回答。",
        "/system TEXT   set the system message (/system - takes it away)\n"
        "/reset         forget what was said\n"
        "/retry         answer the last question again\n"
        "/save FILE     keep the talk: .md to read, .jsonl as data\n"
        "/help          this text\n"
        "/exit          end (or Ctrl-D)\n"
        'Several lines: end a line with \\, or put """ before and after; pasting works too.\n'
        "Ctrl-C stops the answer that is coming.",
    )
