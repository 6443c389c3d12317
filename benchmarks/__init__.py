"""Benchmarks: each prints its figure, its floor and their ratio, measured in turns within one run."""
