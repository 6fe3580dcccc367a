"""The columns that the sink writes, as Arrow types, and the values of events that lack them.

The tables themselves stand in `migrations/`; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

_STRUCTS = {
    "findings": [
        ("kind", pa.string()),
        ("start", pa.uint32()),
        ("end", pa.uint32()),
        ("recogniser", pa.string()),
        ("confidence", pa.float64()),
    ],
    "inferences": [
        ("task", pa.string()),
        ("label", pa.string()),
        ("confidence", pa.float64()),
        ("model", pa.string()),
        ("digest", pa.string()),
        ("latency_us", pa.uint64()),
    ],
    "citations": [
        ("marker", pa.uint32()),
        ("document_id", pa.string()),
        ("passage", pa.uint32()),
        ("score", pa.float64()),
    ],
}
_TIME = pa.timestamp("us", "UTC")
_UUID = pa.binary(16)
_MONEY = pa.decimal128(18, 9)

EVENT_COLUMNS: Mapping[str, pa.DataType] = {
    "tenant_id": pa.string(),
    "conversation_id": pa.string(),
    "seq": pa.uint64(),
    "event_type": pa.string(),
    "event_id": _UUID,
    "occurred_at": _TIME,
    "command_id": _UUID,
    "causation_id": pa.string(),
    "correlation_id": pa.string(),
    "traceparent": pa.string(),
    "actor": pa.string(),
    "subject": pa.string(),
    "mid": pa.string(),
    "message_seq": pa.uint64(),
    "analysis_seq": pa.uint64(),
    "turn_id": pa.string(),
    "attempt": pa.uint32(),
    "context_seqs": pa.list_(pa.uint64()),
    "deadline_at": _TIME,
    "owner_epoch": pa.int32(),
    "config_version": pa.string(),
    "prompt_version": pa.string(),
    "provider": pa.string(),
    "model": pa.string(),
    "degraded": pa.list_(pa.string()),
    "late": pa.bool_(),
    "findings": pa.list_(pa.struct(_STRUCTS["findings"])),
    "inferences": pa.list_(pa.struct(_STRUCTS["inferences"])),
    "citations": pa.list_(pa.struct(_STRUCTS["citations"])),
    "declined": pa.bool_(),
    "confidence": pa.float64(),
    "history_turns": pa.uint32(),
    "first_token_us": pa.uint64(),
    "duration_us": pa.uint64(),
    "input_tokens": pa.uint64(),
    "output_tokens": pa.uint64(),
    "cost_usd": _MONEY,
    "command": pa.string(),
    "code": pa.string(),
    "message": pa.string(),
    "retry_after_ms": pa.uint64(),
    "score": pa.int32(),
    "kafka_topic": pa.string(),
    "kafka_partition": pa.uint32(),
    "kafka_offset": pa.uint64(),
    "schema_id": pa.uint32(),
}
TEXT_COLUMNS: Mapping[str, pa.DataType] = {
    "tenant_id": pa.string(),
    "conversation_id": pa.string(),
    "seq": pa.uint64(),
    "message_seq": pa.uint64(),
    "event_type": pa.string(),
    "occurred_at": _TIME,
    "text": pa.string(),
    "retention_days": pa.uint16(),
    "kafka_offset": pa.uint64(),
}

Row = dict[str, Any]
"""Values by column. A column that is absent holds its type's empty value."""


def table_of(rows: Sequence[Row], columns: Mapping[str, pa.DataType]) -> pa.Table:
    """Rows as an Arrow table of exactly these columns.

    Raises `pyarrow.ArrowException` or `OverflowError` when a value does not fit its column.
    """
    arrays = {}
    for name, kind in columns.items():
        empty = _empty(kind)
        arrays[name] = pa.array([row.get(name, empty) for row in rows], kind)
    return pa.table(arrays)


def _empty(kind: pa.DataType) -> Any:
    if pa.types.is_string(kind):
        return ""
    if pa.types.is_list(kind):
        return ()
    if pa.types.is_boolean(kind):
        return False
    return Decimal(0) if pa.types.is_decimal(kind) else 0
