"""Curation: collections of photos become a VariFace of one's own (dynamicid.md, section 6). No node needs this.

    listing.py     which photos there are: folders, tables of paths, WebDataset shards
    reading.py     one photo's pixels, from files that nobody vouches for
    decoding.py    stage 1: size, checksum and perceptual hash of each photo;   duplicates.py   the same picture twice
    measuring.py   stage 2: face, landmarks, pose, expression, light, embedding, quality;   emotion_model.py   words
    people.py      stage 3: who is who;   selection.py, choosing.py   which photos of each spread widest
    portraits.py   stage 4: crops, face prompts, landmark maps and shards
    curation.py    the stages in their order;   cluster.py   Ray, the only place that knows it
    removal.py     takes a person or a photo out again;   report.py   one HTML file

A stage's work is cut into parts. A part is a Parquet table that is either whole or not there, with a record beside it
of what it was made from; a finished part is never made again (``parts.py``).
"""
