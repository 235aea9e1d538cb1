"""Checks of the clauses that an environment of students keeps in addition to those of any vector environment.

`check_student_env(make_env)` runs both; to run each by name, parametrize a test over `STUDENT_CLAUSES`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from rltemp.envs.conformance import SEED, ConformanceError, check_vector_env
from rltemp.envs.contract import Floats, StudentVectorEnv
from rltemp.errors import InputError

__all__ = ["STUDENT_CLAUSES", "check_student_env"]

MakeStudentEnv = Callable[[], StudentVectorEnv]


def check_slots(make_env: MakeStudentEnv) -> None:
    """Slots are K students of B instances, student after student, and all slots of a student get the same reward."""
    env = make_env()
    if env.num_envs != env.students * env.batch_size:
        want = f"{env.students} students x {env.batch_size} instances"
        raise ConformanceError("slots", f"num_envs is {env.num_envs}, want {want}")
    env.reset(seed=SEED)
    for rewards in (env.step(actions)[1] for actions in _actions(env)):
        by_student = rewards.reshape(env.students, env.batch_size)
        if (by_student != by_student[:, :1]).any():
            raise ConformanceError("slots", "slots of one student got different rewards, want its reward in each")


def check_horizon(make_env: MakeStudentEnv) -> None:
    """Every episode ends after `horizon` steps, in all slots at once, and with a termination."""
    env = make_env()
    env.reset(seed=SEED)
    for time, actions in enumerate(_actions(env), start=1):
        _, _, terminations, truncations, _ = env.step(actions)
        if truncations.any() or (terminations != (time == env.horizon)).any():
            want = f"want all slots to terminate at step {env.horizon} and none before"
            raise ConformanceError("horizon", f"step {time} ended otherwise, {want}")


def check_transitions(make_env: MakeStudentEnv) -> None:
    """`transition` describes the last step: the features observed before it, and the rewards of its slots."""
    env = make_env()
    observation, _ = env.reset(seed=SEED)
    if not _refuses(lambda: env.transition):
        raise ConformanceError("transitions", "transition was answered before the first step, want InputError")
    for actions in _actions(env):
        before, (observation, rewards, *_) = observation, env.step(actions)
        seen, paid = env.transition.features, np.repeat(env.transition.reward, env.batch_size)
        if not np.array_equal(seen.reshape(env.num_envs, -1), before) or not np.array_equal(paid, rewards):
            raise ConformanceError("transitions", "transition is of another step, want features and reward of the last")
        if "influence" in env.credit_kinds and env.transition.influence is None:
            raise ConformanceError("transitions", "influence is None, want it where credit_kinds names it")


def check_lost(make_env: MakeStudentEnv) -> None:
    """A student that is lost stays so, and pays 0 on features of 0 from then on."""
    env = make_env()
    env.reset(seed=SEED)
    lost = np.zeros(env.students, dtype=bool)
    for actions in _actions(env):
        env.step(actions)
        now = env.transition
        if now.reward[lost].any() or now.features[lost].any():
            raise ConformanceError("lost", "a student that is lost was paid or seen, want reward and features of 0")
        if now.lost is not None:
            if (lost & ~now.lost).any():
                raise ConformanceError("lost", "a student that was lost is not any more, want it to stay so")
            lost = now.lost


def check_effects(make_env: MakeStudentEnv) -> None:
    """`effects`, of one [horizon, slots] or several, works if `credit_kinds` has "hindsight", until `forget`."""
    env = make_env()
    env.reset(seed=SEED)
    taken = _actions(env)
    if not _refuses(lambda: env.effects(taken[..., 0])):
        raise ConformanceError("effects", "effects was answered before the end of an episode, want InputError")
    for actions in taken:
        env.step(actions)
    if "hindsight" not in env.credit_kinds:
        if not _refuses(lambda: env.effects(taken[..., 0])):
            raise ConformanceError("effects", "effects was answered, want InputError without hindsight in credit_kinds")
        return
    effects = env.effects(taken[..., 0])
    if effects.shape != taken.shape[:2] or not np.isfinite(effects).all():
        raise ConformanceError("effects", f"got shape {effects.shape}, want finite values of {taken.shape[:2]}")
    both = env.effects(np.stack((taken[..., 0], -taken[..., 0])))
    if both.shape != (2, *effects.shape) or not np.array_equal(both[0], effects):
        raise ConformanceError("effects", f"two alternatives got {both.shape}, want the effects of each, stacked")
    env.forget()
    if not _refuses(lambda: env.effects(taken[..., 0])):
        raise ConformanceError("effects", "effects was answered after forget, want InputError")


STUDENT_CLAUSES: Mapping[str, Callable[[MakeStudentEnv], None]] = MappingProxyType(
    {
        "slots": check_slots,
        "horizon": check_horizon,
        "transitions": check_transitions,
        "lost": check_lost,
        "effects": check_effects,
    }
)
"""Every check by the name of its clause; a check takes `make_env`."""


def check_student_env(make_env: MakeStudentEnv, *, max_steps: int = 1000) -> None:
    """Check that an environment of students keeps every clause, its own and those of any vector environment.

    Args:
        make_env: makes a new environment; called a few times per clause.
        max_steps: number of steps within which an episode must end.

    Raises:
        ConformanceError: for the first clause that is broken.
    """
    check_vector_env(make_env, max_steps=max_steps)
    for clause in STUDENT_CLAUSES.values():
        clause(make_env)


def _actions(env: StudentVectorEnv) -> Floats:
    """Random actions of one episode, [horizon, slots, 1]."""
    values = np.random.default_rng(SEED).uniform(-1.0, 1.0, (env.horizon, env.num_envs, 1))
    return values.astype(np.float32)


def _refuses(call: Callable[[], object]) -> bool:
    try:
        call()
    except InputError:
        return True
    return False
