"""The ClickHouse projection: tables and views, rows of events, and the sink that writes them."""
