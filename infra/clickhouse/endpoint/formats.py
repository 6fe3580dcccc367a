"""Output formats: their content types, and which of them can be sent block by block."""

from __future__ import annotations

_CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8",
    "TSVWithNames": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNamesAndTypes": "text/tab-separated-values; charset=UTF-8",
    "TSVWithNamesAndTypes": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "CSVWithNamesAndTypes": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONStrings": "application/json; charset=UTF-8",
    "JSONColumns": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "JSONLines": "application/x-ndjson; charset=UTF-8",
    "NDJSON": "application/x-ndjson; charset=UTF-8",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "Arrow": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
    "Parquet": "application/octet-stream",
}
_CONCATENABLE = frozenset(
    ("Native", "RowBinary", "TabSeparated", "TSV", "CSV", "JSONEachRow", "JSONLines", "NDJSON")
)
"""Blocks of these follow each other; all others repeat a header or an end for each block."""

DEFAULT = "TabSeparated"


def content_type(format: str) -> str:
    """The content type of a format."""
    if format in _CONTENT_TYPES:
        return _CONTENT_TYPES[format]
    binary = format.startswith(
        ("RowBinary", "Native", "Arrow", "Parquet", "ORC", "Avro", "MsgPack")
    )
    return "application/octet-stream" if binary else "text/plain; charset=UTF-8"


def is_concatenable(format: str) -> bool:
    """Whether a result can be sent as it is made."""
    return format in _CONCATENABLE
