"""The code of docs/agents.md runs, what it trains learns, and its tables say what is so."""

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gymnasium
import gymnasium.wrappers
import gymnasium.wrappers.vector
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from torch import nn

import rltemp
import rltemp.recipes
from rltemp.agents import export_policy
from rltemp.distillation import Task
from rltemp.envs.toy import ToyVectorEnv
from rltemp.experiments.cli import main
from rltemp.recipes import Recipe
from rltemp.recipes.schema import PolicySpace
from rltemp.temperatures import temperature_to_action

PAGE = (Path(__file__).parents[2] / "docs" / "agents.md").read_text(encoding="utf-8")
MARK = "<!-- tests/examples/test_agents_page.py runs this -->"
BLOCKS = re.findall(rf"{MARK}\n```python\n(.*?)```", PAGE, re.DOTALL)
PPO, REUSE, SAC, OTHER, LOOP, SKRL, TIANSHOU, NORMALIZE = BLOCKS
SMALL: dict[str, Any] = {
    "data.train": 64,
    "data.validation": 50,
    "teacher.network.options": {"hidden": [8]},
    "teacher.members": 1,
    "teacher.epochs": 2,
    "student.options": {"hidden": [8]},
    "optimization.epochs": 1,
    "optimization.batch_size": 8,
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run code of the page, in an empty folder and on recipes that are small, with names that are there already."""
    load = rltemp.recipes.load_recipe
    monkeypatch.setattr(rltemp.recipes, "load_recipe", lambda name, values: load(name, {**SMALL, **values}))
    monkeypatch.chdir(tmp_path)

    def run_(code: str, at_hand: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
        for library in ("skrl", "tianshou"):
            if f"from {library}." in code:
                pytest.importorskip(library)
                # skrl logs once more when the interpreter ends, and the stream is closed by then.
                logging.getLogger(library).setLevel(logging.ERROR)
        names = dict(at_hand)
        with torch.random.fork_rng():
            exec(compile(code, "docs/agents.md", "exec"), names)
        return names

    return run_


def check_learned(folder: Path) -> None:
    policy = rltemp.load_policy(folder)
    assert policy.needs == {"targets"}
    # Before clipping: an agent that learned in so few updates may want the end of the range for all.
    actions = policy.net(torch.rand(8, len(policy.features), generator=torch.Generator().manual_seed(0)))
    assert actions.unique().numel() == 8


def test_plain_sb3_ends_as_a_policy_that_is_judged_and_reused(
    run: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    names = run(PPO)
    check_learned(Path("runs/mine"))

    (command,) = re.findall(r"^uv run rltemp (evaluate .*)$", PAGE, re.MULTILINE)
    small = [f"--{name}={value}".replace("'", '"') for name, value in SMALL.items()]
    assert main([*command.split(), "--students", "2", "--no-references", "--policy", "static", *small]) == 0, (
        capsys.readouterr().err
    )
    assert "runs/mine" in capsys.readouterr().out

    exported = names["policy"]
    loop = (*torch.randn(2, 6, 10, generator=torch.Generator().manual_seed(0)), torch.arange(6), 0.5)
    at_hand = dict(zip(("student_logits", "teacher_logits", "targets", "progress"), loop, strict=True))
    assert torch.equal(run(REUSE, names | at_hand)["temperatures"].student, exported(*loop).student)


@pytest.mark.parametrize(
    ("code", "folder"),
    [(SAC, "sac"), (LOOP, "loop"), (SKRL, "skrl"), (TIANSHOU, "tianshou")],
    ids=["sac", "loop", "skrl", "tianshou"],
)
def test_the_agents_of_the_page_end_as_policies(run: Callable[..., dict[str, Any]], code: str, folder: str) -> None:
    run(code)
    check_learned(Path("runs", folder))


class Toy(ToyVectorEnv):
    """The toy in the place of distillation, as if its numbers were features."""

    feature_names = ("progress", "teacher_confidence", "student_confidence")
    policy_space = PolicySpace(low=0.5, high=32.0)


def played(policy: rltemp.LearnedPolicy) -> float:
    env = Toy(students=64, batch_size=1)
    observation, _ = env.reset(seed=9)
    total = 0.0
    for _ in range(env.horizon):
        actions = temperature_to_action(policy.temperature(torch.from_numpy(observation)), 0.5, 32.0)
        observation, reward, *_ = env.step(actions[:, None].numpy())
        total += float(reward.mean())
    return total


@pytest.mark.parametrize("code", [LOOP, SKRL, TIANSHOU], ids=["loop", "skrl", "tianshou"])
def test_what_the_page_writes_out_learns(
    run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    def toy(name: str, num_envs: int, recipe: Recipe, autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP) -> Toy:
        return Toy(students=32, batch_size=1, autoreset_mode=autoreset_mode)

    monkeypatch.setattr(gymnasium, "make_vec", toy)
    # The best constant action earns -10 * 0.8^2 / 3 = -2.1, and the optimum 0.
    assert played(run(code)["policy"]) > -0.5


def test_any_network_chooses_temperatures(run: Callable[..., dict[str, Any]]) -> None:
    mine = run(OTHER)["Mine"]
    features = rltemp.LogitFeatures()
    network = nn.Sequential(nn.Linear(len(features), 4), nn.ELU(), nn.Linear(4, 1))
    logits, targets = torch.randn(2, 6, 5), torch.arange(6) % 5
    given = mine(network, features)(logits[0], logits[1], targets, 0.5).teacher
    with torch.no_grad():
        actions = network(features(logits[0], logits[1], targets, 0.5, None)).squeeze(-1)
    torch.testing.assert_close(given, 0.5 * 64.0 ** ((actions.clamp(-1.0, 1.0) + 1.0) / 2.0))
    assert not given.requires_grad


def wrapped(name: str, env: Any) -> Any:
    kinds = gymnasium.wrappers.vector if isinstance(env, gymnasium.vector.VectorEnv) else gymnasium.wrappers
    options: dict[str, tuple[Any, ...]] = {
        "TimeLimit": (3,),
        "RescaleAction": (np.float32(0.0), np.float32(1.0)),
        "RescaleObservation": (np.float32(-1.0), np.float32(1.0)),
        "TransformReward": (lambda reward: 5.0 * reward,),
    }
    return getattr(kinds, name)(env, *options.get(name, ()))


def steps(env: Any, number: int) -> None:
    env.reset(seed=0)
    for _ in range(number):
        observation, *_ = env.step(env.action_space.sample())
        assert observation.shape == env.observation_space.shape


TABLE = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w+) \| (\w+) \| (\w+) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("name", "single", "modes"), [(name, one, rest) for name, one, *rest in TABLE])
def test_the_table_of_wrappers(name: str, single: str, modes: list[str], tiny_recipe: Recipe, tiny_task: Task) -> None:
    assert single == "yes"
    steps(wrapped(name, gymnasium.make("rltemp/Distillation-v0", recipe=tiny_recipe, task=tiny_task)), 3)
    for mode, says in zip(("SAME_STEP", "NEXT_STEP", "DISABLED"), modes, strict=True):
        env = ToyVectorEnv(students=2, batch_size=2, horizon=4, autoreset_mode=AutoresetMode[mode])
        if says == "none":
            assert not hasattr(gymnasium.wrappers.vector, name)
        elif says == "refused":
            with pytest.raises(ValueError, match="NEXT_STEP"):
                wrapped(name, env)
        else:
            steps(wrapped(name, env), 4 if mode == "DISABLED" else 9)


def test_a_normalization_of_observations_goes_into_the_policy(run: Callable[..., dict[str, Any]]) -> None:
    env = Toy(students=4, batch_size=8, autoreset_mode=AutoresetMode.NEXT_STEP)
    wrapper = gymnasium.wrappers.vector.NormalizeObservation(env)
    steps(wrapper, 9)
    actor = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    names = {"wrapper": wrapper, "actor": actor, "features": 3, "nn": nn, "torch": torch, "space": Toy.policy_space}
    names |= {"names": rltemp.LogitFeatures(Toy.feature_names), "export_policy": export_policy}
    policy = run(NORMALIZE, names)["policy"]
    seen = torch.rand(50, 3)
    shown = (seen.numpy() - wrapper.obs_rms.mean) / np.sqrt(wrapper.obs_rms.var + wrapper.epsilon)
    with torch.no_grad():
        actions = actor(torch.from_numpy(shown).float()).squeeze(-1).clamp(-1.0, 1.0)
    torch.testing.assert_close(policy.temperature(seen), 0.5 * 64.0 ** ((actions + 1.0) / 2.0), rtol=1e-4, atol=0.0)
