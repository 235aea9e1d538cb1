"""The part of a recipe's schema that says what a policy observes, what it may choose, and how it is learned."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from rltemp.actions import HIGHEST, LOWEST, ActionMap
from rltemp.policies.learned import MOST_LAYERS, WIDEST
from rltemp.recipes.ranges import Length, Range

__all__ = ["Agent", "Credit", "Objective", "PolicySpace"]

Credit = Literal["uniform", "redistribution", "influence", "hindsight"]
"""How the reward of a batch is turned into credit for its instances; see `Agent.credit`."""

Objective = Literal["nll", "calibrated-nll", "soft-error", "error"]
"""What an agent is paid for lowering; see `Agent.objective`."""


@dataclass(frozen=True)
class PolicySpace:
    """What a policy observes, and what it may choose.

    Attributes:
        low: smallest temperature, in [1e-3, 1e6].
        high: largest temperature, in [1e-3, 1e6], > low.
        scale: factor on the loss of every instance: a constant, so that a temperature decides only the softness of an
            instance and not its weight, or null for T^2.
        scale_range: smallest and largest factor on an instance's loss, each in [1e-3, 1e6], where the policy chooses it
            as well as the temperature; empty for `scale`.
        label_range: likewise smallest and largest factor on an instance's cross-entropy with its label, beside
            optimization.ce_weight; empty for 1 throughout.
        alignment: which probe alignment the policy observes: "none" (logits alone), "classifier" (effects through the
            last layer, nearly free), or "network" (effects through all layers, by one forward-mode derivative).
        probe_size: clean training images of the probe, >= 1, drawn anew at each refresh.
        every: updates between two refreshes of the probe gradient, >= 1.
        features: what a policy in training observes, out of `LogitFeatures`; empty for all that the alignment allows.
    """

    low: Annotated[float, Range(LOWEST, HIGHEST)] = 0.5
    high: Annotated[float, Range(LOWEST, HIGHEST)] = 32.0
    scale: Annotated[float, Range(LOWEST, HIGHEST)] | None = None
    scale_range: Annotated[tuple[Annotated[float, Range(LOWEST, HIGHEST)], ...], Length(2)] = ()
    label_range: Annotated[tuple[Annotated[float, Range(LOWEST, HIGHEST)], ...], Length(2)] = ()
    alignment: Literal["none", "classifier", "network"] = "network"
    probe_size: Annotated[int, Range(1)] = 600
    every: Annotated[int, Range(1)] = 1
    features: tuple[str, ...] = ()

    @property
    def actions(self) -> ActionMap:
        """What an action means.

        Raises:
            InputError: for ranges that are none.
        """
        return ActionMap(self.low, self.high, self.scale, self.scale_range or None, self.label_range or None)


@dataclass(frozen=True)
class Agent:
    """How the policy is learned; what Stable-Baselines3's PPO has too goes by its name there.

    Attributes:
        learner: "ppo"; "evolution": each student of a rollout tries a policy of its own, and the policy moves towards
            those that were paid more, which needs many rollouts, no gradient and no credit; or "descent": the credit of
            "hindsight" goes back through the policy as a gradient, without exploration and without returns.
        objective: loss of the validation images that the agent is paid for lowering: "nll", the cross-entropy;
            "calibrated-nll", the cross-entropy at each student's best temperature; "soft-error", the probability of
            wrong classes at half that temperature; or "error", the share of wrong images, which has no gradient.
        keep: which rollout's policy is the result: "best", of the least validation loss by `objective`, or "last".
        students: students that train side by side in one rollout, >= 1.
        stack: students that are computed together, a divisor of `students`; null for all of them. It decides the last
            bits of sums, and so does not change with the number of workers that share the stacks out.
        rollouts: number of rollouts (whole KD runs of all students), >= 1, each followed by one PPO update.
        credit: how the batch reward is turned into credit for instances: "uniform", "redistribution", and "influence"
            give each instance a reward at every step; "hindsight" gives it an advantage by its effect on the end of the
            run.
        checkpoints: what "hindsight" keeps of a run: "none" keeps every update whole, "auto" the run's state about √n
            times in n updates, from which it makes the updates between anew: the same credit for the memory of √n
            updates and the time of one more run.
        window: share of the run, at its end and in (0, 1], whose updates "hindsight" credits; what comes before it is
            paid by returns alone.
        credit_every: "hindsight" credits the last update of the window and every so many before it, >= 1, whose
            curvature stands for that of the others: less time, and credit that is less exact the earlier it is.
        influence_weight: weight of the influence term, >= 0.
        return_weight: weight, >= 0, of the advantage estimated from rewards, beside the credit of "hindsight". All
            instances of a student share that advantage, so that with few students it is mostly noise.
        reward_scale: factor on the reward before PPO gets it, > 0.
        reward_every: number of updates that are rewarded together, at the last of them, >= 1, which reduces the cost of
            the reward's probe; the sum over a run stays the same. Must be 1 for "influence".
        learning_rate: Adam's learning rate, > 0; of "evolution", in standard deviations of the noise.
        gae_lambda: lambda of generalized advantage estimation, in [0, 1] (Schulman et al., 2016, equation 16).
        target_kl: trust region, > 0: an update stops once the policy's KL divergence exceeds 1.5 times this.
        n_epochs: passes over a rollout per update, >= 1.
        minibatches: gradient steps per pass, >= 1; SB3's `batch_size` is updates x students x instances / minibatches.
        hidden: widths of the hidden layers of policy and value function.
        log_std_init: initial log standard deviation of the exploration noise; of "evolution", that of a layer's weights
            times the square root of its inputs.
        baseline: what "ppo" compares a student's return with: what the "critic" expects, or, without one, the return of
            its "twin", the same student distilled otherwise (students 2j and 2j + 1), as "evolution" always does.
        anneal: whether the learning rate of "ppo" falls as that of the others always does: not in the first half of the
            rollouts, and to 0 in the second. How many there are must be known then.
        squash: whether an action of "ppo" is the tanh of what network and noise say, as that of "evolution" always is,
            instead of being clipped: it cannot leave its range, beyond which returns say nothing.
        whiten: whether "ppo" sees features as "evolution" always does: made white by those that it has met. Those of a
            minibatch vary together; noise and steps are then as large in every direction in which they vary.
        explore: share of the run, from its start and in [0, 1], in which a tenth of every minibatch is mixed (`MixUp`,
            RLKD's exploration). Students on which policies are scored are trained without.
        start: a trained policy to continue from, by its folder or name; null starts at one temperature for all
            instances.
        variations: tasks to train on besides the recipe's, in turn, one per rollout: changes of the recipe by dotted
            name, such as {data.split_seed: 2, teacher.seed: 2}. All have the same number of updates and batch size.
        seed: of everything random in the agent's training, >= 0.
    """

    learner: Literal["ppo", "evolution", "descent"] = "ppo"
    objective: Objective = "nll"
    keep: Literal["best", "last"] = "best"
    students: Annotated[int, Range(1)] = 16
    stack: Annotated[int, Range(1)] | None = None
    rollouts: Annotated[int, Range(1)] = 12
    credit: Credit = "hindsight"
    checkpoints: Literal["none", "auto"] = "none"
    window: Annotated[float, Range(above=0, most=1)] = 1.0
    credit_every: Annotated[int, Range(1)] = 1
    influence_weight: Annotated[float, Range(0)] = 2.0
    return_weight: Annotated[float, Range(0)] = 0.3
    reward_scale: Annotated[float, Range(above=0)] = 5.0
    reward_every: Annotated[int, Range(1)] = 1
    learning_rate: Annotated[float, Range(above=0)] = 3e-3
    gae_lambda: Annotated[float, Range(0, 1)] = 0.95
    target_kl: Annotated[float, Range(above=0)] = 0.1
    n_epochs: Annotated[int, Range(1)] = 8
    minibatches: Annotated[int, Range(1)] = 12
    hidden: Annotated[tuple[Annotated[int, Range(1, WIDEST)], ...], Length(MOST_LAYERS)] = (64, 64)
    log_std_init: Annotated[float, Range(-20, 2)] = -2.0
    baseline: Literal["critic", "twin"] = "critic"
    anneal: bool = False
    squash: bool = False
    whiten: bool = False
    explore: Annotated[float, Range(0, 1)] = 0.0
    start: str | None = None
    variations: Annotated[tuple[dict[str, Any], ...], Length(256)] = ()
    seed: Annotated[int, Range(0)] = 0

    @property
    def twins(self) -> bool:
        """Whether students 2j and 2j + 1 of a rollout are the same student."""
        return self.learner == "evolution" or (self.learner == "ppo" and self.baseline == "twin")
