"""A request of ClickHouse's HTTP interface, taken apart: statement, data, format, parameters."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from infra.clickhouse.endpoint.encoding import accepted, decoded
from infra.clickhouse.endpoint.formats import DEFAULT
from infra.clickhouse.endpoint.options import parameters_from
from infra.clickhouse.errors import ClickHouseError
from infra.clickhouse.guard import split_format

NOT_IMPLEMENTED = 48
SYNTAX_ERROR = 62


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client wants to know. `data` are rows that follow an INSERT in the address."""

    sql: str
    data: bytes
    format: str
    named: bool
    """The client named the format, in the statement or beside it."""
    database: str
    query: Mapping[str, str]
    parameters: Mapping[str, str]
    encoding: str | None
    query_id: str


async def read_ask(request: web.Request) -> Ask:
    """Takes a request apart. Raises `ClickHouseError` if it holds no statement."""
    query: dict[str, str] = dict(request.query)
    body = b""
    if request.content_type.startswith("multipart/"):
        query |= await _form(request)
    elif request.can_read_body:
        body = decoded(await request.read(), request.headers.get("Content-Encoding", ""))
    if _on(query, "compress") or _on(query, "decompress"):
        raise ClickHouseError(
            "compress=1 is ClickHouse's own block format, which is not spoken here; "
            "use enable_http_compression=1 and Accept-Encoding",
            NOT_IMPLEMENTED,
            "NOT_IMPLEMENTED",
        )
    text, data = _statement(query.get("query", ""), body)
    if not text.strip():
        raise ClickHouseError("Empty query", SYNTAX_ERROR, "SYNTAX_ERROR")
    statement = split_format(text)
    beside = query.get("default_format") or request.headers.get("X-ClickHouse-Format")
    compressed = _on(query, "enable_http_compression")
    return Ask(
        sql=statement.sql,
        data=data,
        format=statement.format or beside or DEFAULT,
        named=bool(statement.format or beside),
        database=query.get("database") or request.headers.get("X-ClickHouse-Database") or "",
        query=query,
        parameters=parameters_from(query),
        encoding=accepted(request.headers.get("Accept-Encoding", "")) if compressed else None,
        query_id=query.get("query_id") or str(uuid.uuid4()),
    )


def _statement(address: str, body: bytes) -> tuple[str, bytes]:
    """The statement and its data: one in the address makes the body its data, or its end."""
    if not address:
        address, body = "", body
    elif address.lstrip()[:6].upper() == "INSERT":
        return address, body
    try:
        text = body.decode()
    except UnicodeDecodeError:
        head, line, data = body.partition(b"\n")
        if head.lstrip()[:6].upper() == b"INSERT" and line:
            return head.decode(errors="replace"), data
        raise ClickHouseError("the statement is not UTF-8", SYNTAX_ERROR, "SYNTAX_ERROR") from None
    return (f"{address}\n{text}" if address and text else address or text), b""


async def _form(request: web.Request) -> dict[str, str]:
    """The text fields of a form, which long parameters are sent in."""
    fields = {}
    async for part in await request.multipart():
        if getattr(part, "filename", None) or not getattr(part, "name", None):
            raise ClickHouseError(
                "external data is not taken here", NOT_IMPLEMENTED, "NOT_IMPLEMENTED"
            )
        fields[str(part.name)] = await part.text()  # type: ignore[union-attr]
    return fields


def _on(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "0").lower() in ("1", "true")
