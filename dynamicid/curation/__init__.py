"""Curation: photos become training data of stage 2 in the VariFace layout (docs/data.md). No node needs this room.

    listing.py     stage 0: the photos of folders, tables of paths and WebDataset shards; what must not be listed again
    decoding.py    stage 1: size, checksum and perceptual hash of each photo; duplicates
    measuring.py   stage 2: face, landmarks, pose, light, embedding;   with quality.py and expressions.py
    people.py      stage 3: photos grouped by person;   choosing.py   the photos of each person that vary most
    grouping.py    groups of vectors above a threshold;   threshold.py   the threshold;   neighbours.py   the index
    portraits.py   stage 4: portraits, face prompts, landmark maps and shards
    stages.py      what each stage computes and what it depends on;   parts.py   the files of a stage
    curation.py    runs the stages in order;   cluster.py   on Ray, which no other file imports
    removal.py     removes people or photos from a finished data set;   report.py   one HTML file

The work of a stage is cut into parts. A part is a Parquet table with a record of what it was computed from; a part
whose record matches is not computed again (``parts.py``).
"""

from os import environ

# Ray reads these when it is imported. Usage statistics are off, and its servers listen on this machine only.
environ["RAY_USAGE_STATS_ENABLED"] = "0"
environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
