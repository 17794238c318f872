"""The model card of an exported model: who it is, how to run it, what was measured, where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from identity_kit.files import read_json, write_text

if TYPE_CHECKING:
    from identity_kit.persona import Persona


def write_card(
    folder: Path,
    persona: Persona,
    *,
    licence_from: Path,
    report: Path | None = None,
    check: dict[str, Any] | None = None,
    library: str = "transformers",
) -> None:
    """Write `folder`/README.md: metadata that hubs read, identity, use, figures of the report, origin.

    Args:
        licence_from: the folder whose licence file, if any, the card points to.
        report: the run's report.json; the table is left out when there is none.
        check: the merge's check as the manifest has it, for the origin section.
        library: "transformers", "peft", "gguf" or "ollama".
    """
    parts = [
        _front_matter(persona, licence_from, library),
        _about(persona),
        _use(folder, library),
        _figures(report),
        _origin(persona, licence_from, check),
    ]
    write_text(folder / "README.md", "\n".join(part for part in parts if part))


def _front_matter(persona: Persona, base: Path, library: str) -> str:
    lines = [
        "---",
        f"library_name: {'gguf' if library == 'ollama' else library}",
        "pipeline_tag: text-generation",
        "language:",
    ]
    lines += [f"- {language}" for language in persona.languages]
    names = persona.base_model.names
    if names:
        lines += ["base_model:", *(f"- {json.dumps(name, ensure_ascii=False)}" for name in names)]
    licence = next((base / n for n in ("LICENSE", "LICENSE.txt", "LICENSE.md") if (base / n).is_file()), None)
    if licence is not None:
        lines += ["license: other", "license_name: base-model-license", f"license_link: {licence.name}"]
    return "\n".join([*lines, "tags:", "- identity-kit", "- conversational", "---", ""])


def _about(persona: Persona) -> str:
    zh, en = persona.name.get("zh"), persona.name.get("en")
    title = " · ".join(dict.fromkeys((zh, en) if persona.languages[0] == "zh" else (en, zh)))
    lines = [f"# {title}", ""]
    if "zh" in persona.languages:
        lines += [f"{persona.owner.get('zh')}的{persona.role.get('zh')}。", ""]
    if "en" in persona.languages:
        lines += [f"A {persona.role.get('en')} of {persona.owner.get('en')}.", ""]
    return "\n".join(lines)


def _use(folder: Path, library: str) -> str:
    if library == "gguf":
        files = sorted(path.name for path in folder.glob("*.gguf"))
        return f"```bash\nidkit chat {files[0] if files else 'model.gguf'}\n```\n"
    if library == "ollama":
        return "```bash\nollama create my-assistant -f Modelfile\nollama run my-assistant\n```\n"
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
    """(suite, before, after) as "k/n (share)" texts, all languages together, from a report.json."""
    tables = {
        condition["label"]: {cell["suite"]: cell for cell in condition["cells"] if cell["language"] == "all"}
        for condition in report.get("conditions", ())
    }
    before, after = tables.get(report.get("baseline"), {}), tables.get(report.get("subject"), {})
    return [(suite, _share(before.get(suite)), _share(cell)) for suite, cell in after.items()]


def _share(cell: dict[str, Any] | None) -> str:
    if not cell or not cell["total"]:
        return "–"
    return f"{cell['passed']:g}/{cell['total']} ({100 * cell['passed'] / cell['total']:.0f} %)"


def _origin(persona: Persona, base: Path, check: dict[str, Any] | None) -> str:
    lines = ["## Origin", "", "Fine-tuned with identity-kit; the weights differ from those of the base model."]
    if persona.base_model.policy == "disclose" and persona.base_model.names:
        lines.append(f"Base model: {', '.join(persona.base_model.names)}.")
    if check and check.get("mean_kl") is not None:
        lines.append(
            f"Merged into the unquantised base; mean KL divergence from base + adapter {check['mean_kl']:.1e} nats, "
            f"most likely token the same at {100 * check['agreement']:.0f} % of the positions checked."
        )
    if (base / "LICENSE").is_file() or (base / "LICENSE.txt").is_file():
        lines.append("The base model's licence lies beside this file and applies.")
    return "\n".join([*lines, ""])


def named(persona: Persona) -> dict[str, Any]:
    """The persona's public part, for manifests: what it is called and whose it is."""
    return {key: getattr(persona, key).model_dump(exclude_none=True) for key in ("name", "owner")}
