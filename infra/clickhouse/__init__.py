"""ClickHouse: the embedded engine, a client for real servers, and the SQL endpoint on loopback.

What the tables hold is left to `sinks.clickhouse`.
"""
