"""Reads the safetensors layout: 8 bytes of header length, a JSON header, then raw tensors.

Enough for the float32 checkpoint that we serve; every other element type is refused.
"""

import json
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

_LENGTH_BYTES = 8
_HEADER_BYTES_MAX = 16 * 1024 * 1024


class MalformedCheckpoint(ValueError):
    """The file does not follow the safetensors layout, or lacks a tensor that was asked for."""


class Place(NamedTuple):
    """Where one float32 tensor lies in the file: bytes from its beginning, and its shape."""

    offset_bytes: int
    size_bytes: int
    shape: tuple[int, ...]


class _Entry(TypedDict):
    dtype: str
    shape: list[int]
    data_offsets: list[int]


class Checkpoint:
    """The named float32 tensors of one safetensors file; values are read only when asked for.

    Raises `MalformedCheckpoint` where the header does not parse.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if not 0 < length <= _HEADER_BYTES_MAX:
                raise MalformedCheckpoint(f"{path} is no safetensors file: header of {length} B")
            header = file.read(length)
        try:
            self._header: dict[str, _Entry] = json.loads(header)
        except ValueError as error:
            raise MalformedCheckpoint(f"{path} is no safetensors file: {error}") from error
        self._start = _LENGTH_BYTES + length

    def place(self, name: str) -> Place:
        """Raises `MalformedCheckpoint` where the file has no float32 tensor of that name."""
        entry = self._header.get(name)
        if entry is None or entry["dtype"] != "F32":
            raise MalformedCheckpoint(f"{self.path} has no float32 tensor {name!r}")
        first, last = entry["data_offsets"]
        return Place(self._start + first, last - first, tuple(entry["shape"]))

    def read(self, name: str) -> NDArray[np.float32]:
        """A copy of the tensor's values. Raises as `place`."""
        place = self.place(name)
        count = place.size_bytes // 4
        values = np.fromfile(self.path, np.dtype("<f4"), count, offset=place.offset_bytes)
        return values.reshape(place.shape)
