"""What a comparison of detectors consists of: a teacher, and a policy on a student, finished and kept one by one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import safetensors.torch

from rltemp.errors import DivergenceError, InputError, first_line
from rltemp.experiments.arena.store import ResultStore
from rltemp.experiments.detection.judgement import DetectionResult
from rltemp.experiments.detection.precision import Precision, average_precision
from rltemp.experiments.detection.tasks import DetectionData, Setting, TaskName, make_detector
from rltemp.experiments.detection.training import distill, train_teacher
from rltemp.experiments.evaluation.specs import PolicySpec
from rltemp.files import atomic_write
from rltemp.networks.checkpoints import load_checkpoint
from rltemp.objectives.method import Method
from rltemp.progress import Progress
from rltemp.seeding import make_generator

__all__ = ["DetectionRun", "check_specs"]

_FORMAT = 1
"""Rises when a unit of the same name would come to another result."""


def check_specs(specs: Sequence[PolicySpec]) -> None:
    """Refuse what has no meaning for detectors.

    Raises:
        InputError: for whole methods of papers, policies that need a probe, and weights of the labels.
    """
    for spec in specs:
        if spec.name.startswith("preset("):
            raise InputError(f"policies must be rules or trained policies for detectors, got {spec.label}")
        if spec.needs_alignment:
            raise InputError(f"policies must need no probe for detectors, which have none, got {spec.label}")
        if spec.weights.get("ce_weight", 1.0) != 1.0 or spec.make(0).weighs_labels:
            raise InputError(f"policies must leave torchvision's own losses as they are, got ce_weight of {spec.label}")


class DetectionRun:
    """Work on one task, of which what is done is kept.

    Args:
        task: name of the task.
        data: its data.
        setting: how teacher and students are made and trained.
        store: of the results; the teacher's weights lie beside them.
    """

    def __init__(self, task: TaskName, data: DetectionData, setting: Setting, store: ResultStore) -> None:
        self.data, self.setting, self._store = data, setting, store
        pixels = hashlib.sha256(data.training.images.numpy().tobytes()).hexdigest()
        self._words = [_FORMAT, task, pixels, dataclasses.asdict(setting)]
        self._trained: Any = None

    def done(self, spec: PolicySpec, seed: int) -> bool:
        """Whether a student's result is kept."""
        return self._store.find(self._key(spec.name, seed)) is not None

    def teacher_precision(self) -> Precision:
        """What the teacher reaches on the test images."""
        key = self._key("teacher", 0)
        if (kept := self._store.find(key)) is None:
            kept = average_precision(self._teacher(), self.data.test)._asdict()
            self._store.keep(key, kept)
        return Precision(**kept)

    def results(self, specs: Sequence[PolicySpec], seeds: Sequence[int], progress: Progress) -> list[DetectionResult]:
        """Every policy on every student, student by student; progress advances by one for each."""
        units: dict[str, list[dict[str, Any]]] = {spec.name: [] for spec in specs}
        for seed in seeds:
            for spec in specs:
                units[spec.name].append(self._unit(spec, seed))
                progress.advance()
        return [_gather(spec, units[spec.name]) for spec in specs]

    def seconds(self, specs: Sequence[PolicySpec], seeds: Sequence[int]) -> float:
        """Mean time of the students that are done; NaN if none is."""
        kept = [self._store.find(self._key(spec.name, seed)) for spec in specs for seed in seeds]
        times = [unit["seconds"] for unit in kept if unit is not None]
        return float(np.mean(times)) if times else float("nan")

    def _unit(self, spec: PolicySpec, seed: int) -> dict[str, Any]:
        key = self._key(spec.name, seed)
        if (kept := self._store.find(key)) is None:
            kept = self._measure(spec, seed)
            self._store.keep(key, kept)
        return kept

    def _measure(self, spec: PolicySpec, seed: int) -> dict[str, Any]:
        teacher, start = self._teacher(), time.monotonic()
        method = spec.loss(Method(kd_weight=self.setting.weight))
        try:
            student = distill(self.data.training, teacher, spec.make(seed), method, self.setting, seed)
        except DivergenceError as error:
            return {"trouble": first_line(error), "seconds": time.monotonic() - start}
        test = average_precision(student, self.data.test)
        validation = average_precision(student, self.data.validation)
        return {**test._asdict(), "validation_ap": validation.ap, "seconds": time.monotonic() - start}

    def _teacher(self) -> Any:
        if self._trained is None:
            path = self._store.folder / f"{self._key('teacher', 0)}.safetensors"
            if path.exists():
                self._trained = make_detector(self.data.training, self.setting.teacher_width, make_generator(0)).eval()
                load_checkpoint(self._trained, path)
            else:
                self._trained = train_teacher(self.data.training, self.setting)
                path.parent.mkdir(parents=True, exist_ok=True)
                atomic_write(path, safetensors.torch.save(self._trained.state_dict()))
        return self._trained

    def _key(self, name: str, seed: int) -> str:
        words = json.dumps([*self._words, name, seed])
        return hashlib.sha256(words.encode()).hexdigest()[:16]


def _gather(spec: PolicySpec, units: Sequence[dict[str, Any]]) -> DetectionResult:
    def column(name: str) -> Any:
        return np.array([unit.get(name, np.nan) for unit in units])

    diverged = sum("trouble" in unit for unit in units)
    return DetectionResult(spec.label, spec.family, column("ap"), column("ap50"), column("validation_ap"), diverged)
