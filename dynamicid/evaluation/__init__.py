"""How well pictures show the people, expressions and poses that were asked for; see docs/evaluation.md.

A benchmark (``benchmark-1.json``) says what is to be painted: an item is one picture with one to three subjects, a
subject is a slot for a person with a box, an expression and a pose. Pictures are told by ``<item>_<seed>.png``.
Nothing here knows how a picture was painted.
"""
