"""How well pictures show the people, expressions and poses that were asked for; see docs/evaluation.md.

A benchmark (``benchmark-1.json``) lists what is to be painted: an item is one picture with one to three subjects, a
subject is a slot for a person with a box, an expression and a pose. A picture's file name is ``<item>_<seed>.png``.
Scoring depends on the pictures alone, not on how they were painted.
"""
