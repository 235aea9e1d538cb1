"""The KD run itself: students side by side, their teacher, their minibatches, their scores."""

from rltemp.distillation.record import TeacherRecord
from rltemp.distillation.run import DistillationRun, Observation
from rltemp.distillation.scores import Scores, score
from rltemp.distillation.students import LoopStudents, StackedStudents, Students
from rltemp.distillation.task import Task, build_task

__all__ = [
    "DistillationRun",
    "LoopStudents",
    "Observation",
    "Scores",
    "StackedStudents",
    "Students",
    "Task",
    "TeacherRecord",
    "build_task",
    "score",
]
