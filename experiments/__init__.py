"""What a person runs: the command line, evaluation, statistics, reports."""
