"""The study of the general policy judges its arms on the tasks that they were trained on."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from rltemp.agents.selection import FIRST_SEED
from rltemp.distillation import DistillationRun, Task, score
from rltemp.experiments.studies import general
from rltemp.policies.artifact import load_policy, save_policy
from rltemp.temperatures import Temperatures


def test_an_arm_is_compared_with_t_4_task_by_task(tiny_task: Task, tmp_path: Path) -> None:
    hasty = dataclasses.replace(tiny_task, optimization=dataclasses.replace(tiny_task.optimization, lr=0.2))
    tasks = [tiny_task, hasty]
    trainings = general.Trainings(tmp_path / "general", 1, 2)
    (folder,) = trainings.folders("PPO on returns")
    assert folder.name == "ppo-on-returns-2-0"  # of one of another length, nothing is taken
    save_policy(load_policy("rltemp/general"), folder / "policy")
    (folder / "metrics.csv").write_text("rollout,diverged\n1,16.0\n2,0.0\n")
    head, _, usual, _, _, arm = general.of_training(["PPO on returns"], trainings, tasks).splitlines()
    assert head.count("|") == usual.count("|") == arm.count("|")

    wrong = []
    for task in tasks:
        run = DistillationRun(task, range(FIRST_SEED, FIRST_SEED + 4))
        while not run.finished:
            run.update(Temperatures.shared(torch.full((32,), 4.0)))
        wrong.append(100.0 - 100.0 * float(score(run.students, task.validation, task.augmentation).accuracy.mean()))
    assert float(usual.split("|")[2]) == pytest.approx(np.mean(wrong), abs=0.06)
    cells = [cell.strip() for cell in arm.split("|")]
    assert cells[1] == "PPO on returns"
    assert float(cells[3].split(" ")[0]) == pytest.approx(float(cells[2]) - np.mean(wrong), abs=0.11)
    assert cells[4:6] == ["", "12.5%"]


def test_an_arm_sees_the_features_that_it_names() -> None:
    whole = general.changed("general", "evolution", {}).policy.features
    seen = {arm: set(general.changed("general", arm, {}).policy.features) for arm in general.ARMS}
    assert set(whole) - seen["without classes"] == {"class_teacher_correct", "class_student_correct"}
    assert seen["instances alone"] | seen["batch alone"] == seen["without classes"]
    assert seen["instances alone"] & seen["batch alone"] == seen["progress alone"] == {"progress"}
    assert all(seen[arm] == set(whole) for arm in ("temperature alone", "PPO on returns", "descent"))
    assert general.changed("general-kd", "labels weighed", {"agent.seed": 3}).agent.seed == 3


def test_trainings_that_were_not_asked_for_are_not_judged(tmp_path: Path) -> None:
    for seed in range(4):
        (tmp_path / "general" / f"evolution-885-{seed}" / "policy").mkdir(parents=True)
    option, named = general._to_judge("evolution", general.Trainings(tmp_path / "general", 3, 885))
    assert option == "--trainings"
    name, _, pattern = named.partition("=")
    assert name == "evolution"
    found = sorted(path.parent.name for path in tmp_path.glob(str(Path(pattern).relative_to(tmp_path))))
    assert found == ["evolution-885-0", "evolution-885-1", "evolution-885-2"]
    alone = general._to_judge("evolution", general.Trainings(tmp_path / "general", 1, 885))
    assert alone == ("--policy", str(tmp_path / "general" / "evolution-885-0" / "policy"))
