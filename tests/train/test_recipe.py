"""Recipes: what is shipped loads, what is wrong is said all at once with the nearest right key."""

from __future__ import annotations

from pathlib import Path

import pytest

from identity_kit.errors import BadInput
from identity_kit.resources import resource
from identity_kit.train.recipe import load_recipe, make_recipe

SHIPPED = sorted(path.stem for path in resource("recipes").glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_loads_and_says_how_to_run_it(name: str) -> None:
    load_recipe(name)
    assert f"--recipe {name}" in (text := (resource("recipes") / f"{name}.yaml").read_text()) or name == "cpu-0.5b", (
        text
    )


def test_overrides_are_read_as_yaml() -> None:
    recipe = load_recipe("cpu-0.5b", ["rank=32", "learning_rate=1e-4", "target_modules=q_proj,v_proj", "dora=true"])
    assert (recipe.rank, recipe.learning_rate, recipe.target_modules, recipe.dora) == (32, 1e-4, "q_proj,v_proj", True)


def test_all_wrong_keys_and_values_are_reported_at_once() -> None:
    with pytest.raises(BadInput) as caught:
        load_recipe("cpu-0.5b", ["lr=1", "rank=0", "epohcs=2", "scheduler=cosin"])
    message = str(caught.value)
    for part in ("learning_rate", "rank is 0", "did you mean epochs?", "'cosin'", "--set"):
        assert part in message


def test_a_wrong_key_in_a_file_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("rank: 8\nlora_alpha: 16\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"mine\.yaml:2: unknown key lora_alpha, did you mean alpha\?"):
        load_recipe(str(path))


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("rank: 8\nalpha: [1\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"mine\.yaml:\d"):
        load_recipe(str(path))


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"did you mean cpu-0\.5b\?"):
        load_recipe("cpu-05b")


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(BadInput, match="dora"):
        make_recipe(method="full", dora=True)
    with pytest.raises(BadInput, match="anchors"):
        make_recipe(anchors=8, parallel="fsdp")
    with pytest.raises(BadInput, match="last_layers"):
        make_recipe(method="full", last_layers=4)
    with pytest.raises(BadInput, match="engine: fast"):
        make_recipe(engine="fast", dropout=0.1)
