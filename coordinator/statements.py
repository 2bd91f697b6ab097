"""Statements that are run for every report, built once: to build one takes longer than to run it.

`:run` is the run; the other parameters are named where a statement is made.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Executable, Table, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from coordinator.tables import entries, leases, members, reports

FILED = select(reports.c.key).where(
    reports.c.run == bindparam("run"), reports.c.key.in_(bindparam("keys", expanding=True))
)
ENTRIES_OF = (
    select(entries)
    .where(entries.c.run == bindparam("run"), entries.c.report.in_(bindparam("keys", expanding=True)))
    .order_by(entries.c.number)
)
ADD_ENTRIES = entries.insert()
CLOSE_LEASE = (
    update(leases).where(leases.c.run == bindparam("run_"), leases.c.id == bindparam("lease")).values(open=False)
)
CREDIT = (
    update(members)
    .where(members.c.run == bindparam("run_"), members.c.id == bindparam("member"))
    .values(
        counted=members.c.counted + bindparam("more_counted"),
        rejected=members.c.rejected + bindparam("more_rejected"),
        holds=bindparam("held"),
    )
)


@cache
def put(dialect: str, table: Table, columns: tuple[str, ...]) -> Executable:
    """Insert a row that has these columns, or replace the one with its key."""
    statement: Any = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {name: statement.excluded[name] for name in columns if name not in keys}
    upsert: Executable = (
        statement.on_conflict_do_update(index_elements=keys, set_=changed)
        if changed
        else statement.on_conflict_do_nothing()
    )
    return upsert
