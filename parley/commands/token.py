"""`parley token`: a token for the local gateway, signed with the stack's development key."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.settings import load_settings
from parley.options import Data, Json, Tenant


def token(
    tenant: Tenant = "demo",
    sub: Annotated[str, typer.Option("--sub", metavar="S", help="Who it speaks for.")] = "guest",
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role", metavar="R", help="user, agent, supervisor, analyst or admin; again for more."
        ),
    ] = None,
    hours: Annotated[
        float, typer.Option("--hours", min=0.01, max=24 * 365, help="How long it is valid.")
    ] = 1.0,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Prints a token for the gateway of this machine's stack.

    It is signed with the development key in the data folder, so it opens no gateway that has an
    identity provider.

    Example:

      curl -H "Authorization: Bearer $(parley token --tenant demo --sub alice)" …
    """
    from gateway.dev_tokens import HOUR_S
    from parley.talk import local_token
    from parley.terminal import print_json

    settings = load_settings(data)
    made = local_token(settings, tenant, sub, role or ("user",), round(hours * HOUR_S))
    if as_json:
        print_json({"token": made})
    else:
        typer.echo(made)
