"""Avro's whole numbers: zigzag, then seven bits to a byte, the lowest first.

Short numbers are read and written in place by the code of `encoders` and `decoders`; the functions
are for longer ones. A number has one form, the shortest, of at most 64 bits.
"""

from __future__ import annotations

from functools import lru_cache

from schemas.plans import Misfit

_SIZE_MAX = 10


@lru_cache(maxsize=1024)  # the longest are timestamps, and a batch shares its own
def number(n: int) -> bytes:
    """The bytes of a number. Raises `Misfit` for one of more than 64 bits."""
    if n >> 63 not in (0, -1):
        raise Misfit
    return _written(n)


def number32(n: int) -> bytes:
    """The same for a number of at most 32 bits."""
    if n >> 31 not in (0, -1):
        raise Misfit
    return number(n)


def _written(n: int) -> bytes:
    rest = n << 1 ^ n >> 63
    out = bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


SHORT_END = 1 << 13
SHORT = tuple(_written(n if n < SHORT_END else n - 2 * SHORT_END) for n in range(2 * SHORT_END))
"""The bytes of 0 to 8191, and of -8192 to -1, which count from the end as indices do."""


def read_number(body: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends. Raises `Misfit` for any other form than ours."""
    zigzag = shift = 0
    for byte in body[at : at + _SIZE_MAX]:
        if byte < 128:
            break
        zigzag += byte - 128 << shift
        shift += 7
    else:
        raise Misfit("a number does not end")
    zigzag += byte << shift
    if zigzag >> 64 or (shift and not byte):
        raise Misfit("a number is longer than it has to be, or than 64 bits")
    return zigzag >> 1 ^ -(zigzag & 1), at + shift // 7 + 1


def read_int32(body: bytes, at: int) -> tuple[int, int]:
    """The same for a number of at most 32 bits."""
    n, end = read_number(body, at)
    if n >> 31 not in (0, -1):
        raise Misfit("a number has more than 32 bits")
    return n, end


def read_length(body: bytes, at: int) -> tuple[int, int]:
    """The length of what follows, doubled as in a single byte, and where that begins."""
    low, high = body[at], body[at + 1]
    if low > 127 and 0 < high < 128:  # the usual one of a sealed text
        doubled, start = high << 7 | low & 127, at + 2
    else:
        length, start = read_number(body, at)
        doubled = 2 * length
    if doubled & 1 or not 0 <= doubled <= 2 * (len(body) - start):
        raise Misfit("a length is negative or goes beyond the end")
    return doubled, start


def read_block(body: bytes, at: int) -> tuple[int, int, int | None]:
    """Of a block: how many items it has, where they begin, and where they end if it says so."""
    count, at = read_number(body, at)
    end = None
    if count < 0:
        size, at = read_number(body, at)
        count, end = -count, at + size
    if count > len(body) - at:
        raise Misfit("a block has more items than bytes")
    return count, at, end
