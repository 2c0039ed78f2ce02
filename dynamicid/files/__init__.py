"""Files, for every other room: atomic writes, digests, decoding pictures, tables, and lists of what was skipped."""
