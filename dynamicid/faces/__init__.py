"""Faces: finding and choosing them, their landmarks, their prompts, and files that hold them."""
