"""Semantic-Activated Attention (SAA) as pure tensor maths on q, k, v. No ComfyUI, no files (docs/method.md, SAA).

Legend: B batch, L image queries of a layer (height x width), H heads, C width, d = C / H, N identities,
K identity tokens of all people together (padded to a multiple of 8), R chunks of a batch that share their tokens.
"""
