"""What each method of the arena's tables costs on a text: characters per second of a student's run, and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

from rltemp.distillation.optimization import make_optimizer
from rltemp.distillation.policy_run import PolicyRun
from rltemp.distillation.task import Task
from rltemp.experiments.bench.memory import peak_bytes
from rltemp.experiments.bench.section import Peak, Row, Section
from rltemp.experiments.bench.throughput import plain_loss, plain_steps
from rltemp.experiments.bench.timing import interleave
from rltemp.experiments.evaluation.specs import parse_policy
from rltemp.features import LogitFeatures
from rltemp.networks import Network
from rltemp.policies.learned import LearnedPolicy
from rltemp.recipes import Recipe, load_recipe
from rltemp.seeding import make_generator
from rltemp.tasks import build_task

__all__ = ["METHODS", "measure", "plain_updates"]

METHODS = (
    *("static", "anneal(start=8, end=1)", "spread", "ctkd", "normkd", "lskd", "adakd"),
    *("preset(akl)", "preset(entropy-split)", "rltemp/general-kd"),
)
"""As `rltemp arena` takes them."""

_PLAIN, _LEARNED = "plain KD", "policy of shakespeare-agents"
_AGENTS = "shakespeare-agents"


def measure(seconds: float, recipe: Recipe | None = None) -> Section:
    """Updates of one student of a text under every method, and in the usual loop, which take turns.

    All of an update counts: the minibatch, both networks, the temperatures, the loss, its gradient and the step.

    Args:
        seconds: about how long the comparison may take.
        recipe: of a text; by default that of the arena, whose teacher is as it was initialized: how good it is makes
            no difference to the clock.
    """
    recipe = recipe or load_recipe("arena-shakespeare", {"teacher": {"epochs": 0}})
    task = build_task(recipe)
    starts = {name: _start_of(name, task, recipe) for name in METHODS}
    policy = _unlearned()
    starts[_LEARNED] = lambda: PolicyRun(task, [policy], [0], recipe.policy)
    plain = plain_updates(task, task.make_student(make_generator(0, "student")).to(task.device))
    calls = {_PLAIN: _calls(plain), **{name: _calls(_updates(start)) for name, start in starts.items()}}
    for call in calls.values():
        call()  # makes what an optimizer keeps, which is no update's own
    peaks = {name: peak_bytes(call) for name, call in calls.items()}
    times = interleave(calls, seconds)
    return Section(
        f"characters: updates of {task.instances} characters, one student",
        "of plain KD",
        tuple(Row.of(name, times[name], times[name] / times[_PLAIN]) for name in calls),
        peaks=tuple(Peak(name, peaks[name], peaks[name] / peaks[_PLAIN]) for name in calls),
        rate=("characters", task.instances),
    )


def _start_of(name: str, task: Task, recipe: Recipe) -> Callable[[], PolicyRun]:
    spec = parse_policy(name)
    return lambda: spec.start(task, [0], recipe.policy)


def _unlearned() -> LearnedPolicy:
    """A policy of the agents on texts before they learn: what weights it has makes no difference."""
    recipe = load_recipe(_AGENTS)
    features = LogitFeatures(recipe.policy.features)
    return LearnedPolicy(features, recipe.agent.hidden, **vars(recipe.policy.actions))


def _updates(start: Callable[[], PolicyRun]) -> Iterator[None]:
    """An update of one run after the other."""
    while True:
        whole = start()
        while not whole.run.finished:
            whole.advance()
            yield


def plain_updates(task: Task, student: Network, t: float = 4.0) -> Iterator[None]:
    """Updates of `student` at T = 4 and one learning rate, without end, as everybody writes them."""
    settings = task.optimization

    def loss(ours: Tensor, theirs: Tensor, targets: Tensor) -> Tensor:
        flat = ours.flatten(0, -2), theirs.flatten(0, -2)
        return plain_loss(*flat, targets, t, settings.ce_weight, settings.kd_weight)

    optimizer = make_optimizer(student.parameters(), settings)
    return plain_steps(_minibatches(task), task.teacher, student, optimizer, loss)


def _minibatches(task: Task) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows [S, L] and targets [S * L] of one student's minibatches, without end."""
    stream = task.minibatches([0])
    while True:
        batch = stream.draw()
        yield batch.images[0], batch.targets[0]


def _calls(stream: Iterator[None]) -> Callable[[], None]:
    return lambda: next(stream)
