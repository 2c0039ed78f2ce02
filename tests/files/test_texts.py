"""Texts and tables as editors and Excel write them."""

from pathlib import Path

import pytest

from dynamicid.files.texts import NotUTF8, decode_text, parse_table, read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_utf_8_is_read_with_and_without_its_mark(encoding: str, end: str, tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(f"für 愛{end}b".encode(encoding))
    assert read_text(tmp_path / "a.txt") == "für 愛\nb"


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-16", "UTF-16"), ("utf-16-le", "UTF-16"), ("utf-16-be", "UTF-16"), ("utf-32", "UTF-32"),
        ("cp1252", "another encoding than UTF-8, at byte 1"),
    ],
)  # fmt: skip
def test_other_encodings_are_named(encoding: str, name: str):
    with pytest.raises(NotUTF8, match=name):
        decode_text("für".encode(encoding))


@pytest.mark.parametrize(
    "text",
    [
        "path,person\na.png,Ann\n",
        "path;person\na.png;Ann\n",
        "Path\tPERSON\na.png\tAnn",
        " path | Person \na.png | Ann\n",
        'sep=;\n"Path";"Person"\na.png;Ann\n',
        "path;person (last, first, middle)\na.png;Ann\n",
        "\nname;path\nAnn;a.png\n"[1:],
        "path;person;;\na.png;Ann;;\n;;;\n",
    ],
)
def test_separators_and_headers_of_any_program(text: str):
    table = parse_table(text, "path")
    assert "path" in table.columns
    assert [row["path"] for row in table.rows] == ["a.png"]
    assert "Ann" in table.rows[0].values()


def test_quoted_values_and_short_rows():
    table = parse_table('path,person,consent\n"a, b.png","Ann ""A"" B"\nc.png\n', "path")
    assert table.rows == [{"path": "a, b.png", "person": 'Ann "A" B'}, {"path": "c.png"}]
    assert parse_table("", "path").columns == []
    assert parse_table("path\na.png\n", "path").rows == [{"path": "a.png"}]
