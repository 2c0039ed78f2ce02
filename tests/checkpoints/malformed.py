"""Many ways to spoil a SAA file.

``MALFORMED`` maps a name to a function that writes a spoilt file into a folder and returns its path ("missing" writes
none, "folder" makes a folder). ``EXPECTED_TEXT`` holds what the refusal must say. Code in a pickle, were it run, would
make the folder ``CANARY`` beside the file.
"""

from . import malformed_containers, malformed_contents
from .malformed_registry import CANARY, EXPECTED_TEXT, MALFORMED

SOURCES = (malformed_containers, malformed_contents)

__all__ = ["CANARY", "EXPECTED_TEXT", "MALFORMED"]
