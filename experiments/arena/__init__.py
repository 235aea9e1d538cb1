"""Policies judged on tasks, conditions and lengths, beside references that had as much as they."""
