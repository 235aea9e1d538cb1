"""Speed as ratios inside one run: what a machine and its load do to times, they do to both sides.

One file per measurement, each with a function `measure(seconds, ...) -> Section`.
"""
