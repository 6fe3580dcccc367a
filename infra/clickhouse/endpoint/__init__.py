"""ClickHouse's HTTP interface over the embedded engine, for the clients that people already have.

It reads only, except for the installation's own processes. Who sees what is decided in `access`,
what a statement may do in `infra.clickhouse.guard`.
"""

from infra.clickhouse.endpoint.access import Access, Reader, Role
from infra.clickhouse.endpoint.execution import Databases, Quota
from infra.clickhouse.endpoint.server import SqlEndpoint

__all__ = ["Access", "Databases", "Quota", "Reader", "Role", "SqlEndpoint"]
