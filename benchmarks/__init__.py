"""Measurements: ratios of runs interleaved in one process. ``python benchmarks/run.py --help``."""
