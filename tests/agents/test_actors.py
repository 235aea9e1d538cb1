"""An agent of any library is exported as what it does in the environment, or refused in one line."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorObservationWrapper
from gymnasium.wrappers.vector import RescaleAction, TransformAction
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import Tensor, nn

from rltemp.agents.actors import check_exportable
from rltemp.agents.exploration import CoherentPolicy
from rltemp.agents.policy_io import export_policy
from rltemp.agents.vec_env import VectorEnvAdapter
from rltemp.envs.toy import ToyVectorEnv
from rltemp.errors import InputError
from rltemp.features import LogitFeatures
from rltemp.recipes.schema import PolicySpace

FEATURES = LogitFeatures(("progress", "teacher_confidence", "student_confidence"))
SPACE = PolicySpace(low=0.5, high=32.0)
"""What the toy makes of actions."""

Wrap = Callable[[VectorEnv[Any, Any, Any]], VectorEnv[Any, Any, Any]]
SMALL = {"net_arch": [8, 6]}


def toy(wrap: Wrap = lambda env: env) -> VectorEnvAdapter:
    return VectorEnvAdapter(wrap(ToyVectorEnv(students=4, batch_size=16)))


def rescaled(env: VectorEnv[Any, Any, Any]) -> VectorEnv[Any, Any, Any]:
    return RescaleAction(env, np.array([-2.0], np.float32), np.array([1.0], np.float32))


def contrib(name: str, *args: Any, **options: Any) -> Any:
    return getattr(pytest.importorskip("sb3_contrib"), name)(*args, device="cpu", **options)


def sb3(kind: Any, wrap: Wrap = lambda env: env, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        kwargs = {"device": "cpu", **options, "policy_kwargs": {**SMALL, **options.get("policy_kwargs", {})}}
        if kind in (PPO, A2C):
            kwargs["n_steps"] = 10
        return kind("MlpPolicy", toy(wrap), **kwargs)

    return make


AGENTS: dict[str, Callable[[], Any]] = {
    "ppo": sb3(PPO),
    "ppo-relu": sb3(PPO, policy_kwargs={"activation_fn": nn.ReLU}),
    "ppo-linear": sb3(PPO, policy_kwargs={"net_arch": []}),
    "ppo-two-extractors": sb3(PPO, policy_kwargs={"share_features_extractor": False}),
    "ppo-sde": sb3(PPO, use_sde=True),
    "ppo-sde-squashed": sb3(PPO, use_sde=True, policy_kwargs={"squash_output": True}),
    "ppo-coherent": lambda: PPO(CoherentPolicy, toy(), use_sde=True, policy_kwargs={"group_size": 16}, device="cpu"),
    "ppo-rescaled": sb3(PPO, rescaled),
    "a2c": sb3(A2C),
    "sac": sb3(SAC),
    "sac-rescaled": sb3(SAC, rescaled),
    "sac-tanh": sb3(SAC, policy_kwargs={"activation_fn": nn.Tanh}),
    "sac-sde": sb3(SAC, use_sde=True, policy_kwargs={"clip_mean": 0.0}),
    "td3": sb3(TD3),
    "ddpg": sb3(DDPG),
    "trpo": lambda: contrib("TRPO", "MlpPolicy", toy(), n_steps=10),
    "tqc": lambda: contrib("TQC", "MlpPolicy", toy()),
    "ars": lambda: contrib("ARS", "MlpPolicy", toy()),
}


def stir(policy: nn.Module) -> None:
    """Give an actor weights so large that its actions differ."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            size = 2.0 * parameter.shape[1] ** -0.5 if parameter.ndim == 2 else 0.1
            parameter.copy_(size * torch.randn(parameter.shape, generator=generator))


def check_in_the_environment(model: Any, venv: VecEnv) -> None:
    policy = export_policy(model, FEATURES, SPACE)
    venv.seed(0)
    actions, _ = model.predict(venv.reset(), deterministic=True)
    venv.step(actions)
    done = venv.unwrapped.env.unwrapped.transition  # type: ignore[attr-defined]
    expected = done.temperatures.reshape(-1)
    assert np.ptp(np.log2(expected)) > 1.0
    given = policy.temperature(torch.from_numpy(done.features).reshape(-1, 3)).numpy()
    np.testing.assert_allclose(given, expected, rtol=1e-4)


@pytest.mark.parametrize("name", AGENTS)
def test_the_environment_sees_the_temperatures_of_the_exported_policy(name: str) -> None:
    model = AGENTS[name]()
    check_exportable(model)
    stir(model.policy)
    check_in_the_environment(model, model.get_env())


@pytest.mark.parametrize("kind", [PPO, SAC])
def test_a_normalization_becomes_part_of_the_policy(kind: Any) -> None:
    venv = VecNormalize(toy(), clip_obs=1e4)
    model = kind("MlpPolicy", venv, device="cpu")
    check_exportable(model)
    venv.reset()
    for _ in range(15):
        venv.step(np.zeros((64, 1), np.float32))
    venv.training = False
    stir(model.policy)
    check_in_the_environment(model, venv)
    venv.clip_obs = 1.0
    with pytest.raises(InputError, match=r"VecNormalize must have clip_obs >= \d+\.\d, which cuts no feature, got 1:"):
        export_policy(model, FEATURES, SPACE)


def test_a_normalization_that_may_come_to_cut_is_refused_before_training() -> None:
    def normalized(**options: Any) -> PPO:
        return PPO("MlpPolicy", VecNormalize(toy(), **options), device="cpu")

    with pytest.raises(InputError, match=r"VecNormalize must have clip_obs >= 10000, which cuts nothing, got 10$"):
        check_exportable(normalized())
    check_exportable(normalized(norm_obs=False))
    check_exportable(normalized(clip_obs=np.inf))


def module(*layers: nn.Module) -> nn.Module:
    stack = nn.Sequential(*layers)
    stir(stack)
    return stack


class Squeezed(nn.Module):
    """Actions [N] by a head that is no child of a Sequential."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 8), nn.ReLU())
        self.head = nn.Linear(8, 1)
        stir(self)

    def forward(self, features: Tensor) -> Tensor:
        actions: Tensor = self.head(self.body(features))
        return actions.squeeze(-1)


class Hidden(Squeezed):
    """Does what none of its modules shows."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).sin()


@pytest.mark.parametrize(
    "actor",
    [module(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)), module(nn.Linear(3, 1), nn.Tanh()).double(), Squeezed()],
    ids=["tanh", "double", "squeezed"],
)
def test_a_module_is_exported_as_its_function(actor: nn.Module) -> None:
    check_exportable(actor)
    policy = export_policy(actor, FEATURES, SPACE)
    features = torch.rand(100, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        actions = actor(features.to(next(actor.parameters()))).double().reshape(-1).clamp(-1.0, 1.0)
    expected = 0.5 * 64.0 ** ((actions.numpy() + 1.0) / 2.0)
    np.testing.assert_allclose(policy.temperature(features).numpy(), expected, rtol=1e-5)


def test_a_module_of_three_numbers_chooses_temperature_scale_and_weight_of_the_label() -> None:
    actor = module(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3))
    space = PolicySpace(low=0.5, high=32.0, scale_range=(1.0, 16.0), label_range=(0.25, 4.0))
    features = torch.rand(100, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        share = (actor(features).clamp(-1.0, 1.0).double().numpy() + 1.0) / 2.0
        chosen = export_policy(actor, FEATURES, space)._act(features)
    wanted = np.array([0.5, 1.0, 0.25]) * np.array([64.0, 16.0, 16.0]) ** share
    teacher, _, *others = chosen.tensors
    got = torch.stack((teacher, *others), dim=1)
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-5)


class Other(ActorCriticPolicy):
    """Acts otherwise than its layers say."""

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        return -super()._predict(observation, deterministic)


class Whole(gymnasium.Env[Any, Any]):
    """Spaces of any kind."""

    def __init__(self, seen: spaces.Space[Any], acts: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = seen, acts


def untrained(
    kind: Any, seen: spaces.Space[Any], acts: spaces.Space[Any], policy: str = "MlpPolicy"
) -> Callable[[], Any]:
    return lambda: kind(policy, Whole(seen, acts), device="cpu")


ONE, UNIT = spaces.Box(0.0, 1.0, (3,)), spaces.Box(-1.0, 1.0, (1,))


DISABLED = ToyVectorEnv(students=4, batch_size=16, autoreset_mode=AutoresetMode.DISABLED)


class Rooted(VectorObservationWrapper[Any, Any, Any, Any]):
    """Shows other numbers of the same range."""

    def observations(self, observations: Any) -> Any:
        return np.sqrt(observations)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "PPO", "model must be an algorithm of Stable-Baselines3 or a torch module, got str"),
        (lambda: sb3(PPO)().policy, "model must be the algorithm itself, got its policy, ActorCriticPolicy"),
        (lambda: nn.Conv2d(3, 3, 3), "linear layers with tanh or ReLU between them, got Conv2d"),
        (
            lambda: module(nn.Linear(3, 4)),
            r"model must give actions \[N\], or \[N, A\] of 1 to 3 numbers, got \[256, 4\]",
        ),
        (Hidden, "model must act as its layers say"),
        (lambda: nn.Bilinear(3, 3, 1), "got Bilinear"),
        (sb3(PPO, policy_kwargs={"activation_fn": nn.ELU}), "got ELU"),
        (sb3(SAC, use_sde=True), "got Hardtanh"),
        (lambda: PPO(Other, toy(), device="cpu"), "model must act as its layers say"),
        (lambda: contrib("RecurrentPPO", "MlpLstmPolicy", toy()), "one observation alone, got a recurrent policy"),
        (lambda: contrib("CrossQ", "MlpPolicy", toy()), "got BatchRenorm"),
        (untrained(PPO, spaces.Dict({"a": ONE}), UNIT, "MultiInputPolicy"), "model must observe one instance"),
        (untrained(PPO, spaces.Box(0.0, 1.0, (8, 3)), UNIT), "model must observe one instance"),
        (
            untrained(PPO, spaces.Box(-np.arange(1.0, 40.0), np.ones(39), dtype=np.float64), UNIT),
            "model must observe one instance",
        ),
        (untrained(PPO, ONE, spaces.Box(-1.0, 1.0, (8,))), "model must give one action for an instance"),
        (untrained(DQN, ONE, spaces.Discrete(3)), "model must give one action for an instance"),
        (
            lambda: PPO("MlpPolicy", VectorEnvAdapter(Rooted(DISABLED)), device="cpu"),
            "model must see features and act as the environment says, got Rooted",
        ),
        (sb3(PPO, lambda env: TransformAction(env, np.sin)), "got TransformAction"),
    ],
)
def test_what_no_policy_holds_is_refused_in_one_line(make: Callable[[], Any], message: str) -> None:
    model = make()
    with pytest.raises(InputError, match=message) as refusal:
        check_exportable(model)
    assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match=message):
        export_policy(model, FEATURES, SPACE)


@pytest.mark.parametrize(
    ("actor", "message"),
    [
        (nn.Sequential(nn.Linear(3, 1), nn.Unflatten(1, (1, 1, 1, 1, 1))), "got Unflatten"),
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(3, 1)), "got one that takes 3 numbers where there are 4"),
    ],
)
def test_a_module_that_cannot_act_is_refused(actor: nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_exportable(actor)


class Distribution(Squeezed):
    def forward(self, features: Tensor) -> Any:
        return torch.distributions.Normal(super().forward(features), 1.0)


class Confused(Squeezed):
    def forward(self, features: Tensor) -> Tensor:
        raise ValueError("two\nlines")


@pytest.mark.parametrize(
    ("actor", "message"),
    [
        (Distribution(), r"actions \[N\], or \[N, A\] of 1 to 3 numbers, got Normal for N = 256"),
        (Confused(), r"from features \[N, 3\] to actions \[N, A\]: it raised ValueError"),
    ],
)
def test_a_module_that_gives_no_actions_is_refused(actor: nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_exportable(actor)
