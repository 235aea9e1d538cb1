"""Work on a cluster of Ray's: units are its tasks, what many of them need is an object of it, one on each machine."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from rltemp.errors import InputError, first_line
from rltemp.experiments.engines.away import Away
from rltemp.experiments.engines.engine import Engine, Failure, Prepare, Team
from rltemp.experiments.engines.home import Home
from rltemp.experiments.engines.workplace import Leave

__all__ = ["OnRay", "cause", "require_ray"]

_TRIES = 4
"""Of a unit whose machine or process is lost, or lacks something that another may have."""

_SUBMITTED = 1000
"""Units that Ray knows of at a time: enough for it to see what machines are wanted, few enough to watch."""


class OnRay(Engine):
    """The cluster that this process is connected to, $RAY_ADDRESS names or was begun here; else this machine.

    Args:
        count: most units side by side; None for as many as the cluster has room for.
        cpus: of each unit.
        gpus: of each unit; several share one by fractions.
    """

    def __init__(self, count: int | None = None, cpus: float = 1.0, gpus: float = 0.0) -> None:
        self._count = count
        self.needs = {"num_cpus": cpus, "num_gpus": gpus}

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """Ray, connected to the cluster for the time of the block.

        Raises:
            InputError: without Ray, or without a machine in its cluster that has what a unit needs.
        """
        ray = require_ray()
        with _connected(ray, self._count):
            _check_room(ray, *self.needs.values())
            yield ray

    @contextmanager
    def team(self, prepare: Prepare[Any, Any], root: str, leave: Leave) -> Iterator[Team]:
        """As in `Engine`; it is that of `connected` as well."""
        with self.connected() as ray:
            here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                ray.get_runtime_context().get_node_id(), soft=False
            )
            options = {"num_cpus": 0, "scheduling_strategy": here, "max_restarts": -1, "max_task_retries": -1}
            home = ray.remote(Home).options(**options).remote(os.path.abspath(root), leave, _share)
            crew = _Crew(ray.put(prepare), home, leave)
            retried = [OSError, MemoryError, torch.OutOfMemoryError]
            do = ray.remote(_do).options(**self.needs, max_retries=_TRIES - 1, retry_exceptions=retried)
            try:
                yield _Cluster(ray, lambda unit: do.remote(crew, unit), self._count or _SUBMITTED)
            finally:
                ray.kill(home)


class _Cluster:
    def __init__(self, ray: Any, begin: Callable[[Any], Any], most: int) -> None:
        self._ray, self._begin, self._most = ray, begin, most

    def results(self, units: Sequence[Any], /) -> Iterator[tuple[Any, Any]]:
        """As in `Team`."""
        waiting, running = deque(units), dict[Any, Any]()
        try:
            while waiting or running:
                while waiting and len(running) < self._most:
                    unit = waiting.popleft()
                    running[self._begin(unit)] = unit
                (done,), _ = self._ray.wait(list(running), num_returns=1)
                yield running.pop(done), self._outcome(done)
        finally:
            for reference in running:  # nobody waits for what they are at
                self._ray.cancel(reference, force=True)

    def _outcome(self, done: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(done)
        except errors.RayTaskError as error:
            raised = cause(error)
            raised.__cause__ = RuntimeError(str(error))
            return Failure.of(raised)
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError) as error:
            return Failure(f"{_TRIES} processes each died of it, or their machines did ({type(error).__name__})")
        except errors.RayError as error:
            return Failure(f"{type(error).__name__}: {first_line(error)}")


@dataclass(frozen=True)
class _Crew:
    """What the workers of a team have in common; the same in every process.

    Attributes:
        prepare: the object of what each begins with.
        home: the actor that answers for the folder of all runs.
        leave: what recipes may do.
    """

    prepare: Any
    home: Any
    leave: Leave


_prepared: tuple[Any, Callable[[Any], Any]] | None = None
"""What this worker process is ready for: Ray gives the same process many units, one after the other."""


def _do(crew: _Crew, unit: Any) -> Any:
    """Do a unit in a process of Ray's."""
    global _prepared
    if _prepared is None or _prepared[0] != crew.prepare:
        import ray

        # As in all workers: sums over several threads round otherwise.
        torch.set_num_threads(1)
        _prepared = crew.prepare, ray.get(crew.prepare)(Away(_RayLine(crew.home), crew.leave))
    return _prepared[1](unit)


class _RayLine:
    def __init__(self, home: Any) -> None:
        self._home = home

    def ask(self, question: str, /, *arguments: Any) -> Any:
        import ray

        try:
            answer = ray.get(getattr(self._home, question).remote(*arguments))
            return ray.get(answer.reference) if isinstance(answer, _Shared) else answer
        except ray.exceptions.RayTaskError as error:
            raise cause(error) from None


@dataclass(frozen=True)
class _Shared:
    """A value as an object of Ray's, which comes once to each machine."""

    reference: Any


def _share(value: Any) -> _Shared:
    import ray

    return _Shared(ray.put(value))


def cause(error: Any) -> Exception:
    """What was raised elsewhere, of the error that Ray raises here."""
    raised = error.cause
    return raised if isinstance(raised, Exception) else RuntimeError(str(error))


def require_ray() -> Any:
    """Ray.

    Raises:
        InputError: if it is not installed.
    """
    # It would pack the current folder and build an environment of it on every machine; theirs has rltemp already.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise InputError('--engine ray needs Ray: pip install "rltemp[scale]"') from error
    return ray


@contextmanager
def _connected(ray: Any, count: int | None) -> Iterator[None]:
    """Connected to a cluster, as before if this process is already."""
    if ray.is_initialized():
        yield
        return
    with _signals_as_they_are():
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            ray.init(address="auto", **quiet)
        except ConnectionError as error:
            if "RAY_ADDRESS" in os.environ:
                raise InputError(f"RAY_ADDRESS must be that of a cluster, got {os.environ['RAY_ADDRESS']}") from error
            ray.init(address="local", num_cpus=count, include_dashboard=False, **quiet)
    try:
        yield
    finally:
        ray.shutdown()


def _check_room(ray: Any, cpus: float, gpus: float) -> None:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        most = max((node.get("CPU", 0), node.get("GPU", 0)) for node in nodes)
        raise InputError(
            f"the cluster must have a machine with {cpus:g} CPUs and {gpus:g} GPUs for a unit, its largest has "
            f"{most[0]:g} and {most[1]:g}"
        )


@contextmanager
def _signals_as_they_are() -> Iterator[None]:
    """Ray answers SIGTERM in its own way from its start on; who called it has one already."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
