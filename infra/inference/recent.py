"""What was encoded a moment ago, found again by a digest: no text is kept here.

Analysis, the search for an answer and a repeated question meet the same texts; the encoder asks
here before it runs its model.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

RECENT_MAX = 4096
"""How many texts are remembered, about 4 KB each."""

_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class EncodedText:
    """What the model gave for one text; see `encoder.Encoding` for the fields."""

    embedding: NDArray[np.float32]
    middle: NDArray[np.float32]
    grams: NDArray[np.int64]
    token_count: int
    truncated: bool


def digest(text: str) -> bytes:
    """16 bytes that stand for a text; lone surrogates count as what they are."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()


class RecentTexts:
    """The last `RECENT_MAX` texts that somebody asked for, by digest. Thread-safe."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, EncodedText] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, digests: Sequence[bytes]) -> dict[bytes, EncodedText]:
        """Those that are known; they stay a while longer for it."""
        found: dict[bytes, EncodedText] = {}
        with self._lock:
            for key in digests:
                if (known := self._known.get(key)) is not None:
                    self._known.move_to_end(key)
                    found[key] = known
        return found

    def remember(self, encoded: Mapping[bytes, EncodedText]) -> None:
        """Keeps what was encoded, and forgets what was asked for longest ago."""
        with self._lock:
            self._known.update(encoded)
            while len(self._known) > RECENT_MAX:
                self._known.popitem(last=False)
