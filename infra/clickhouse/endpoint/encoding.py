"""Compression of bodies, as `Accept-Encoding` and `Content-Encoding` ask for it."""

from __future__ import annotations

import zlib
from typing import Any, Protocol

import pyarrow as pa

from infra.clickhouse.errors import ClickHouseError

_ARROW_CODECS = {"zstd": "zstd", "lz4": "lz4", "gzip": "gzip", "br": "brotli"}
OFFERED = (*_ARROW_CODECS, "deflate")
UNKNOWN_COMPRESSION_METHOD = 89


class Encoder(Protocol):
    """Turns the pieces of a body into compressed pieces."""

    def encode(self, piece: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


def accepted(header: str) -> str | None:
    """The first encoding of an `Accept-Encoding` header that is spoken here."""
    for item in header.split(","):
        name, _, quality = item.strip().partition(";")
        if name.strip() in OFFERED and quality.replace(" ", "") not in ("q=0", "q=0.0"):
            return name.strip()
    return None


def encoder(name: str | None) -> Encoder:
    """An encoder of one of `OFFERED`; None leaves the body as it is."""
    if name is None:
        return _Identity()
    return _Deflate() if name == "deflate" else _Arrow(_ARROW_CODECS[name])


def decoded(body: bytes, name: str) -> bytes:
    """A request's body without its `Content-Encoding`. Raises `ClickHouseError` if it has none
    of ours."""
    try:
        if name in ("", "identity"):
            return body
        if name == "deflate":
            return zlib.decompress(body)
        if name in _ARROW_CODECS:
            with pa.CompressedInputStream(pa.BufferReader(body), _ARROW_CODECS[name]) as stream:
                return bytes(stream.read())
    except (OSError, zlib.error) as error:
        reason = f"the body is not {name}: {error}"
    else:
        reason = f"Content-Encoding {name} is not spoken here; use one of {', '.join(OFFERED)}"
    raise ClickHouseError(reason, UNKNOWN_COMPRESSION_METHOD, "UNKNOWN_COMPRESSION_METHOD")


class _Identity:
    def encode(self, piece: bytes) -> bytes:
        return piece

    def finish(self) -> bytes:
        return b""


class _Deflate:
    def __init__(self) -> None:
        self._zlib = zlib.compressobj(3)

    def encode(self, piece: bytes) -> bytes:
        return self._zlib.compress(piece) + self._zlib.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._zlib.flush()


class _Arrow:
    """Arrow's codecs, drained after every piece."""

    def __init__(self, codec: str) -> None:
        self._out = _Drain()
        self._stream: Any = pa.CompressedOutputStream(pa.PythonFile(self._out, mode="w"), codec)

    def encode(self, piece: bytes) -> bytes:
        self._stream.write(piece)
        self._stream.flush()
        return self._out.taken()

    def finish(self) -> bytes:
        self._stream.close()
        return self._out.taken()


class _Drain:
    """A file that hands out what was written into it."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.closed = True

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
