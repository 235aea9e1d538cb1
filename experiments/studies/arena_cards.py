"""Write on the cards of the package's policies what the arena says of them.

    uv run python -m rltemp.experiments.studies.arena_cards --arena docs/arena/short.csv

or, after `rltemp arena`, without --arena.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rltemp import load_policy, save_policy
from rltemp.pretrained import list_pretrained

Row = Mapping[str, str]

# Task types of the Hugging Face Hub, which has none for signals.
KINDS = {"news": "text-classification", "spoken-digits": "audio-classification", "mnist1d": "other"}
FIRST_FIGURES = {"scores": "below, are those of docs/results.md, in which references had less to go by than the policy"}


def main() -> None:
    """Change the cards; weights stay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--arena", default="runs/arena/arena.csv", help="what the arena found (default: %(default)s)")
    with open(parser.parse_args().arena, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in list_pretrained():
        mine = [row for row in rows if row["kind"] == "trained" and row["method"].split(" (")[0] == name]
        if mine:
            policy = load_policy(name)
            said = {f"{budget} times the task's updates": judged(mine, budget) for budget in budgets(mine)} | (
                FIRST_FIGURES if "scores" in policy.card else {}
            )
            policy.card |= {"arena": said, "results": results(mine)}
            save_policy(policy, Path("rltemp/pretrained") / name.removeprefix("rltemp/"), overwrite=True)
            print(name, said)


def budgets(rows: Sequence[Row]) -> list[str]:
    """From short to long."""
    return sorted({row["budget"] for row in rows}, key=int)


def judged(rows: Sequence[Row], budget: str) -> str:
    """What the policy loses to the references tuned on each task, and the rulings, in words."""
    here = [row for row in rows if row["budget"] == budget]
    regrets = {f"{row['task']}, {row['condition']}": float(row["regret"]) for row in here if is_whole(row)}
    rulings = Counter(row["ruling"] for row in here)
    worst = max(regrets, key=lambda place: regrets[place])
    counted = ", ".join(f"{ruling} in {count}" for ruling, count in rulings.most_common())
    return (
        f"{100 * sum(regrets.values()) / len(regrets):.2f} points below the tuned reference in the mean of "
        f"{len(regrets)} cells, {100 * regrets[worst]:.2f} at worst ({worst}); rulings: {counted}"
    )


def results(rows: Sequence[Row]) -> dict[str, Any]:
    """What students reach under the policy in every cell in which none diverged, for `model-index`."""
    return {
        f"{row['task']}, {row['condition']}, {row['updates']} updates": {
            "task": KINDS.get(row["task"], "image-classification"),
            "dataset": f"arena-{row['task']}",
            "config": row["condition"],
            "metrics": {metric: round(float(row[metric]), 6) for metric in ("accuracy", "regret")},
        }
        for row in rows
        if is_whole(row)
    }


def is_whole(row: Row) -> bool:
    """Whether no student diverged."""
    return row["ruling"] != "diverged" and math.isfinite(float(row["nll"]))


if __name__ == "__main__":
    main()
