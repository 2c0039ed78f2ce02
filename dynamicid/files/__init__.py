"""Files, for every other room: atomic writes, digests, decoding pictures, tables, HTML pages, and skipped files."""
