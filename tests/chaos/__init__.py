"""Random faults, by a plan that a seed repeats, in swarms of real processes: `python -m tests.chaos`."""
