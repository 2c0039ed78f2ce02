"""Parquet tables as dictionaries, one a row."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .atomic import atomic_write

Row = dict[str, Any]


def write_rows(path: Path, rows: Sequence[Row], schema: pa.Schema) -> None:
    """Writes a table; raises DynamicIDError as ``atomic_write``."""
    write_table(path, pa.Table.from_pylist(list(rows), schema=schema))


def write_table(path: Path, table: pa.Table) -> None:
    """Writes a table; raises DynamicIDError as ``atomic_write``."""
    with atomic_write(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read_rows(path: Path, columns: Sequence[str] | None = None) -> list[Row]:
    """A table, or some of its columns, as one dictionary a row."""
    return read_table(path, columns).to_pylist()


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A table, or some of its columns."""
    return pq.ParquetFile(path).read(columns=list(columns) if columns else None)


def read_rows_where(path: Path, column: str, values: Sequence[Any]) -> list[Row]:
    """The rows that have one of these values; the others never become Python objects."""
    table = read_table(path)
    wanted = pa.array(values, type=table.schema.field(column).type)
    return table.filter(pc.field(column).isin(wanted)).to_pylist()
