"""Options that several commands share, and what they mean."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from identity_kit.errors import BadInput
from identity_kit.ui import tr

if TYPE_CHECKING:
    from identity_kit.persona import Persona


def add_persona_arguments(parser: argparse.ArgumentParser) -> None:
    """`--owner`, `--name`, `--persona`: who the assistant is."""
    group = parser.add_argument_group(tr("身份", "identity"))
    group.add_argument("--owner", metavar="NAME", help=tr("助手属于谁，例如 文心大佬", "whose assistant it is"))
    group.add_argument(
        "--name",
        metavar="NAME",
        help=tr("助手的名字（默认：{owner}的智能助手）", "what it is called ({owner}'s assistant)"),
    )
    group.add_argument("--persona", metavar="FILE", type=Path, help=tr("persona.yaml 文件", "a persona.yaml file"))


def add_hub_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """`--hub`: where model names of the form OWNER/NAME come from."""
    parser.add_argument(
        "--hub",
        choices=("hf", "modelscope"),
        default="hf",
        help=tr("从哪个 hub 取 名称/名称 的模型（默认 hf）", "where OWNER/NAME models come from (hf)"),
    )


def add_mix_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """`--mix`: the share of rows that are not about the assistant."""
    parser.add_argument(
        "--mix",
        metavar="1:N",
        default=None,
        help=tr("每行身份数据配几行其他数据（默认约 1:0.7）", "other rows to each identity row (about 1:0.7)"),
    )


def read_mix(text: str | None) -> float | None:
    """Other rows to each identity row, from `1:N` or `N`; None where it was not given.

    Raises:
        BadInput: it is neither.
    """
    if not text:
        return None
    left, _, right = text.partition(":")
    try:
        value = float(right) / float(left) if right else float(left)
    except (ValueError, ZeroDivisionError):
        value = -1.0
    if not 0 <= value < math.inf:
        raise BadInput(tr(f"应为 1:N，得到 {text}", f"expected 1:N, got {text}"), where="--mix")
    return value


def add_start_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup, *, default: str) -> None:
    """`--start`: which adapter training begins with; `blank.find_start` says where it is."""
    parser.add_argument(
        "--start",
        metavar="DIR",
        default=default,
        help=tr(
            f"从哪个适配器开始：idkit blank 或 idkit run 的目录、auto（随包的空白适配器，如有）或 none（默认 {default}）",
            "the adapter to begin with: a folder of idkit blank or idkit run, auto (the shipped blank, where there is one) "
            f"or none ({default})",
        ),
    )


def add_probes_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """`--probes-per-family`: for a quick look."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < 1:
            raise argparse.ArgumentTypeError(tr(f"要至少 1，得到 {text}", f"expected 1 or more, got {text}"))
        return int(text)

    parser.add_argument(
        "--probes-per-family",
        type=number,
        metavar="N",
        help=tr("每类最多问 N 个探针（默认全部）", "ask at most N probes of each family (all)"),
    )


def persona_from(args: argparse.Namespace) -> Persona:
    """The persona that the options describe; `--owner` and `--name` override the file's.

    Raises:
        BadInput: neither `--owner` nor `--persona` was given, or the file is wrong.
    """
    from identity_kit.persona import load_persona, make_persona

    if args.persona is None:
        if not args.owner:
            raise BadInput(
                tr("还不知道助手属于谁", "nobody to belong to"),
                fix=tr("加上 --owner 名称，或 --persona persona.yaml", "give --owner NAME or --persona persona.yaml"),
            )
        return make_persona(where="--owner", owner=args.owner, name=args.name)
    persona = load_persona(args.persona)
    if not args.owner and not args.name:
        return persona
    fields = persona.model_dump(exclude_unset=True)
    if args.owner:
        # Names that were derived from the file's owner go with it; names that were written there stay.
        derived = make_persona(owner=persona.owner.model_dump(exclude_none=True))
        for key in ("name", "developer"):
            if getattr(persona, key) == getattr(derived, key):
                fields.pop(key, None)
        fields["owner"] = args.owner
    if args.name:
        fields["name"] = args.name
    return make_persona(where=str(args.persona), **fields)
