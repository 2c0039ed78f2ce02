"""Deterministic stand-ins for weight files that cannot be shipped: used by the tests, the benchmarks and the demo."""
