"""Atomic writes, digests, decoding of pictures, and lists of what was skipped."""
