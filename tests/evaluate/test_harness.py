"""lm-evaluation-harness, where it is installed, on a task of our own that needs no network."""

import importlib.util
import json
from pathlib import Path

import pytest

from identity_kit.errors import BadInput
from identity_kit.evaluate.harness import run_harness
from identity_kit.evaluate.models import folder_subject

INSTALLED = importlib.util.find_spec("lm_eval") is not None


@pytest.mark.skipif(INSTALLED, reason="lm-evaluation-harness is installed, so its absence cannot be seen")
def test_without_the_harness_the_message_says_how_to_get_it(tiny_folder: Path):
    with pytest.raises(BadInput, match="pip install"):
        run_harness(folder_subject("tiny", tiny_folder), ["arc_easy"])


@pytest.mark.skipif(not INSTALLED, reason="lm-evaluation-harness is not installed: pip install 'lm-eval[hf]'")
def test_a_task_file_is_run_and_its_score_reported(tiny_folder: Path, tmp_path: Path):
    rows = [{"q": "one and one", "choices": ["two", "nine"], "gold": i % 2} for i in range(6)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "sums.yaml").write_text(
        "task: own_sums\n"
        "dataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: {tmp_path / 'rows.jsonl'}}}}}\n"
        "test_split: test\n"
        "output_type: multiple_choice\n"
        'doc_to_text: "{{q}} is"\n'
        'doc_to_choice: "{{choices}}"\n'
        'doc_to_target: "{{gold}}"\n'
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n",
        encoding="utf-8",
    )
    scores = run_harness(folder_subject("tiny", tiny_folder), [str(tmp_path / "sums.yaml")])
    # The answer does not depend on the row, and the right one alternates.
    assert scores == {"own_sums": 0.5}
    with pytest.raises(BadInput, match="no task nothing_of_the_kind"):
        run_harness(folder_subject("tiny", tiny_folder), ["nothing_of_the_kind"])
