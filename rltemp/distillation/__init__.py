"""The KD run itself: students side by side, their teacher, their minibatches, and their scores."""

from rltemp.distillation.run import DistillationRun, ForwardPass
from rltemp.distillation.scores import Scores, score
from rltemp.distillation.students import LoopStudents, StackedStudents, Students
from rltemp.distillation.task import Task
from rltemp.distillation.teacher import Teacher

__all__ = [
    "DistillationRun",
    "ForwardPass",
    "LoopStudents",
    "Scores",
    "StackedStudents",
    "Students",
    "Task",
    "Teacher",
    "score",
]
