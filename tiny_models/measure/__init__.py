"""Measures the tiny models on held-out drawn people."""
