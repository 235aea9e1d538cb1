"""Results on a policy's card, as the Hugging Face Hub reads them and as people do.

The card's entry "results" holds, by the name of a task, `task` (a task type of the Hub), `dataset`, `config`, and
`metrics`, numbers by their name. Cards may come from strangers: what has another form is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from rltemp.markdown import escape_markdown

__all__ = ["model_index", "results_of", "results_table"]

_NAMES = {
    "accuracy": "mean accuracy of students, share of test images",
    "regret": "mean accuracy lost to the better reference tuned on the task",
}


def results_of(card: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The card's results by task that are complete: texts, and finite numbers."""
    results = card.get("results")
    if not isinstance(results, Mapping):
        return {}
    return {name: dict(result) for name, result in results.items() if _is_complete(result)}


def model_index(card: Mapping[str, Any]) -> str:
    """The results as `model-index` of a card's YAML, in the Hub's format; nothing without results.

    Every text stands as JSON, which YAML contains, so that no library is needed to write it.
    """
    results = results_of(card)
    if not results:
        return ""
    recipe = card.get("recipe")
    trained = f" trained on {recipe}" if isinstance(recipe, str) else ""
    lines = ["model-index:", f"- name: {_text(f'temperature policy{trained}')}", "  results:"]
    for name, result in results.items():
        lines += [
            "  - task:",
            f"      type: {_text(result['task'])}",
            "    dataset:",
            f"      name: {_text(name)}",
            f"      type: {_text(result['dataset'])}",
            f"      config: {_text(result['config'])}",
            "      split: test",
            "    metrics:",
        ]
        for metric, value in result["metrics"].items():
            lines += [
                f"    - type: {_text(metric)}",
                f"      name: {_text(_NAMES.get(metric, metric))}",
                f"      value: {_number(value)}",
            ]
    return "\n".join(lines)


def results_table(card: Mapping[str, Any]) -> str:
    """The results as a Markdown table, a row per task; nothing without results."""
    results = results_of(card)
    if not results:
        return ""
    metrics = list(dict.fromkeys(metric for result in results.values() for metric in result["metrics"]))
    rows = [f"| | {' | '.join(map(escape_markdown, metrics))} |", f"| :-- |{' --: |' * len(metrics)}"]
    for name, result in results.items():
        values = [f"{result['metrics'][metric]:.4f}" if metric in result["metrics"] else "" for metric in metrics]
        rows.append(f"| {escape_markdown(name)} | {' | '.join(values)} |")
    said = [f"{escape_markdown(metric)}: {_NAMES[metric]}" for metric in metrics if metric in _NAMES]
    return "\n".join([*rows, *(["", "; ".join(said) + "."] if said else [])])


def _is_complete(result: object) -> bool:
    if not isinstance(result, Mapping) or not isinstance(metrics := result.get("metrics"), Mapping) or not metrics:
        return False
    texts = (result.get(key) for key in ("task", "dataset", "config"))
    return all(isinstance(text, str) for text in texts) and all(_is_number(value) for value in metrics.values())


def _is_number(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _number(value: float) -> str:
    """A YAML number: YAML 1.1 reads 1e-05, without a point, as text."""
    digits, e, exponent = repr(value).partition("e")
    return digits + ("" if "." in digits else ".0") + e + exponent


def _text(text: str) -> str:
    """A quoted YAML scalar without characters that YAML refuses."""
    return json.dumps("".join(character for character in text if character.isprintable()), ensure_ascii=False)
