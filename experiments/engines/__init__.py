"""Who does units of work, and where: in this process, in several of this machine, or on a cluster of machines."""

from rltemp.experiments.engines.engine import Engine, Failure, Prepare, Team, refuse
from rltemp.experiments.engines.here import Here
from rltemp.experiments.engines.processes import Processes
from rltemp.experiments.engines.workplace import Leave, Workplace

__all__ = ["Engine", "Failure", "Here", "Leave", "Prepare", "Processes", "Team", "Workplace", "refuse"]
