"""Text files that people write, from any editor or Excel: UTF-8 with or without a byte-order mark, any line ends."""

import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

_MARKS = {
    b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16",
}  # fmt: skip
_SEPARATORS = ",;\t|"
_EXCELS_SEPARATOR = re.compile(r'"?sep=([^\n])"?\n', re.IGNORECASE)


class NotUTF8(ValueError):
    """A text in another encoding; the message names it where it is known."""


def read_text(path: Path) -> str:
    """The content of a text file.

    Raises:
        OSError: It cannot be read.
        NotUTF8: As ``decode_text``.
    """
    return decode_text(path.read_bytes())


def decode_text(content: bytes) -> str:
    """UTF-8, with or without a byte-order mark, as text; line ends become newlines.

    Raises:
        NotUTF8: It is UTF-16 or UTF-32 (Windows PowerShell and Excel's "Unicode text" write these), or something else.
    """
    other = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
    if other is None and b"\0" in content:
        other = "UTF-16"
    if other is not None:
        raise NotUTF8(f"{other} instead of UTF-8")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise NotUTF8(f"another encoding than UTF-8, at byte {error.start}") from error


class TextTable(NamedTuple):
    """columns: Names in lower case. separator: The character between them. rows: Values by column."""

    columns: list[str]
    separator: str
    rows: list[dict[str, str]]


def parse_table(text: str, needed: str) -> TextTable:
    """A table of a CSV or TSV file; capitals and spaces around column names, and empty rows, do not count.

    The separator is the one that a first line ``sep=;`` names (Excel), else the one of comma, semicolon, tab and bar
    by which the first line has the column ``needed``, else by which it has most columns.

    Raises:
        csv.Error: A broken table.
    """
    given = _EXCELS_SEPARATOR.match(text)
    text = text[given.end() :] if given else text
    headers = {separator: _header(text, separator) for separator in (given[1] if given else _SEPARATORS)}
    separator = max(headers, key=lambda separator: (needed in headers[separator], len(headers[separator])))
    columns = headers[separator]
    lines = list(csv.reader(io.StringIO(text), delimiter=separator))[1:]
    values = ([value.strip() for value in line] for line in lines)
    return TextTable(columns, separator, [dict(zip(columns, line, strict=False)) for line in values if any(line)])


def _header(text: str, separator: str) -> list[str]:
    first = next(csv.reader(io.StringIO(text), delimiter=separator), [])
    return [column.strip().lower() for column in first]
