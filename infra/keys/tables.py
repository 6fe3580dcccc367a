"""The tables of the key store. What is written there, and when, is up to `store`."""

from __future__ import annotations

import sqlalchemy as sa

STORE_VERSION = 1

METADATA = sa.MetaData()

STORE = sa.Table(
    "key_store",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
)
"""One row. `generation` counts erasures; who erases holds its lock, so numbers commit in order."""

SUBJECTS = sa.Table(
    "subjects",
    METADATA,
    sa.Column("tenant_id", sa.String(63), primary_key=True),
    sa.Column("subject", sa.String(64), primary_key=True),
    sa.Column("lookup", sa.LargeBinary(32), nullable=False),
    sa.Column("hmac_key", sa.LargeBinary, nullable=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("erased_at", sa.BigInteger, nullable=True),
    sa.UniqueConstraint("tenant_id", "lookup"),
)
"""One row per person and tenant; a row with `erased_at` (seconds since 1970) is a tombstone."""

DATA_KEYS = sa.Table(
    "data_keys",
    METADATA,
    sa.Column("tenant_id", sa.String(63), primary_key=True),
    sa.Column("subject", sa.String(64), primary_key=True),
    sa.Column("month", sa.String(7), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Index("data_keys_by_month", "tenant_id", "month"),
)
"""Wrapped data keys. The platform's own key has no tenant and no month."""

ERASURES = sa.Table(
    "erasures",
    METADATA,
    sa.Column("generation", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("tenant_id", sa.String(63), nullable=False),
    sa.Column("subject", sa.String(64), nullable=True),
    sa.Column("before_month", sa.String(7), nullable=True),
    sa.Column("erased_at", sa.BigInteger, nullable=False),
    sa.Index("erasures_by_tenant", "tenant_id", "before_month"),
)
"""What was erased, in order: a subject, or all months of a tenant before one."""
