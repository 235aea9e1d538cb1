"""Is it which instance gets what that a trained policy gains by, or how much of it all get?

uv run python -m rltemp.experiments.studies.instances --data FOLDER

In cells of the arena, in the recipe that was tuned there, on the students that it measures: the policy as it is; its
choices dealt to other instances of the batch; their mean for all of a batch. What the arena has finished in its folder
is found.
"""

from __future__ import annotations

import argparse

from rltemp.experiments.studies.cells import add_cells, compare, tuned_cells
from rltemp.experiments.studies.changed import Changed, averaged, dealt
from rltemp.policies.artifact import load_policy

CHANGES = {"dealt to other instances": dealt, "their mean for the whole batch": averaged}


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--policy", default="rltemp/general", help="a trained one (default: %(default)s)")
    add_cells(parser)
    options = parser.parse_args()
    policy = load_policy(options.policy)
    changed = {name: Changed(policy, change) for name, change in CHANGES.items()}
    compare({"as it is": policy, **changed}, policy.weights, tuned_cells(options))


if __name__ == "__main__":
    main()
