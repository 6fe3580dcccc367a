"""Sealing: a text opens where it was sealed for, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.keys import (
    KeyMissing,
    PlainSealer,
    SealBroken,
    Sealer,
    body_hmac,
    open_sealer,
)
from infra.settings import Settings
from schemas.envelope import Sealed

PLACE = {"tenant_id": "bank", "conversation_id": "c-1"}
TEXT = "my card is lost"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def sealer(folder: Path) -> Iterator[Sealer]:
    opened = open_sealer(Settings(data_dir=folder).keys)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def plain(folder: Path) -> Iterator[Sealer]:
    opened = open_sealer(Settings(data_dir=folder, keys={"sealing": "off"}).keys)
    yield opened
    opened.close()


def seal(sealer: Sealer, text: str = TEXT, **changes: Any) -> Sealed:
    subject = sealer.identify("bank", "alice").subject
    given = {"subject": subject, "origin_id": "o-1", "field": "text", "month": "2026-11"}
    return sealer.seal(text, **{**PLACE, **given, **changes})


@given(text=st.text())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_as_it_was(sealer: Sealer, text: str) -> None:
    assert sealer.open(seal(sealer, text), **PLACE) == text


def test_a_text_of_32_kib_and_an_empty_one_come_back(sealer: Sealer) -> None:
    for text in ("", "é" * 16_384):
        assert sealer.open(seal(sealer, text), **PLACE) == text


def test_the_blob_holds_none_of_the_text_and_differs_each_time(sealer: Sealer) -> None:
    first, second = seal(sealer), seal(sealer)
    assert TEXT.encode() not in first.ciphertext
    assert len(first.nonce) == 12
    assert len(first.ciphertext) == len(TEXT) + 16
    assert first.nonce != second.nonce
    assert first.ciphertext != second.ciphertext


@pytest.mark.parametrize(
    "elsewhere",
    [{"conversation_id": "c-2"}, {"conversation_id": "c-1 "}, {"piece": (1, 1, 0)}],
    ids=str,
)
def test_a_text_does_not_open_in_another_place(sealer: Sealer, elsewhere: dict[str, Any]) -> None:
    with pytest.raises(SealBroken):
        sealer.open(seal(sealer), **{**PLACE, **elsewhere})


def test_a_text_does_not_open_in_another_tenant(sealer: Sealer) -> None:
    with pytest.raises(KeyMissing):
        sealer.open(seal(sealer), tenant_id="shop", conversation_id="c-1")


@pytest.mark.parametrize("piece", [(2, 1, 40), (1, 2, 40), (1, 1, 41), None], ids=str)
def test_a_piece_opens_only_at_its_turn_attempt_and_start(sealer: Sealer, piece: Any) -> None:
    sealed = seal(sealer, piece=(1, 1, 40))
    assert sealer.open(sealed, **PLACE, piece=(1, 1, 40)) == TEXT
    with pytest.raises(SealBroken):
        sealer.open(sealed, **PLACE, piece=piece)


@pytest.mark.parametrize("field", ["nonce", "ciphertext"])
def test_one_flipped_bit_breaks_the_seal(sealer: Sealer, field: str) -> None:
    sealed = seal(sealer)
    original = getattr(sealed, field)
    for place in range(len(original)):
        altered = bytearray(original)
        altered[place] ^= 1
        with pytest.raises(SealBroken):
            sealer.open(replace(sealed, **{field: bytes(altered)}), **PLACE)


@pytest.mark.parametrize(
    "change",
    [
        {"origin_id": "o-2"},
        {"field": "comment"},
        {"field": "téxt"},
        {"nonce": b""},
        {"ciphertext": b""},
        {"ciphertext": b"short"},
    ],
    ids=str,
)
def test_changed_metadata_breaks_the_seal(sealer: Sealer, change: dict[str, Any]) -> None:
    with pytest.raises(SealBroken):
        sealer.open(replace(seal(sealer), **change), **PLACE)


def test_a_text_does_not_open_under_another_persons_or_months_key(sealer: Sealer) -> None:
    sealed = seal(sealer)
    bob = sealer.identify("bank", "bob", "2026-11").subject
    seal(sealer, month="2026-12")
    for change in ({"subject": bob}, {"key_version": "2026-12/1"}):
        with pytest.raises(SealBroken):
            sealer.open(replace(sealed, **change), **PLACE)


def test_parts_of_the_place_cannot_reach_into_each_other(sealer: Sealer) -> None:
    sealed = seal(sealer, origin_id="ab", field="c")
    with pytest.raises(SealBroken):
        sealer.open(replace(sealed, origin_id="a", field="bc"), **PLACE)
    with pytest.raises(SealBroken):
        sealer.open(replace(sealed, origin_id="ab,1:c", field=""), **PLACE)


def test_a_lone_surrogate_is_refused_before_anything_is_sealed(sealer: Sealer) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        seal(sealer, "\ud800")


async def test_after_prefetch_everything_is_at_hand(sealer: Sealer) -> None:
    identity = await sealer.prefetch("bank", "carol", "2026-11")
    assert sealer.is_cached("bank", identity.subject, "2026-11")
    assert not sealer.is_cached("bank", identity.subject, "2026-12")
    assert await sealer.prefetch("bank", "carol", "2026-11") == identity


async def test_a_key_of_another_process_is_at_hand_after_prefetch_open(
    sealer: Sealer, folder: Path
) -> None:
    sealed = seal(sealer)
    elsewhere = open_sealer(Settings(data_dir=folder).keys)
    assert not elsewhere.is_open_cached(sealed, tenant_id="bank")
    await elsewhere.prefetch_open(sealed, tenant_id="bank")
    assert elsewhere.is_open_cached(sealed, tenant_id="bank")
    assert elsewhere.open(sealed, **PLACE) == TEXT
    elsewhere.close()


def test_the_keys_of_a_batch_are_at_hand_after_one_prefetch(sealer: Sealer, folder: Path) -> None:
    people = [sealer.identify("bank", f"person-{number}").subject for number in range(600)]
    texts = [("bank", seal(sealer, subject=subject)) for subject in people]
    unknown = ("bank", replace(texts[0][1], key_version="nonsense"))
    elsewhere = open_sealer(Settings(data_dir=folder).keys)
    elsewhere.prefetch_batch([*texts, unknown])
    for tenant, text in texts:
        assert elsewhere.is_open_cached(text, tenant_id=tenant)
        assert elsewhere.open(text, **PLACE) == TEXT
    with pytest.raises(KeyMissing):
        elsewhere.open(unknown[1], **PLACE)
    elsewhere.close()


def test_dead_letters_open_in_their_own_context_only(sealer: Sealer) -> None:
    blob = sealer.seal_bytes(b"\x00\xffgarbage", context="parley.commands.v1:3:41")
    assert b"garbage" not in blob
    assert sealer.open_bytes(blob, context="parley.commands.v1:3:41") == b"\x00\xffgarbage"
    for wrong in (blob[:-1], b"", b"\x01", b"\x00" + blob[1:]):
        with pytest.raises(SealBroken):
            sealer.open_bytes(wrong, context="parley.commands.v1:3:41")
    with pytest.raises(SealBroken):
        sealer.open_bytes(blob, context="parley.commands.v1:3:42")


def test_with_sealing_off_the_text_can_be_found(plain: Sealer) -> None:
    assert isinstance(plain, PlainSealer)
    sealed = seal(plain)
    assert sealed.ciphertext == TEXT.encode()
    assert (sealed.key_version, sealed.nonce) == ("plain", b"")
    assert plain.open(sealed, **PLACE) == TEXT
    assert plain.open_bytes(plain.seal_bytes(b"x", context="c"), context="c") == b"x"


def test_sealed_and_plain_never_pass_for_each_other(sealer: Sealer, plain: Sealer) -> None:
    with pytest.raises(SealBroken, match="sealing off"):
        sealer.open(seal(plain), **PLACE)
    with pytest.raises(SealBroken, match="sealing is off"):
        plain.open(seal(sealer), **PLACE)
    with pytest.raises(SealBroken):
        sealer.open_bytes(plain.seal_bytes(b"x", context="c"), context="c")
    with pytest.raises(SealBroken):
        plain.open_bytes(sealer.seal_bytes(b"x", context="c"), context="c")


def test_people_are_the_same_with_sealing_on_and_off(sealer: Sealer, plain: Sealer) -> None:
    assert sealer.identify("bank", "alice") == plain.identify("bank", "alice")


def test_bodies_are_told_apart_under_each_persons_own_key(sealer: Sealer) -> None:
    alice, bob = (sealer.identify("bank", sub).hmac_key for sub in ("alice", "bob"))
    assert len(body_hmac(alice, b"body")) == 16
    assert body_hmac(alice, b"body") == body_hmac(alice, b"body")
    assert body_hmac(alice, b"body") != body_hmac(alice, b"another")
    assert body_hmac(alice, b"body") != body_hmac(bob, b"body")


def test_nothing_printable_shows_a_key(sealer: Sealer) -> None:
    identity = sealer.identify("bank", "alice")
    assert repr(identity.hmac_key)[2:-1] not in repr(identity)
