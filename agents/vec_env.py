"""Gymnasium's vector environments as Stable-Baselines3's `VecEnv`."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from rltemp.distillation.task import Task
from rltemp.envs.contract import StudentVectorEnv
from rltemp.envs.from_recipe import resolve
from rltemp.envs.vector import DistillationVectorEnv
from rltemp.errors import InputError
from rltemp.recipes import Recipe

__all__ = ["VectorEnvAdapter", "make_sb3_env", "student_env"]


class VectorEnvAdapter(VecEnv):
    """A `gymnasium.vector.VectorEnv` as an SB3 `VecEnv`.

    The slots share one environment: its attributes and methods answer for every slot, attributes and options are set
    for all slots at once, and one seed fixes all slots. SB3 expects the first observation of the next episode from the
    step that ends one, so that autoreset must be SAME_STEP. DISABLED is allowed for a learner whose rollouts are whole
    episodes and who resets before each; the step that ends an episode then returns its last observation.

    Args:
        env: the vector environment, which is closed with the adapter.

    Raises:
        InputError: if `env` is no vector environment, or has another autoreset mode.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        if not isinstance(env, VectorEnv):
            raise InputError(f"env must be a gymnasium.vector.VectorEnv, got {type(env).__name__}")
        mode = env.metadata.get("autoreset_mode")
        if mode not in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED):
            want = f"{AutoresetMode.SAME_STEP} or {AutoresetMode.DISABLED}"
            raise InputError(f"env must declare metadata['autoreset_mode'] = {want}, got {mode!r}")
        self.env = env
        self._actions: npt.NDArray[Any] | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> VecEnvObs:
        """Start new episodes in all slots, with the seed and options set since the last reset.

        Returns:
            The first observations, [slots, ...].

        Raises:
            InputError: for options that differ between slots.
        """
        options = self._options[0]
        if any(other != options for other in self._options):
            raise InputError("options must be the same for all slots: they share one environment")
        observations, infos = self.env.reset(seed=self._seeds[0], options=options or None)
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = self._split(infos)
        answer: VecEnvObs = copy.deepcopy(observations)
        return answer

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Store the actions [slots, ...] of the next step."""
        self._actions = np.array(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Make the step with the stored actions.

        Returns:
            Observations, rewards [slots], episode ends [slots], and one info dict per slot; all new, since SB3 keeps
            and changes them.

        Raises:
            InputError: without actions from `step_async`.
        """
        if self._actions is None:
            raise InputError("step_wait() needs actions: call step_async() first")
        actions, self._actions = self._actions, None
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        ended = np.asarray(terminations) | np.asarray(truncations)
        per_slot, last = self._split(infos), infos.get("final_obs", observations)
        for slot in np.flatnonzero(ended):
            per_slot[slot]["terminal_observation"] = copy.deepcopy(last[slot])
            per_slot[slot]["TimeLimit.truncated"] = bool(truncations[slot] and not terminations[slot])
        return copy.deepcopy(observations), np.array(rewards, dtype=np.float32), ended, per_slot

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The environment's attribute, once for every slot in `indices` (None: all)."""
        value = getattr(self.env, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the environment, which all slots share.

        Raises:
            InputError: if `indices` does not name all slots.
        """
        if sorted(self._get_indices(indices)) != list(range(self.num_envs)):
            raise InputError(f"indices must name all {self.num_envs} slots: they share one environment")
        setattr(self.env.unwrapped, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the environment once, and return its result for every slot in `indices` (None: all)."""
        answer = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [answer for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        """Whether a `wrapper_class` wraps the vector environment, once for every slot in `indices` (None: all)."""
        env, wrapped = self.env, False
        while isinstance(env, VectorWrapper):
            wrapped, env = wrapped or isinstance(env, wrapper_class), env.env
        return [wrapped for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[npt.NDArray[Any] | None]:
        """The rendered frame of every slot; None for environments that render nothing."""
        frames: Any = self.env.render()
        return list(frames) if frames is not None else [None] * self.num_envs

    def _split(self, infos: dict[str, Any]) -> list[dict[str, Any]]:
        """Split vector infos into one dict per slot, which includes the last info of an episode that ended."""
        if not infos:
            return [{} for _ in range(self.num_envs)]
        final = infos.get("final_info", {})
        rest = {key: value for key, value in infos.items() if key not in ("final_obs", "final_info")}
        return [{**_of_slot(rest, slot), **_of_slot(final, slot)} for slot in range(self.num_envs)]


def make_sb3_env(
    recipe: str | Recipe = "digits-short", *, students: int | None = None, task: Task | None = None, **overrides: Any
) -> VectorEnvAdapter:
    """The environment `rltemp/Distillation-v0` with one slot per instance, as an SB3 `VecEnv` with uniform reward.

    Args:
        recipe: name or file of a recipe, or a `Recipe`; by default "digits-short".
        students: K, >= 1; by default the number that the recipe's agent trains with. The environment has K * B slots.
        task: the recipe's task if it is already built, which saves training the teacher again.
        **overrides: values of the recipe, by dotted name or nested.

    Raises:
        InputError: for an unknown recipe or key, or a wrong type or value.
    """
    for word in ("n_envs", "num_envs"):
        if word in overrides:
            raise InputError(
                f"students must be given instead of {word}: students distilled side by side, each with one environment "
                f"for every instance of its minibatch; got {word}={overrides[word]}"
            )
    whole, tasks = resolve(recipe, task, overrides)
    slots = (whole.agent.students if students is None else students) * whole.instances
    return VectorEnvAdapter(DistillationVectorEnv(slots, whole, task=tasks))


def student_env(venv: VecEnv) -> StudentVectorEnv:
    """The environment of students inside SB3's and Gymnasium's wrappers.

    Raises:
        InputError: for any other environment, or one without a `VectorEnvAdapter`.
    """
    adapter = venv.unwrapped
    env = adapter.env.unwrapped if isinstance(adapter, VectorEnvAdapter) else adapter
    if not isinstance(env, StudentVectorEnv):
        raise InputError(f"env must be a StudentVectorEnv, an environment of students, got {type(env).__name__}")
    return env


def _of_slot(infos: dict[str, Any], slot: int) -> dict[str, Any]:
    """The infos of `slot`: those whose mask includes it, and those without a mask."""
    picked = {}
    for key, value in infos.items():
        mask = infos.get(f"_{key}")
        if key.startswith("_") or (mask is not None and not mask[slot]):
            continue
        if isinstance(value, dict):
            picked[key] = _of_slot(value, slot)
        else:
            picked[key] = copy.deepcopy(value[slot] if isinstance(value, np.ndarray) else value)
    return picked
