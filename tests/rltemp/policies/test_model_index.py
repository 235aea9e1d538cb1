"""A card's YAML holds the results of its policy.json, as the Hub's own library reads them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rltemp import LearnedPolicy, LogitFeatures
from rltemp.policies.card import render_card
from rltemp.pretrained import list_pretrained, pretrained_folder

RESULT = {"task": "image-classification", "dataset": "mine", "config": "clean", "metrics": {"accuracy": 0.5}}


def metadata(card: str) -> Any:
    _, front, _ = card.split("---\n", 2)
    return yaml.safe_load(front)


def written(card: dict[str, Any]) -> str:
    return render_card(LearnedPolicy(LogitFeatures(), (4,), card=card))


@pytest.mark.parametrize("name", list_pretrained())
def test_cards_of_the_package_say_what_policy_json_says(name: str) -> None:
    folder = pretrained_folder(name)
    text = Path(str(folder / "README.md")).read_text(encoding="utf-8")
    card = json.loads(Path(str(folder / "policy.json")).read_text(encoding="utf-8"))["card"]
    (index,) = metadata(text)["model-index"]
    assert card["recipe"] in index["name"]
    assert {result["dataset"]["name"] for result in index["results"]} == card["results"].keys()
    assert len(index["results"]) >= 18
    for result in index["results"]:
        expected = card["results"][result["dataset"]["name"]]
        assert result["task"] == {"type": expected["task"]}
        assert (result["dataset"]["type"], result["dataset"]["config"]) == (expected["dataset"], expected["config"])
        assert {metric["type"]: metric["value"] for metric in result["metrics"]} == expected["metrics"]
        accuracy, regret = (expected["metrics"][metric] for metric in ("accuracy", "regret"))
        assert f"| {result['dataset']['name']} | {accuracy:.4f} | {regret:.4f} |" in text


@pytest.mark.parametrize("name", list_pretrained())
def test_the_hubs_library_reads_them(name: str) -> None:
    hub = pytest.importorskip("huggingface_hub")
    text = Path(str(pretrained_folder(name) / "README.md")).read_text(encoding="utf-8")
    data = hub.ModelCard(text).data
    worst = max(float(result.metric_value) for result in data.eval_results if result.metric_type == "regret")
    card = json.loads(Path(str(pretrained_folder(name) / "policy.json")).read_text(encoding="utf-8"))["card"]
    assert any(f"{100 * worst:.2f} at worst" in told for told in card["arena"].values())
    assert {result.dataset_split for result in data.eval_results} == {"test"}


def test_a_card_without_results_has_no_index() -> None:
    assert set(metadata(written({"recipe": "digits"}))) == {"library_name", "tags"}


@pytest.mark.parametrize("value", [1e-5, 1e16, -2.5e-300, 0.1 + 0.2, 3.0])
def test_every_number_is_read_back_as_it_is(value: float) -> None:
    (index,) = metadata(written({"results": {"mine": {**RESULT, "metrics": {"loss": value}}}}))["model-index"]
    assert index["results"][0]["metrics"] == [{"type": "loss", "name": "loss", "value": value}]


@pytest.mark.parametrize(
    "results",
    [
        3,
        ["a"],
        {"mine": 3},
        {"mine": {**RESULT, "task": 3}},
        {"mine": {**RESULT, "metrics": {}}},
        {"mine": {**RESULT, "metrics": {"accuracy": "high"}}},
        {"mine": {**RESULT, "metrics": {"accuracy": True}}},
        {"mine": {**RESULT, "metrics": {"accuracy": 10**400}}},
    ],
)
def test_results_of_another_form_are_text_and_no_index(results: object) -> None:
    text = written({"results": results})
    assert "model-index" not in metadata(text)
    assert "## Results" in text


@given(st.text(max_size=40))
def test_texts_of_strangers_change_nothing_else(text: str) -> None:
    result = {"task": text, "dataset": text, "config": text, "metrics": {text: 0.5}}
    read = metadata(written({"recipe": text, "results": {text: result}}))
    assert set(read) == {"library_name", "tags", "model-index"}
    (index,) = read["model-index"]
    shown = "".join(character for character in text if character.isprintable())
    assert index["results"][0]["task"] == {"type": shown}
    assert index["results"][0]["metrics"] == [{"type": shown, "name": shown, "value": 0.5}]
