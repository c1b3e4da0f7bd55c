"""The transfer planner: it performs no I/O and takes time and randomness as arguments."""
