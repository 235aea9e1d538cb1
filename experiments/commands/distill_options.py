"""`rltemp distill`: its options."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from rltemp.experiments.commands.options import POLICY_HELP, Overrides, add_where, check, printed, read_setting

if TYPE_CHECKING:
    from rltemp.experiments.evaluation.agent_specs import AgentSpec
    from rltemp.experiments.evaluation.specs import PolicySpec

__all__ = ["add_distill_options", "run_distill_command"]


def add_distill_options(parser: argparse.ArgumentParser) -> None:
    """What chooses the temperatures, and of which student."""
    chooses = parser.add_mutually_exclusive_group(required=True)
    chooses.add_argument("--policy", metavar="POLICY", help=POLICY_HELP)
    chooses.add_argument(
        "--agent", metavar="AGENT", help="an agent that learns in this run: rlkd, rlkd-as-released, 'rlkd(every=0.5)'"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the student (default: %(default)s)")
    add_where(parser, "distill")


def run_distill_command(options: argparse.Namespace, overrides: Overrides) -> None:
    """Distill, and say where the student is and how good."""
    from rltemp.experiments.commands.distill_command import distill
    from rltemp.experiments.evaluation.specs import parse_policy
    from rltemp.experiments.launch import joined

    setting = read_setting(options, overrides)
    if options.agent is not None:
        # Imported for an agent alone: reusing a policy does not wait for an RL library.
        from rltemp.experiments.evaluation.agent_specs import parse_agent

        spec: PolicySpec | AgentSpec = parse_agent(options.agent)
    else:
        spec = parse_policy(options.policy)
    check("--seed", options.seed, 0)
    if not printed(options, setting.recipe):
        with joined(setting.recipe.execution.device) as ranks:
            result = distill(setting, spec, options.seed, options.runs, options.name, ranks=ranks)
            if ranks.is_first:
                accuracy, nll = 100 * float(result.test.accuracy), float(result.test.nll)
                print(f"student: {result.folder}\ntest accuracy {accuracy:.2f} %, NLL {nll:.3f}")
