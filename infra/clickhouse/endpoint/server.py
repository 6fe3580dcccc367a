"""The listener: ClickHouse's HTTP interface on a port of this machine."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from infra.clickhouse.endpoint.access import Access, Reader, is_loopback
from infra.clickhouse.endpoint.ask import Ask, read_ask
from infra.clickhouse.endpoint.encoding import Encoder, encoder
from infra.clickhouse.endpoint.execution import Databases, Executor, Pieces, Quota
from infra.clickhouse.endpoint.formats import content_type
from infra.clickhouse.engine import Engine
from infra.clickhouse.errors import ClickHouseError
from infra.clickhouse.functions import allowed_functions

log = logging.getLogger(__name__)

REQUEST_BYTES_MAX = 64 * 1024 * 1024
_STATUS = {516: 403, 497: 403, 452: 403, 60: 404, 81: 404, 241: 500, 159: 500, 394: 500, 395: 500}
_READONLY, _CONSTRAINT = 164, 452


class SqlEndpoint:
    """Serves one engine until it is closed."""

    def __init__(
        self,
        engine: Engine,
        access: Access | None = None,
        databases: Databases | None = None,
        quota: Quota | None = None,
        concurrency: int = 8,
    ) -> None:
        """`concurrency` statements run at once; the next ones wait their turn."""
        self._engine = engine
        self._access = access or Access()
        with engine.handle() as handle:
            functions = allowed_functions(handle)
            self._version = handle.query("SELECT version()", "TSVRaw").body.decode().strip()
        self._executor = Executor(engine, functions, databases or Databases(), quota or Quota())
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="sql")
        self._killers = ThreadPoolExecutor(1, thread_name_prefix="sql-kill")
        self._runner: web.AppRunner | None = None
        self.port = 0

    def __repr__(self) -> str:
        return f"SqlEndpoint({self.port or 'closed'})"

    async def start(self, host: str = "127.0.0.1", port: int = 8123) -> None:
        """Listens; port 0 takes a free one, see `port`. Raises `OSError` if it is in use."""
        if self._access.open_on_loopback and not is_loopback(host):
            raise ValueError(
                f"{host} is open to others: set open_on_loopback=False and give tokens"
            )
        application = web.Application(client_max_size=REQUEST_BYTES_MAX)
        application.router.add_get("/ping", _ping)
        application.router.add_route("GET", "/", self._serve)
        application.router.add_route("POST", "/", self._serve)
        self._runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=2.0
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stops listening and ends what runs. May be called again."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        self._killers.shutdown(wait=True)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        query_id = request.query.get("query_id", "")
        try:
            reader = self._access.reader(request.headers, request.query)
            ask = await read_ask(request)
            query_id = ask.query_id
            return await self._answer(request, ask, reader)
        except ClickHouseError as error:
            return self._error(error, query_id)

    async def _answer(self, request: web.Request, ask: Ask, reader: Reader) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        pieces = Pieces(loop)
        marker = f"/* parley:{secrets.token_hex(8)} */ "
        running = loop.run_in_executor(
            self._threads, self._executor.run, ask, reader, marker, pieces
        )
        started = time.monotonic()
        try:
            first = await pieces.queue.get()
            if isinstance(first, ClickHouseError):
                raise first
            return await self._send(request, ask, first, pieces, started)
        finally:
            if not running.done():
                # The client left, or the sending failed: nobody reads what comes.
                await asyncio.shield(asyncio.ensure_future(self._end(running, pieces, marker)))

    async def _send(
        self,
        request: web.Request,
        ask: Ask,
        piece: bytes | None,
        pieces: Pieces,
        started: float,
    ) -> web.StreamResponse:
        tag = secrets.token_hex(8)
        response = web.StreamResponse(headers=self._headers(ask, tag, started))
        response.enable_chunked_encoding()
        await response.prepare(request)
        body: Encoder = encoder(ask.encoding)
        error: ClickHouseError | None = None
        while piece is not None:
            if encoded := body.encode(piece):
                await response.write(encoded)
            following = await pieces.queue.get()
            if isinstance(following, ClickHouseError):
                error, following = following, None
            piece = following
        tail = (body.encode(_trailer(error, tag)) if error else b"") + body.finish()
        if tail:
            await response.write(tail)
        if error:
            log.info("query %s failed on its way: %s", ask.query_id, error.name or error.code)
            if request.transport is not None:
                request.transport.close()  # without the last chunk the answer is visibly cut
            return response
        await response.write_eof()
        return response

    async def _end(self, running: asyncio.Future[None], pieces: Pieces, marker: str) -> None:
        """Kills a statement and drains what its thread still hands over."""
        loop = asyncio.get_running_loop()
        while not running.done():
            kill = loop.run_in_executor(self._killers, self._executor.kill, marker)
            while not pieces.queue.empty():
                pieces.queue.get_nowait()
            await asyncio.wait((running, kill), timeout=1.0, return_when="FIRST_COMPLETED")
            await asyncio.sleep(0.01)

    def _headers(self, ask: Ask, tag: str, started: float) -> dict[str, str]:
        elapsed_ns = int((time.monotonic() - started) * 1e9)
        headers = {
            "Content-Type": content_type(ask.format),
            "X-ClickHouse-Format": ask.format,
            "X-ClickHouse-Timezone": ask.query.get("session_timezone", "UTC"),
            "X-ClickHouse-Server-Display-Name": "parley",
            "X-ClickHouse-Query-Id": ask.query_id,
            "X-ClickHouse-Exception-Tag": tag,
            "X-ClickHouse-Summary": f'{{"elapsed_ns":"{elapsed_ns}"}}',
        }
        if ask.encoding:
            headers["Content-Encoding"] = ask.encoding
        return headers

    def _error(self, error: ClickHouseError, query_id: str) -> web.Response:
        # JDBC takes 164 for a broken host and stays away from it for minutes.
        code = _CONSTRAINT if error.code == _READONLY else error.code
        text = str(error)
        if not text.startswith("Code: "):
            text = f"Code: {code}. DB::Exception: {text}. ({error.name or 'UNKNOWN'})"
        if "(version " not in text:
            text = f"{text} (version {self._version})"
        headers = {"X-ClickHouse-Exception-Code": str(code), "X-ClickHouse-Query-Id": query_id}
        if code == 516:
            headers["WWW-Authenticate"] = 'Bearer realm="parley"'
        return web.Response(status=_STATUS.get(code, 400), text=text + "\n", headers=headers)


async def _ping(_: web.Request) -> web.Response:
    return web.Response(text="Ok.\n")


def _trailer(error: ClickHouseError, tag: str) -> bytes:
    """How ClickHouse reports an error behind half of a result."""
    message = str(error)
    if not message.startswith("Code: "):
        message = f"Code: {error.code}. DB::Exception: {message}"
    text = message.encode() + b"\n"
    return b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (
        tag.encode(),
        text,
        len(text),
        tag.encode(),
    )
