"""The URL parameters of a request: which settings a reader may bring, and up to what value."""

from __future__ import annotations

import re
from collections.abc import Mapping

from infra.clickhouse.errors import ClickHouseError
from infra.clickhouse.port import Value

SETTING_CONSTRAINT_VIOLATION = 452
UNKNOWN_SETTING = 115

TRANSPORT = frozenset(
    (
        *("query", "database", "default_format", "query_id", "user", "password", "quota_key"),
        *("session_id", "session_timeout", "session_check", "role", "stacktrace", "readonly"),
        *("buffer_size", "wait_end_of_query", "http_wait_end_of_query", "http_write_exception"),
        *("enable_http_compression", "http_zlib_compression_level", "compress", "decompress"),
        *("send_progress_in_http_headers", "http_headers_progress_interval_ms"),
        *(
            "cancel_http_readonly_queries_on_client_close",
            "client_protocol_version",
            "add_http_cors_header",
        ),
        *("http_response_buffer_size", "send_logs_level", "log_queries"),
    )
)
"""Parameters of the protocol and of connections. None of them reaches the engine.

Sessions hold nothing here, since a reader can't change anything in one.
"""
_FREE = re.compile(
    r"(?:output_format_|format_|date_time_|cast_|join_use_nulls|group_by_use_nulls|extremes|"
    r"limit|offset|final|max_block_size|preferred_block_size_bytes|session_timezone|"
    r"empty_result_for_aggregation_by_empty_set|aggregate_functions_null_for_empty|"
    r"union_default_mode|prefer_column_name_to_alias|any_join_distinct_right_table_keys|"
    r"enable_named_columns_in_function_tuple|result_overflow_mode|timeout_overflow_mode|"
    r"allow_experimental_analyzer|enable_analyzer|use_client_time_zone|"
    r"asterisk_include_|transform_null_in|decimal_check_overflow|optimize_|query_plan_)\w*"
)
"""Settings that change how an answer looks or how it is worked out, not what is in reach."""
_REFUSED = re.compile(
    r"format_schema|format_template|format_avro_schema|output_format_parquet_use_custom"
)
"""Of these, the ones that name files."""


def settings_from(query: Mapping[str, str], caps: Mapping[str, int]) -> dict[str, Value]:
    """The engine's settings in a URL, held below `caps`.

    Raises `ClickHouseError` for any other name: ignoring a setting would change an answer
    without a word.
    """
    settings: dict[str, Value] = dict(caps)
    for name, value in query.items():
        if name in TRANSPORT or name.startswith("param_"):
            continue
        if name in caps:
            settings[name] = _below(name, value, caps[name])
        elif _FREE.fullmatch(name) and not _REFUSED.match(name):
            settings[name] = value
        else:
            raise ClickHouseError(
                f"Setting {name} cannot be changed here; leave it out",
                SETTING_CONSTRAINT_VIOLATION,
                "SETTING_CONSTRAINT_VIOLATION",
            )
    return settings


def parameters_from(query: Mapping[str, str]) -> dict[str, str]:
    """The query parameters, without `param_` in front."""
    return {
        name.removeprefix("param_"): value
        for name, value in query.items()
        if name.startswith("param_")
    }


def _below(name: str, value: str, cap: int) -> int:
    try:
        wanted = int(float(value))
    except ValueError:
        raise ClickHouseError(
            f"Setting {name} takes a number", UNKNOWN_SETTING, "UNKNOWN_SETTING"
        ) from None
    # ClickHouse reads 0 as "no limit", which here means: as much as anyone gets.
    return min(wanted, cap) if wanted > 0 else cap
