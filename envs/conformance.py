"""The contract of a vector environment as checks, one per clause, for any Gymnasium `VectorEnv`.

The docstring of a check is its clause. Together the clauses are what training relies on; rollout buffers and lists of
infos, for instance, keep references. `check_vector_env(make_env)` runs all checks; to run each by name, parametrize a
test:

    @pytest.mark.parametrize("clause", CLAUSES)
    def test_clause(clause):
        CLAUSES[clause](make_env, 100)
"""

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, iterate

from rltemp.envs.trajectory import Step, overlap, play, same

__all__ = ["CLAUSES", "ConformanceError", "check_vector_env"]

MakeEnv = Callable[[], VectorEnv[Any, Any, Any]]
SEED, OTHER_SEED = 7, 8


class ConformanceError(AssertionError):
    """A broken clause of the contract; the message says what was found, and what the clause demands.

    Attributes:
        clause: name of the clause in `CLAUSES` or `STUDENT_CLAUSES`.
    """

    def __init__(self, clause: str, message: str) -> None:
        super().__init__(f"{clause}: {message}")
        self.clause = clause


def check_spaces(make_env: MakeEnv, max_steps: int) -> None:
    """The batched spaces of observations and actions are `num_envs` copies of the single ones."""
    env = make_env()
    if not isinstance(env.num_envs, int) or env.num_envs < 1:
        raise ConformanceError("spaces", f"num_envs is {env.num_envs!r}, want an int >= 1")
    for kind in ("observation", "action"):
        batched, single = getattr(env, f"{kind}_space"), getattr(env, f"single_{kind}_space")
        if batched != batch_space(single, env.num_envs):
            raise ConformanceError("spaces", f"{kind}_space is {batched}, want {env.num_envs} copies of {single}")


def check_observations(make_env: MakeEnv, max_steps: int) -> None:
    """Every observation returned by `reset` and `step` has the shape and dtype of its space and lies in its bounds."""
    env = make_env()
    for step in play(env, max_steps, SEED):
        if step.observations not in env.observation_space:
            got = _describe(step.observations)
            raise ConformanceError("observations", f"got {got}, outside {env.observation_space}")


def check_actions(make_env: MakeEnv, max_steps: int) -> None:
    """`step` takes actions at the bounds of their space, never writes into them, and refuses a wrong number."""
    env = make_env()
    env.reset(seed=SEED)
    space = copy.deepcopy(env.action_space)
    space.seed(SEED)
    actions = [space.sample()]
    if isinstance(space, Box) and space.is_bounded():
        actions += [space.low.copy(), space.high.copy()]
    for action in actions:
        before = copy.deepcopy(action)
        env.step(action)
        if not same(action, before):
            raise ConformanceError("actions", "step wrote into the array of actions, want it left as it was")
    more = batch_space(env.single_action_space, env.num_envs + 1)
    _refused(lambda: env.step(more.sample()), "actions", f"{env.num_envs + 1} actions for {env.num_envs} slots")


def check_rewards(make_env: MakeEnv, max_steps: int) -> None:
    """The rewards of a step are one finite floating-point number per slot."""
    env = make_env()
    for step in _steps(env, max_steps):
        rewards = step.rewards
        fits = isinstance(rewards, np.ndarray) and rewards.shape == (env.num_envs,) and rewards.dtype.kind == "f"
        if not fits or not np.isfinite(rewards).all():
            want = f"want finite floating-point values of shape ({env.num_envs},)"
            raise ConformanceError("rewards", f"got {_describe(rewards)}, {want}")


def check_endings(make_env: MakeEnv, max_steps: int) -> None:
    """The terminations and truncations of a step are one bool per slot."""
    env = make_env()
    for step in _steps(env, max_steps):
        for name, flags in (("terminations", step.terminations), ("truncations", step.truncations)):
            if not (isinstance(flags, np.ndarray) and flags.shape == (env.num_envs,) and flags.dtype == np.bool_):
                want = f"want bool of shape ({env.num_envs},)"
                raise ConformanceError("endings", f"{name}: got {_describe(flags)}, {want}")


def check_seeding(make_env: MakeEnv, max_steps: int) -> None:
    """One seed gives one trajectory, bit for bit, in a new instance and in a used one; another seed gives another.

    The seed fixes everything that follows, across the ends of episodes and a `reset` without a seed.
    """
    env, other = make_env(), make_env()
    first = list(play(env, max_steps, SEED)) + list(play(env, max_steps, None))
    for name, again in (("another instance", other), ("the same instance", env)):
        second = list(play(again, max_steps, SEED)) + list(play(again, max_steps, None))
        if not same(first, second):
            raise ConformanceError("seeding", f"{name} gave another trajectory for seed {SEED}, want the same")
    if same(first[0], next(play(env, max_steps, OTHER_SEED))):
        raise ConformanceError("seeding", f"seeds {SEED} and {OTHER_SEED} start alike, want different episodes")


def check_isolation(make_env: MakeEnv, max_steps: int) -> None:
    """An environment changes no global generator (random, NumPy, torch), and two instances do not affect each other."""
    before = _global_generators()
    env, other = make_env(), make_env()
    alone = list(play(env, max_steps, SEED))
    if not same(before, _global_generators()):
        raise ConformanceError("isolation", "a global generator moved, want generators of the environment's own")
    beside = [step for step, _ in zip(play(env, max_steps, SEED), play(other, max_steps, OTHER_SEED), strict=False)]
    if not same(alone[: len(beside)], beside):
        raise ConformanceError("isolation", "stepping another instance changed the trajectory, want no influence")


def check_autoreset(make_env: MakeEnv, max_steps: int) -> None:
    """The end of an episode follows `metadata["autoreset_mode"]`.

    SAME_STEP: the step that ends an episode returns the first observation of the next one; the last observation and
    info of the slots that ended are in `infos["final_obs"]` and `infos["final_info"]`, each with a mask of those slots
    ("_final_obs", "_final_info"). NEXT_STEP: the following step gives those slots reward 0 and does not end them.
    DISABLED: a step after the end and before `reset` is refused.
    """
    env = make_env()
    mode = env.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
        raise ConformanceError("autoreset", f"metadata['autoreset_mode'] is {mode!r}, want a member of AutoresetMode")
    steps = list(play(env, max_steps, SEED))
    ends = [index for index, step in enumerate(steps) if step.rewards is not None and step.ended.any()]
    if not ends:
        raise ConformanceError("autoreset", f"no episode ended within {max_steps} steps: cannot be judged")
    for index in ends:
        if mode is AutoresetMode.SAME_STEP:
            _check_same_step(env, steps[index])
        elif mode is AutoresetMode.NEXT_STEP and index + 1 < len(steps):
            _check_next_step(steps[index], steps[index + 1])
    if mode is AutoresetMode.DISABLED:
        _check_disabled(make_env(), max_steps)


def _check_same_step(env: VectorEnv[Any, Any, Any], step: Step) -> None:
    for key in ("final_obs", "final_info"):
        if key not in step.infos or not same(step.infos.get(f"_{key}"), step.ended):
            want = f"want both for the slots {np.flatnonzero(step.ended).tolist()}"
            raise ConformanceError("autoreset", f"infos lack {key!r} or its mask '_{key}' is wrong, {want}")
    observations = list(iterate(env.observation_space, step.observations))
    for slot in np.flatnonzero(step.ended):
        final = step.infos["final_obs"][slot]
        if final not in env.single_observation_space:
            raise ConformanceError("autoreset", f"final_obs of slot {slot} is {_describe(final)}, outside its space")
        if same(final, observations[slot]):
            raise ConformanceError("autoreset", f"slot {slot} shows final_obs again, want the next episode's first")


def _check_next_step(end: Step, following: Step) -> None:
    if (np.asarray(following.rewards)[end.ended] != 0.0).any() or following.ended[end.ended].any():
        raise ConformanceError("autoreset", "the step after an end paid or ended a slot, want it to reset that slot")


def _check_disabled(env: VectorEnv[Any, Any, Any], max_steps: int) -> None:
    actions = copy.deepcopy(env.action_space)
    actions.seed(SEED)
    env.reset(seed=SEED)
    for _ in range(max_steps):
        _, _, terminations, truncations, _ = env.step(actions.sample())
        if np.all(terminations | truncations):
            _refused(lambda: env.step(actions.sample()), "autoreset", "a step after the end, before reset,")
            return


def check_memory(make_env: MakeEnv, max_steps: int) -> None:
    """Arrays and infos are new at every step; writing into them changes neither environment nor other results."""
    env, twin = make_env(), make_env()
    kept = list(play(env, max_steps, SEED, keep=True))
    for index, step in enumerate(kept):
        for later in kept[index + 1 : index + 4]:
            if later.infos is step.infos or overlap(step, later):
                raise ConformanceError(
                    "memory", "two steps share an array or an info dict, want new ones at every step"
                )
    clean = list(play(env, max_steps, SEED))
    if not same(kept, clean):
        # Trajectories that also differ without `keep` break the clause on seeding, not this one.
        if same(clean, list(play(env, max_steps, SEED))):
            raise ConformanceError("memory", "an earlier result changed later, want results that stay as they were")
        return
    if not same(clean, list(play(twin, max_steps, SEED, vandalize=True))):
        raise ConformanceError("memory", "writing into what step returned changed what followed, want copies")


def check_infos(make_env: MakeEnv, max_steps: int) -> None:
    """Only slots that end have infos: each info has a mask of ended slots, and without ended slots there is none."""
    env = make_env()
    for step in _steps(env, max_steps):
        if not step.ended.any() and step.infos:
            raise ConformanceError("infos", f"got {sorted(step.infos)} in a step that ended no slot, want no infos")
        for key, mask in _masks(step.infos):
            if mask is None or np.shape(mask) != step.ended.shape or (np.asarray(mask) & ~step.ended).any():
                raise ConformanceError(
                    "infos", f"{key!r} has no mask or one of slots that go on, want ended slots only"
                )


def check_order(make_env: MakeEnv, max_steps: int) -> None:
    """A step before the first `reset` and any call after `close` are refused; closing twice is allowed."""
    env = make_env()
    action = copy.deepcopy(env.action_space).sample()
    _refused(lambda: env.step(action), "order", "a step before the first reset")
    env.reset(seed=SEED)
    env.close()
    env.close()
    _refused(lambda: env.step(action), "order", "a step after close")
    _refused(lambda: env.reset(seed=SEED), "order", "a reset after close")


CLAUSES: Mapping[str, Callable[[MakeEnv, int], None]] = MappingProxyType(
    {
        "spaces": check_spaces,
        "observations": check_observations,
        "actions": check_actions,
        "rewards": check_rewards,
        "endings": check_endings,
        "seeding": check_seeding,
        "isolation": check_isolation,
        "autoreset": check_autoreset,
        "memory": check_memory,
        "infos": check_infos,
        "order": check_order,
    }
)
"""Every check by the name of its clause; a check takes `make_env` and the most steps until an episode ends."""


def check_vector_env(make_env: MakeEnv, *, max_steps: int = 1000) -> None:
    """Check that a vector environment keeps every clause of `CLAUSES`.

    Args:
        make_env: makes a new environment; called a few times per clause.
        max_steps: number of steps within which an episode must end. Short episodes make the check quick.

    Raises:
        ConformanceError: for the first clause that is broken.
    """
    for clause in CLAUSES.values():
        clause(make_env, max_steps)


def _steps(env: VectorEnv[Any, Any, Any], max_steps: int) -> list[Step]:
    """The results of `step`, without those of `reset`."""
    return [step for step in play(env, max_steps, SEED) if step.rewards is not None]


def _refused(call: Callable[[], object], clause: str, what: str) -> None:
    try:
        call()
    except Exception:
        return
    raise ConformanceError(clause, f"{what} was accepted, want an exception")


def _masks(infos: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every key of the infos with its mask, or None without one; includes nested infos."""
    for key, value in infos.items():
        if not key.startswith("_"):
            yield key, infos.get(f"_{key}")
            if isinstance(value, dict):
                yield from _masks(value)


def _global_generators() -> list[Any]:
    legacy = np.random.get_state()  # noqa: NPY002 (compared, never drawn from)
    return [random.getstate(), legacy, torch.get_rng_state().numpy().copy()]


def _describe(value: Any) -> str:
    if not isinstance(value, np.ndarray) or value.size == 0 or value.dtype == object:
        return f"{value!r}"
    return f"{value.dtype} of shape {value.shape} from {value.min()} to {value.max()}"
