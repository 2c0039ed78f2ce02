"""Lines that tests add to the end of the run, whichever process ran them."""

import pytest

NOTES = pytest.StashKey[dict[str, str]]()
"""Of ``config.stash``: name -> text."""
