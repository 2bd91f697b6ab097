"""The tables of `coordinator.tables` in a database, also in one that an earlier version made."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import DefaultClause, Engine, Table, inspect, text

from coordinator.tables import metadata
from swarm.errors import CorruptError


def make_tables(database: Engine) -> None:
    """Make the tables that are not there, and give the others the columns of this version. Raises CorruptError for
    those that a later version made.
    """
    metadata.create_all(database)
    changes = [change for table in metadata.sorted_tables for change in _changes(database, table)]
    with database.begin() as connection:
        for change in changes:
            connection.execute(text(change))


def _changes(database: Engine, table: Table) -> Iterator[str]:
    """A run that an earlier version began has tables with other columns; new ones have a default."""
    present = {item["name"] for item in inspect(database).get_columns(table.name)}
    if strange := sorted(present - set(table.columns.keys())):
        what = f"The run's table {table.name} has columns that this version does not know: {', '.join(strange)}."
        raise CorruptError(what, "A later version of garage-swarm led this run; upgrade it here. Nothing was changed.")
    for column in table.columns:
        if column.name not in present and isinstance(column.server_default, DefaultClause):
            kind = column.type.compile(database.dialect)
            default = column.server_default.arg
            yield f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind} NOT NULL DEFAULT '{default}'"
