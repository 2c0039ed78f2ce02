"""The command line, ``python -m dynamicid``. Nothing in the pack's nodes imports it."""
