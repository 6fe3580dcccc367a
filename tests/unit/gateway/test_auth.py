"""Tokens: what is accepted, and the usual tricks."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gateway.auth import LocalKey, Verifier, offered
from gateway.dev_tokens import dev_token
from gateway.jwks import JwksKeys
from gateway.refusals import Ended
from schemas.failures import Unavailable

SECRET = b"s" * 32
LOCAL = Verifier(LocalKey(SECRET), issuer="parley-dev", audience="parley")


def claims(**changes: Any) -> dict[str, Any]:
    given = {
        "iss": "parley-dev",
        "aud": "parley",
        "sub": "alice",
        "tenant_id": "demo",
        "roles": ["user"],
        "exp": int(time.time()) + 60,
        **changes,
    }
    return {name: value for name, value in given.items() if value is not None}


def local(**changes: Any) -> str:
    return jwt.encode(claims(**changes), SECRET, algorithm="HS256")


async def code_of(token: str, verifier: Verifier = LOCAL) -> int:
    with pytest.raises(Ended) as ended:
        await verifier.verify(token)
    assert "alice" not in str(ended.value)
    return ended.value.close.code


async def test_a_development_token_names_tenant_person_and_roles() -> None:
    token = dev_token(SECRET, tenant_id="demo", sub="alice", roles=["user", "agent"])
    caller = await LOCAL.verify(token)
    assert (caller.tenant_id, caller.sub) == ("demo", "alice")
    assert caller.roles == {"user", "agent"}
    assert "alice" not in repr(caller)


async def test_roles_that_mean_nothing_here_are_left_out() -> None:
    caller = await LOCAL.verify(local(roles=["user", "billing-root"]))
    assert caller.roles == {"user"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": int(time.time()) - 60}, 4401),
        ({"exp": None}, 4500),
        ({"aud": "another"}, 4500),
        ({"aud": None}, 4500),
        ({"iss": "another"}, 4500),
        ({"iss": None}, 4500),
        ({"sub": None}, 4500),
        ({"sub": ""}, 4500),
        ({"sub": "x" * 257}, 4500),
        ({"tenant_id": None}, 4500),
        ({"tenant_id": "Demo:1"}, 4500),
        ({"tenant_id": 7}, 4500),
        ({"roles": "admin"}, 4500),
        ({"nbf": int(time.time()) + 86_400}, 4500),
        ({"sub": "\ud800"}, 4500),
        ({"exp": int(time.time() + 60) * 1000}, 4500),
        ({"exp": 1e300}, 4500),
        ({"exp": 10**400}, 4500),
        ({"exp": float("inf")}, 4500),
        ({"exp": float("nan")}, 4500),
        ({"exp": "soon"}, 4500),
        ({"exp": True}, 4401),
    ],
)
async def test_a_claim_that_is_wrong_or_missing_ends_the_socket(
    changes: dict[str, Any], code: int
) -> None:
    assert await code_of(local(**changes)) == code


async def test_another_key_an_altered_body_and_no_signature_are_refused() -> None:
    assert await code_of(jwt.encode(claims(), b"z" * 32, algorithm="HS256")) == 4500
    head, body, signature = local().split(".")
    forged = base64.urlsafe_b64encode(json.dumps(claims(tenant_id="other")).encode())
    assert await code_of(f"{head}.{forged.decode().rstrip('=')}.{signature}") == 4500
    assert await code_of(f"{head}.{body}.") == 4500
    assert await code_of(jwt.encode(claims(), None, algorithm="none")) == 4500
    assert await code_of("not a token") == 4500
    assert await code_of(jwt.encode(claims(), SECRET * 2, algorithm="HS512")) == 4500


def encoded(part: str) -> str:
    return base64.urlsafe_b64encode(part.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "..",
        "\udcff.\udcff.\udcff",
        encoded("[" * 9000) + ".e30.e30",
        encoded('{"a":' * 2000) + ".e30.e30",
        encoded('{"alg":' + "9" * 5000 + "}") + ".e30.e30",
        encoded('{"alg":["HS256"]}') + ".e30.e30",
        encoded('{"alg":"HS256","kid":{}}') + ".e30.e30",
        encoded('{"alg":"\\ud800"}') + ".e30.e30",
        encoded('{"alg":"HS256","b64":false,"crit":["b64"]}') + ".e30.e30",
    ],
    ids=["nothing", "dots", "bytes", "deep list", "deep object", "long number", "algorithms",
         "key id", "half a letter", "detached"],
)  # fmt: skip
async def test_a_header_that_nobody_signed_can_not_break_the_verifier(token: str) -> None:
    assert await code_of(token) == 4500


# An identity provider


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    algorithm = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
    }
    for kind, found in algorithm.items():
        if isinstance(key, kind):
            return {**json.loads(found.to_jwk(key.public_key())), "kid": kid, **more}
    made = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key()))
    return {**made, "kid": kid, **more}


class Provider:
    """A real HTTP server that gives out keys and counts how often it is asked."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.asked = 0
        self.away = False

    async def __aenter__(self) -> Provider:
        app = web.Application()
        app.router.add_get("/jwks", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/jwks"
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, _: web.Request) -> web.Response:
        self.asked += 1
        if self.away:
            raise web.HTTPServiceUnavailable
        return web.json_response({"keys": self.keys})


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def verifier(provider: Provider, clock: Clock | None = None) -> Verifier:
    keys = JwksKeys(
        provider.url,
        algorithms=("RS256", "ES256", "EdDSA"),
        cache_ms=300_000,
        refetch_ms=10_000,
        clock=clock or Clock(),
    )
    return Verifier(keys, issuer="parley-dev", audience="parley")


async def test_every_allowed_kind_of_key_verifies_its_own_tokens() -> None:
    keys = {
        "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }
    async with Provider() as provider:
        provider.keys = [jwk(key, name) for name, key in keys.items()]
        checking = verifier(provider)
        for name, key in keys.items():
            token = jwt.encode(claims(), key, algorithm=name, headers={"kid": name})
            assert (await checking.verify(token)).sub == "alice"
        assert provider.asked == 1


async def test_a_public_key_never_becomes_an_hmac_secret() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"k"}').rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(claims()).encode()).rstrip(b"=")
    import hashlib
    import hmac

    mac = hmac.digest(public, header + b"." + body, hashlib.sha256)
    token = b".".join((header, body, base64.urlsafe_b64encode(mac).rstrip(b"="))).decode()
    async with Provider() as provider:
        provider.keys = [jwk(key, "k")]
        assert await code_of(token, verifier(provider)) == 4500


async def test_a_symmetric_or_mislabelled_key_in_a_jwks_is_not_used() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    secret = base64.urlsafe_b64encode(SECRET).decode().rstrip("=")
    async with Provider() as provider:
        provider.keys = [
            {"kty": "oct", "k": secret, "kid": "oct", "alg": "HS256"},
            jwk(key, "enc", use="enc"),
            jwk(key, "mislabelled", alg="HS256"),
        ]
        checking = verifier(provider)
        symmetric = jwt.encode(claims(), SECRET, algorithm="HS256", headers={"kid": "oct"})
        assert await code_of(symmetric, checking) == 4500
        for kid in ("enc", "mislabelled"):
            token = jwt.encode(claims(), key, algorithm="RS256", headers={"kid": kid})
            assert await code_of(token, checking) == 4500


async def test_a_new_key_is_fetched_once_per_interval_and_an_outage_is_survived() -> None:
    old, new = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    by_old = jwt.encode(claims(), old, algorithm="EdDSA", headers={"kid": "old"})
    by_new = jwt.encode(claims(), new, algorithm="EdDSA", headers={"kid": "new"})
    clock = Clock()
    async with Provider() as provider:
        provider.keys = [jwk(old, "old")]
        checking = verifier(provider, clock)
        await checking.verify(by_old)
        for _ in range(20):
            assert await code_of(by_new, checking) == 4500
        assert provider.asked == 1
        provider.keys = [jwk(old, "old"), jwk(new, "new")]
        clock.now += 11
        assert (await checking.verify(by_new)).sub == "alice"
        provider.away = True
        clock.now += 400
        assert (await checking.verify(by_old)).sub == "alice"
        assert provider.asked == 3


async def test_a_provider_that_never_answered_is_a_passing_trouble() -> None:
    async with Provider() as provider:
        provider.away = True
        token = jwt.encode(
            claims(),
            ed25519.Ed25519PrivateKey.generate(),
            algorithm="EdDSA",
            headers={"kid": "k"},
        )
        with pytest.raises(Unavailable):
            await verifier(provider).verify(token)


# What a request offers


def test_a_token_comes_from_the_header_or_from_the_subprotocol_pair() -> None:
    assert offered("Bearer abc", ()).token == "abc"
    encoded = base64.urlsafe_b64encode(b"a.b.c").decode().rstrip("=")
    pair = offered(None, ("chat.v1", f"base64url.bearer.{encoded}"))
    assert (pair.token, pair.subprotocol) == ("a.b.c", True)
    assert offered(None, ()).token is None
    assert "a.b.c" not in repr(pair)


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "Bearer  "])
def test_a_header_without_a_bearer_token_is_refused(header: str) -> None:
    with pytest.raises(Ended):
        offered(header, ())


def test_a_subprotocol_that_is_not_base64url_is_refused() -> None:
    with pytest.raises(Ended):
        offered(None, ("chat.v1", "base64url.bearer.***"))
