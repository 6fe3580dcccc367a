"""Turns texts into sentence embeddings: tokenise, sort by length, batch by tokens, run ONNX.

One `Encoder` may be used by several threads, but never on an event loop: `encode` blocks for
milliseconds (the GIL is released meanwhile). When to batch is left to the caller.
"""

import ctypes
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Encoding as Tokens
from tokenizers import Tokenizer

from infra.inference import grams
from infra.inference.artifacts import ModelCache, ModelFiles, Progress, silent
from infra.inference.minilm import HIDDEN, TOKENS_MAX, describe
from infra.inference.recent import EncodedText, RecentTexts, digest
from infra.inference.safetensors import Checkpoint

# Beyond this a text has more than 256 tokens in every language that the model knows, so that
# tokenising the rest would be wasted: 32 KiB would take 10 ms.
CHARACTERS_MAX = 8192

# Larger batches gain nothing on a CPU and leave its cache; a GPU needs them to be busy.
_BATCH_TOKENS_CPU = 512
BATCH_TOKENS_MAX = 32768

# The tokenizer takes any run of these for one space, so such texts are the same to the model.
_BLANKS = re.compile(r"[ \t\r\n]+")


class Device(StrEnum):
    """Where a session can run."""

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    COREML = "coreml"


_PROVIDERS = {
    Device.CPU: "CPUExecutionProvider",
    Device.CUDA: "CUDAExecutionProvider",
    Device.TENSORRT: "TensorrtExecutionProvider",
    Device.COREML: "CoreMLExecutionProvider",
}

# What ONNX Runtime needs from the machine before it can use a device that it was built for.
_LIBRARIES = {Device.CUDA: ("libcuda.so.1",), Device.TENSORRT: ("libcuda.so.1", "libnvinfer.so.10")}


class DeviceUnavailable(RuntimeError):
    """The settings name a device that this machine or this ONNX Runtime does not have."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """What one pass over n texts gives, in the order of the texts.

    `embeddings`: float32 [n, 384], each of length 1: for search and comparison. `middle` (float32
    [n, 384]) and `grams` (int64 [n, k], padded with 0) are what heads need besides.
    `token_counts`: int32 [n], with the two special tokens. `truncated`: bool [n], true where a
    text went on beyond 256 tokens.
    """

    embeddings: NDArray[np.float32]
    middle: NDArray[np.float32]
    grams: NDArray[np.int64]
    token_counts: NDArray[np.int32]
    truncated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.embeddings)

    @classmethod
    def of(cls, rows: Sequence[EncodedText]) -> "Encoding":
        """The rows in one; of none, an encoding of length 0."""
        embeddings = [row.embedding for row in rows]
        middle = [row.middle for row in rows]
        return cls(
            embeddings=np.array(embeddings, np.float32).reshape(len(rows), HIDDEN),
            middle=np.array(middle, np.float32).reshape(len(rows), HIDDEN),
            grams=grams.padded([row.grams for row in rows]),
            token_counts=np.array([row.token_count for row in rows], np.int32),
            truncated=np.array([row.truncated for row in rows], np.bool_),
        )


def _is_usable(device: Device) -> bool:
    # Asking for CUDA on a machine without a driver works, but prints errors: look first.
    if _PROVIDERS[device] not in ort.get_available_providers():
        return False
    try:
        for library in _LIBRARIES.get(device, ()):
            ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _providers(devices: Sequence[str]) -> list[str]:
    usable = [device for device in map(Device, devices) if _is_usable(device)]
    if not usable:
        raise DeviceUnavailable(
            f"none of the inference devices {', '.join(devices)} is usable here: add cpu to them"
        )
    return [_PROVIDERS[device] for device in usable]


def session_options(*, threads: int = 1) -> Any:
    """Options that suit many small sessions on shared cores: few threads, no spinning."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _session(files: ModelFiles, devices: Sequence[str], threads: int) -> Any:
    providers = _providers(devices)
    options = session_options(threads=threads)
    if providers[0] == _PROVIDERS[Device.CPU]:
        # The graph is already in its fast form; further fusion makes it slower (see `minilm`).
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    elif hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(files.weights.parent)
    )
    graph = describe(Checkpoint(files.weights)).SerializeToString()
    return ort.InferenceSession(graph, options, providers=providers)


def _tokenizer(path: Path, tokens_max: int = TOKENS_MAX) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()  # its file pads everything to 128 tokens
    tokenizer.enable_truncation(tokens_max)
    return tokenizer


def _plain(text: str) -> str:
    return _BLANKS.sub(" ", text.strip())


def _batches(counts: Sequence[int], tokens_max: int) -> Iterator[list[int]]:
    """Indices in batches of similar length, each at most `tokens_max` tokens with its padding."""
    batch: list[int] = []
    for index in sorted(range(len(counts)), key=counts.__getitem__):
        # Sorted, so this text is the longest of the batch and sets its width.
        if batch and (len(batch) + 1) * counts[index] > tokens_max:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


class Encoder:
    """all-MiniLM-L6-v2 in fp32. Build one with `load_encoder`.

    `device` is where it really runs, `model_digest` the SHA-256 of the weights.
    """

    def __init__(
        self,
        files: ModelFiles,
        *,
        devices: Sequence[str],
        threads: int,
        batch_tokens_max: int,
        sequence_tokens_max: int,
    ) -> None:
        self._session = _session(files, devices, threads)
        self._tokenizer = _tokenizer(files.tokenizer, min(sequence_tokens_max, TOKENS_MAX))
        self.model_digest = files.digest
        provider = self._session.get_providers()[0]
        self.device = next(key for key, name in _PROVIDERS.items() if name == provider)
        self._recent = RecentTexts()
        on_cpu = self.device is Device.CPU
        self.batch_tokens_max = min(batch_tokens_max, _BATCH_TOKENS_CPU if on_cpu else sys.maxsize)

    def __repr__(self) -> str:
        return f"Encoder(device={self.device.value!r}, model_digest={self.model_digest[:12]!r})"

    def encode(self, texts: Sequence[str]) -> Encoding:
        """Embeds the texts; none at all gives an `Encoding` of length 0.

        A text that comes twice, here or in an earlier call, is run once.
        """
        plain = [_plain(text) for text in texts]
        keys = [digest(text) for text in plain]
        known = self._recent.find(keys)
        fresh = {key: text for key, text in zip(keys, plain, strict=True) if key not in known}
        if fresh:
            encoded = dict(zip(fresh, self._encode(list(fresh.values())), strict=True))
            self._recent.remember(encoded)
            known |= encoded
        return Encoding.of([known[key] for key in keys])

    def recall(self, texts: Sequence[str]) -> NDArray[np.float32] | None:
        """Embeddings, float32 [n, 384], of texts that were all encoded a moment ago; else None.

        What analysis has just read is what answering searches with, so most texts come twice.
        Never blocks.
        """
        keys = [digest(_plain(text)) for text in texts]
        known = self._recent.find(keys)
        if not keys or not all(key in known for key in keys):
            return None
        return np.stack([known[key].embedding for key in keys])

    def _encode(self, texts: Sequence[str]) -> list[EncodedText]:
        tokens = [self._tokenizer.encode(text[:CHARACTERS_MAX]) for text in texts]
        counts = [len(item.ids) for item in tokens]
        embeddings = np.empty((len(texts), HIDDEN), np.float32)
        middle = np.empty_like(embeddings)
        for batch in _batches(counts, self.batch_tokens_max):
            rows = [tokens[index] for index in batch]
            embeddings[batch], middle[batch] = self._run(rows, counts[batch[-1]])
        # Copies, or one remembered text would keep the matrix of its whole batch alive.
        return [
            EncodedText(
                embedding=embeddings[place].copy(),
                middle=middle[place].copy(),
                grams=grams.buckets(item.ids),
                token_count=len(item.ids),
                truncated=bool(item.overflowing) or len(text) > CHARACTERS_MAX,
            )
            for place, (item, text) in enumerate(zip(tokens, texts, strict=True))
        ]

    def _run(self, tokens: Sequence[Tokens], width: int) -> list[NDArray[np.float32]]:
        input_ids = np.zeros((len(tokens), width), np.int32)
        attention_mask = np.zeros((len(tokens), width), np.int32)
        for row, item in enumerate(tokens):
            input_ids[row, : len(item.ids)] = item.ids
            attention_mask[row, : len(item.ids)] = 1
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        outputs: list[NDArray[np.float32]] = self._session.run(["embedding", "middle"], inputs)
        return outputs


def load_encoder(
    cache: ModelCache | None = None,
    *,
    devices: Sequence[str] = (Device.CUDA, Device.CPU),
    threads: int = 1,
    batch_tokens_max: int = BATCH_TOKENS_MAX,
    sequence_tokens_max: int = TOKENS_MAX,
    progress: Progress = silent,
) -> Encoder:
    """The encoder from the model cache, fetched first if need be.

    `devices` come in order of preference; absent ones are skipped. On a CPU batches are smaller
    than `batch_tokens_max` anyway. Raises `ArtifactError` where the files are missing or not the
    pinned ones, and `DeviceUnavailable` where no device is there.
    """
    return Encoder(
        (cache or ModelCache()).ensure(progress),
        devices=devices,
        threads=threads,
        batch_tokens_max=batch_tokens_max,
        sequence_tokens_max=sequence_tokens_max,
    )
