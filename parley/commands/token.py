"""`parley token`: a token for the local gateway, signed with the stack's development key."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.settings import load_settings
from parley.exits import Ended, Exit
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
    from gateway.dev_tokens import HOUR_S, dev_token
    from infra.keys import read_or_create_secret
    from parley.terminal import print_json

    auth = load_settings(data).auth
    if auth.jwks_url is not None:
        sentence = f"tokens come from the identity provider of {auth.jwks_url}: ask it for one"
        raise Ended(Exit.REFUSED, sentence)
    if auth.dev_secret_file is None or not auth.dev_secret_file.parent.is_dir():
        raise Ended(Exit.USAGE, "there is no stack in this data folder: give its folder by --data")
    try:
        made = dev_token(
            read_or_create_secret(auth.dev_secret_file),
            tenant_id=tenant,
            sub=sub,
            roles=role or ["user"],
            issuer=auth.issuer,
            audience=auth.audience,
            ttl_s=round(hours * HOUR_S),
        )
    except ValueError as error:
        raise Ended(Exit.USAGE, str(error)) from None
    if as_json:
        print_json({"token": made})
    else:
        typer.echo(made)
