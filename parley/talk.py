"""The way to the gateway for commands: its address, tokens of the local stack, one question."""

from __future__ import annotations

import asyncio
import os
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from rich.text import Text

from gateway.dev_tokens import HOUR_S, dev_token
from infra.keys import read_or_create_secret
from infra.settings import Settings, load_settings
from parley.client import Applied, Client, Conversation, Exchange
from parley.exits import Ended, Exit
from parley.terminal import err

TOKEN_VARIABLE = "PARLEY_TOKEN"
"""A token of one's identity provider, where the gateway does not take the local key."""
ANSWER_S = 90.0
"""No turn stays open longer than a minute, so by then an answer or its failure has come."""


def gateway_url(settings: Settings) -> str:
    """The address of a gateway that answers. Raises `Ended` where none does."""
    url = settings.gateway.client_url
    require_address(settings, "gateway.url", "gateway.host", "gateway.port")
    start = _start(settings, "gateway.url")
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5):
            return url
    except (urllib.error.URLError, OSError, ValueError):
        raise Ended(Exit.UNREACHABLE, f"no gateway answers at {url}: {start}") from None


def require_address(settings: Settings, *names: str) -> None:
    """Raises `Ended` where no stack runs on the folder and none of the settings was given.

    Whoever listens on the usual port then is somebody else: another stack's data would be shown.
    """
    if all(settings.origin(name) == "default" for name in names):
        start = _start(settings, names[0])
        if nearby := _nearby(settings.data_dir):
            start = f"one runs on {nearby}, so give --data {nearby}; else {start}"
        raise Ended(Exit.UNREACHABLE, f"no stack runs on {settings.data_dir}: {start}")


def log_settings(data: Path | None) -> Settings:
    """The settings of a command or a process that goes to the log. Raises as `require_address`."""
    settings = load_settings(data)
    require_address(settings, "kafka.bootstrap_servers")
    return settings


def _nearby(folder: Path) -> Path | None:
    """A folder within this one, or within the one that it is in, that a stack runs on."""
    found = [*folder.glob("*/stack.json"), *folder.parent.glob("*/stack.json")]
    return found[0].parent if found else None


def _start(settings: Settings, name: str) -> str:
    variable = f"PARLEY_{name.replace('.', '__').upper()}"
    return f'start the stack with "parley up --data {settings.data_dir}" or set {variable}'


def local_token(
    settings: Settings,
    tenant: str,
    sub: str,
    roles: Sequence[str] = ("user",),
    ttl_s: int = HOUR_S,
) -> str:
    """A token of the local key.

    Raises `Ended` where another identity provider rules, where no stack has left its key, and for
    a tenant or a role that no gateway would take.
    """
    auth = settings.auth
    try:
        return dev_token(
            read_or_create_secret(_secret_file(settings)),
            tenant_id=tenant,
            sub=sub,
            roles=roles,
            issuer=auth.issuer,
            audience=auth.audience,
            ttl_s=ttl_s,
        )
    except ValueError as error:
        raise Ended(Exit.USAGE, str(error)) from None


def _secret_file(settings: Settings) -> Path:
    """The file of the local key. A key that no gateway has would sign useless tokens."""
    file, provider = settings.auth.dev_secret_file, settings.auth.jwks_url
    if provider is not None or file is None:
        raise Ended(
            Exit.REFUSED,
            f"tokens come from {provider or 'elsewhere'}: put one into {TOKEN_VARIABLE}",
        )
    if settings.origin("auth.dev_secret_file") == "default" and not file.exists():
        raise Ended(
            Exit.USAGE,
            f"no stack has run on {settings.data_dir}, so no gateway would take a token from there:"
            " give the stack's folder by --data or set PARLEY_AUTH__DEV_SECRET_FILE",
        )
    return file


def token_source(settings: Settings, tenant: str, sub: str) -> Callable[[], Awaitable[str]]:
    """Gives a fresh token whenever a client needs one; a wrong tenant is refused at once."""
    given = os.environ.get(TOKEN_VARIABLE)
    if not given:
        local_token(settings, tenant, sub)

    async def fresh() -> str:
        return given or local_token(settings, tenant, sub)

    return fresh


def open_client(settings: Settings, tenant: str, sub: str, *, sockets_max: int = 1) -> Client:
    """A client for one person of a tenant. Raises `Ended` where no gateway answers."""
    url = gateway_url(settings)
    return Client(url, token_source(settings, tenant, sub), sockets_max=sockets_max)


async def follow(client: Client, conversation_id: str | None) -> Conversation:
    """Follows the conversation of that id, or a new one; says so where the id is a new one's.

    Raises as `Client.conversation` does.
    """
    conversation = await client.conversation(conversation_id)
    if conversation_id is not None and not conversation.head:
        line = Text(f"this begins a new conversation {conversation_id}", "yellow")
        err().print(line, soft_wrap=True)
    return conversation


async def ask(
    conversation: Conversation,
    text: str,
    show: Callable[[Applied], None],
    timeout_s: float = ANSWER_S,
) -> Exchange:
    """Sends a message and hands everything that arrives to `show` until its turn has ended.

    Raises `Ended` if nothing comes in time, and what `Conversation.ask` raises.
    """

    async def pump() -> None:
        async for item in conversation.items():
            show(item)

    pumping = asyncio.create_task(pump())
    # The pump listens once it has run for the first time.
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(timeout_s):
            exchange = await conversation.ask(text)
    except TimeoutError:
        raise Ended(
            Exit.UNREACHABLE,
            f"no answer came within {timeout_s:g} s: look at parley status and the logs",
        ) from None
    else:
        # What finished the exchange lies in the pump's queue.
        await asyncio.sleep(0)
        return exchange
    finally:
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)
