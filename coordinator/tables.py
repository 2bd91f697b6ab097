"""The tables of the store. Every row belongs to a run; positions and rounds are 64-bit."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()

# SQLite numbers rows by itself only in an INTEGER column.
_Serial = BigInteger().with_variant(Integer, "sqlite")


def _run(primary: bool = True) -> Column[str]:
    return Column("run", String(64), primary_key=primary, nullable=False)


members = Table(
    "members",
    metadata,
    _run(),
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("version", Text, nullable=False),
    Column("credit", Text, nullable=False),
    Column("last_seen", Float(53), nullable=False),
    Column("live", Boolean, nullable=False),
    Column("first_lease", BigInteger, nullable=False),
    Column("counted", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("invite", String(64), nullable=False, server_default=""),
    Column("session", String(64), nullable=False, server_default=""),
    Column("holds", BigInteger, nullable=False, server_default="0"),
    Column("since", Float(53), nullable=False, server_default="0"),
    Column("away_round", BigInteger, nullable=False, server_default="0"),  # 0 is no absence
    Column("away_since", Float(53), nullable=False, server_default="0"),
    Column("away_until", Float(53), nullable=False, server_default="0"),
)

# Times are Unix seconds, 0 is never.
invites = Table(
    "invites",
    metadata,
    _run(),
    Column("token_sha256", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("made_at", Float(53), nullable=False),
    Column("expires_at", Float(53), nullable=False),
    Column("revoked_at", Float(53), nullable=False),
    Column("note", Text, nullable=False),
    Column("slots", BigInteger, nullable=False, server_default="0"),
    Column("weight", Float(53), nullable=False, server_default="0"),
)

bans = Table(
    "bans",
    metadata,
    _run(),
    Column("key", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("banned_at", Float(53), nullable=False),
)

# What spot checks said of a key; see coordinator.records.Trust.
trust = Table(
    "trust",
    metadata,
    _run(),
    Column("key", String(64), primary_key=True),
    Column("evidence", Float(53), nullable=False),
    Column("clean", BigInteger, nullable=False),
    Column("made", BigInteger, nullable=False),
    Column("condemned", BigInteger, nullable=False),
    Column("proven", Boolean, nullable=False),
    Column("at", Float(53), nullable=False),
    Column("why", Text, nullable=False),
    Column("trusted_by", String(64), nullable=False),
)

leases = Table(
    "leases",
    metadata,
    _run(),
    Column("id", String(64), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("member", String(64), nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("stop", BigInteger, nullable=False),
    Column("deadline", Float(53), nullable=False),
    Column("open", Boolean, nullable=False),
)

# The ledger: what became of a range. `report` is the fingerprint of the report that said so, if one did.
entries = Table(
    "entries",
    metadata,
    Column("number", _Serial, primary_key=True, autoincrement=True),
    _run(primary=False),
    Column("start", BigInteger, nullable=False),
    Column("stop", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("round", BigInteger, nullable=False),
    Column("member", String(64), nullable=False),
    Column("lease", String(64), nullable=False),
    Column("why", Text, nullable=False),
    Column("report", String(64), nullable=False),
    Index("entries_by_round", "run", "round"),
    Index("entries_by_report", "run", "report"),
)

reports = Table(
    "reports",
    metadata,
    _run(),
    Column("key", String(64), primary_key=True),
    Column("member", String(64), nullable=False),
    Column("round", BigInteger, nullable=False),
)

# One member's digest and metrics of one finished round; `agreed` when that is the run's state. Of rounds from before
# that was kept, one member's word was enough.
votes = Table(
    "votes",
    metadata,
    _run(),
    Column("round", BigInteger, primary_key=True),
    Column("member", String(64), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("swarm_samples", BigInteger, nullable=False),
    Column("global_samples", BigInteger, nullable=False),
    Column("group_size", Integer, nullable=False),
    Column("own_samples", BigInteger, nullable=False),
    Column("loss", Float(53)),
    Column("compute_seconds", Float(53), nullable=False),
    Column("exchange_seconds", Float(53), nullable=False),
    Column("bytes_sent", BigInteger, nullable=False),
    Column("bytes_received", BigInteger, nullable=False),
    Column("finished_at", Float(53), nullable=False),
    Column("agreed", Boolean, nullable=False, server_default="1"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    _run(),
    Column("round", BigInteger, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("global_samples", BigInteger, nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("uploaded_by", String(64), nullable=False),
    Column("approved_by", String(64), nullable=False, server_default=""),
    Column("approved_why", Text, nullable=False, server_default=""),
)

# What the maintainer decided about the run; see coordinator.steering. One row, once something was decided.
steering = Table(
    "steering",
    metadata,
    _run(),
    Column("course", String(16), nullable=False),
    Column("why", Text, nullable=False),
    Column("by", String(64), nullable=False),
    Column("at", Float(53), nullable=False),
)

# What was measured on the state of a round; `metrics` is a JSON object, numbers by name, `samples` a JSON list of pairs
# of a prompt and a text.
evaluations = Table(
    "evaluations",
    metadata,
    _run(),
    Column("round", BigInteger, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("heldout_loss", Float(53), nullable=False),
    Column("metrics", Text, nullable=False),
    Column("evaluated_by", String(64), nullable=False),
    Column("samples", Text, nullable=False, server_default="[]"),
)

# Who may make a round, where a part of the swarm had to ask; `members` is a JSON list of ids.
grants = Table(
    "grants",
    metadata,
    _run(),
    Column("round", BigInteger, primary_key=True),
    Column("members", Text, nullable=False),
)

# Every time that the run went back: leases numbered below `first_lease` belong to what was undone, but those of the
# `spared` members, a JSON list.
returns = Table(
    "returns",
    metadata,
    _run(),
    Column("first_lease", BigInteger, primary_key=True),
    Column("round", BigInteger, primary_key=True),
    Column("spared", Text, nullable=False, server_default="[]"),
)

# Every time that the run went back by rule, or was stopped instead.
rollbacks = Table(
    "rollbacks",
    metadata,
    _run(),
    Column("number", BigInteger, primary_key=True),
    Column("place", BigInteger, nullable=False),
    Column("back_to", BigInteger, nullable=False),
    Column("again", Integer, nullable=False),
    Column("why", Text, nullable=False),
    Column("halted", Boolean, nullable=False),
    Column("told_by", String(64), nullable=False),
)

# What was decided, in words; `kind` tells apart what the page shows.
log = Table(
    "log",
    metadata,
    Column("number", _Serial, primary_key=True, autoincrement=True),
    _run(primary=False),
    Column("at", Float(53), nullable=False),
    Column("text", Text, nullable=False),
    Column("kind", String(32), nullable=False, server_default=""),
)
