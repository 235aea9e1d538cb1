"""An agent that learns while its one student is trained: RLKD (Zhang 2024, arXiv 2407.00115), and its released form."""

from rltemp.agents.online.run import OnlineRun
from rltemp.agents.online.settings import AGENTS, Online, make_online

__all__ = ["AGENTS", "Online", "OnlineRun", "make_online"]
