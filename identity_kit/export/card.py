"""The model card of an exported model: who it is, how to run it, what was measured, where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from identity_kit.files import read_json, write_text

if TYPE_CHECKING:
    from identity_kit.export.merge import MergeResult
    from identity_kit.persona import Persona


def write_card(
    folder: Path,
    persona: Persona,
    *,
    base: Path,
    source: str = "",
    report: Path | None = None,
    merged: MergeResult | None = None,
    library: str = "transformers",
) -> None:
    """Write `folder`/README.md: metadata that hubs read, identity, use, figures of the report, origin.

    Args:
        report: the run's report.json; the table is left out when there is none.
        merged: the merge's check, for the origin section.
        library: "transformers", "peft" or "gguf", as hubs name it.
    """
    parts = [
        _front_matter(persona, base, library),
        _about(persona),
        _use(folder, library),
        _figures(report),
        _origin(persona, base, source, merged),
    ]
    write_text(folder / "README.md", "\n".join(part for part in parts if part))


def _front_matter(persona: Persona, base: Path, library: str) -> str:
    lines = ["---", f"library_name: {library}", "pipeline_tag: text-generation", "language:"]
    lines += [f"- {language}" for language in persona.languages]
    names = persona.base_model.names
    if names:
        lines += ["base_model:", *(f"- {json.dumps(name, ensure_ascii=False)}" for name in names)]
    licence = next((base / n for n in ("LICENSE", "LICENSE.txt", "LICENSE.md") if (base / n).is_file()), None)
    if licence is not None:
        lines += ["license: other", "license_name: base-model-license", f"license_link: {licence.name}"]
    return "\n".join([*lines, "tags:", "- identity-kit", "- conversational", "---", ""])


def _about(persona: Persona) -> str:
    zh = persona.languages[0] == "zh"
    name, owner = (localized.get("zh" if zh else "en") for localized in (persona.name, persona.owner))
    if zh:
        return f"# {name}\n\n{owner}的{persona.role.get('zh')}。This is {persona.name.get('en')}.\n"
    return f"# {name}\n\nA {persona.role.get('en')} of {owner}.\n"


def _use(folder: Path, library: str) -> str:
    if library == "gguf":
        files = sorted(path.name for path in folder.glob("*.gguf"))
        return f"```bash\nidkit chat {files[0] if files else 'model.gguf'}\n```\n"
    if library == "peft":
        return (
            "```bash\nidkit export RUN --format hf -o merged   # merge it into its base, then: idkit chat merged\n```\n"
        )
    return (
        "```python\n"
        "from transformers import pipeline\n\n"
        'chat = pipeline("text-generation", "PATH_OR_ID")\n'
        'print(chat([{"role": "user", "content": "你是谁？"}])[0]["generated_text"][-1]["content"])\n'
        "```\n\n"
        "The chat template adds no identity of its own: the identity is in the weights, "
        "with a system message or without one.\n"
    )


def _figures(report: Path | None) -> str:
    """The report's table, taken from report.md beside report.json when it has one, else the JSON's suites."""
    if report is None or not report.is_file():
        return ""
    rows = suite_rows(read_json(report))
    if not rows:
        return ""
    lines = ["## Measured", "", "| | before | after |", "|---|---|---|"]
    lines += [f"| {suite} | {before} | {after} |" for suite, before, after in rows]
    return "\n".join([*lines, "", "Held-out questions answered right; k/n.", ""])


def suite_rows(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(suite, before, after) as "k/n" texts from a report.json; empty when it holds no such figures."""
    before, after = report.get("before") or {}, report.get("after") or {}
    suites_before, suites_after = before.get("suites", before), after.get("suites", after)
    rows = []
    for suite, figures in suites_after.items():
        if isinstance(figures, dict) and {"k", "n"} <= figures.keys():
            rows.append((suite, _share(suites_before.get(suite)), _share(figures)))
    return rows


def _share(figures: Any) -> str:
    if not isinstance(figures, dict) or not figures.get("n"):
        return "–"
    return f"{figures['k']}/{figures['n']} ({100 * figures['k'] / figures['n']:.0f} %)"


def _origin(persona: Persona, base: Path, source: str, merged: MergeResult | None) -> str:
    lines = ["## Origin", "", "Fine-tuned with identity-kit; the weights differ from those of the base model."]
    if persona.base_model.policy == "disclose" and persona.base_model.names:
        lines.append(f"Base model: {', '.join(persona.base_model.names)}.")
    if source:
        lines.append(f"Source: `{Path(source).name}`.")
    if merged is not None and merged.mean_kl is not None:
        lines.append(
            f"Merged in {merged.dtype} into the unquantised base: {merged.layers} modules changed, mean KL divergence "
            f"from base + adapter {merged.mean_kl:.1e} nats."
        )
    if (base / "LICENSE").is_file() or (base / "LICENSE.txt").is_file():
        lines.append("The base model's licence lies beside this file and applies.")
    return "\n".join([*lines, ""])
