"""What is personal and what only looks like it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.analysis.recognisers.catalogue import RECOGNISERS
from processors.analysis.recognisers.checksums import aba_routing, base58check, bech32, luhn
from processors.analysis.recognisers.span import Passage, PiiKind
from processors.analysis.redaction import redact

FOUND = [
    # (text, kind, value)
    ("mail me at jane.o'neil@mail.example.org.", "EMAIL", "jane.o'neil@mail.example.org"),
    ("josé@exámple.es", "EMAIL", "josé@exámple.es"),
    ("john[at]example[dot]com", "EMAIL", "john[at]example[dot]com"),
    ("see https://example.com/a(b)?c=d.", "URL", "https://example.com/a(b)?c=d"),
    ("(www.example.com)", "URL", "www.example.com"),
    ("on shop.example.co.uk/offers", "URL", "shop.example.co.uk/offers"),
    ("card 4111-1111-1111-1111", "CARD", "4111-1111-1111-1111"),
    ("amex 378282246310005", "CARD", "378282246310005"),
    ("2 4111 1111 1111 1111 12/27", "CARD", "4111 1111 1111 1111"),
    ("４１１１１１１１１１１１１１１１", "CARD", "４１１１１１１１１１１１１１１１"),
    ("٤١١١١١١١١١١١١١١١", "CARD", "٤١١١١١١١١١١١١١١١"),
    ("4111\u200b1111\u200b1111\u200b1111", "CARD", "4111\u200b1111\u200b1111\u200b1111"),
    ("IBAN: DE89 3704 0044 0532 0130 00", "IBAN", "DE89 3704 0044 0532 0130 00"),
    ("gb82west12345698765432", "IBAN", "gb82west12345698765432"),
    ("call +44 (0)20 7946 0958", "PHONE", "+44 (0)20 7946 0958"),
    ("it is (555) 123-4567 x12", "PHONE", "(555) 123-4567 x12"),
    ("555.123.4567", "PHONE", "555.123.4567"),
    ("ring 07700 900123 please", "PHONE", "07700 900123"),
    ("text me on 5551234567", "PHONE", "5551234567"),
    ("my number is 785 8949", "PHONE", "785 8949"),
    ("ssn 078051120", "US_SSN", "078051120"),
    ("it's 078-05-1120", "US_SSN", "078-05-1120"),
    ("AB 12 34 56 C", "UK_NINO", "AB 12 34 56 C"),
    ("AB123456C", "UK_NINO", "AB123456C"),
    ("sort code 12-34-56", "BANK_ACCOUNT", "12-34-56"),
    ("12-34-56 12345678", "BANK_ACCOUNT", "12-34-56 12345678"),
    ("my account number is 12345678", "BANK_ACCOUNT", "12345678"),
    ("routing number 021000021", "BANK_ACCOUNT", "021000021"),
    ("the PIN is 4921", "SECURITY_CODE", "4921"),
    ("cvv: 123", "SECURITY_CODE", "123"),
    ("I was born on 5/6/1980", "DATE_OF_BIRTH", "5/6/1980"),
    ("DOB 1980-06-05", "DATE_OF_BIRTH", "1980-06-05"),
    ("passport number 533380006", "ID_DOCUMENT", "533380006"),
    ("driver's license number is A56319335", "ID_DOCUMENT", "A56319335"),
    ("from 203.0.113.77", "IP_ADDRESS", "203.0.113.77"),
    ("at [2001:db8::1]:443", "IP_ADDRESS", "2001:db8::1"),
    ("mac 00:1B:44:11:3A:B7", "MAC_ADDRESS", "00:1B:44:11:3A:B7"),
    ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "CRYPTO_WALLET", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
    (
        "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
        "CRYPTO_WALLET",
        "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
    ),
    ("password: Hunter2!", "SECRET", "Hunter2!"),
    ("key AKIAIOSFODNN7EXAMPLE", "SECRET", "AKIAIOSFODNN7EXAMPLE"),
]

NOT_FOUND = [
    "I paid $1,234.56 on 12/05/2023 at 10:30",
    "a transfer of 1 000 000 EUR",
    "my balance is 1200 300 400",
    "order 12345678901 has shipped",
    "invoice 2023-0001-4567",
    "tracking 1Z999AA10123456784",
    "card 4111 1111 1111 1112 is one digit off",
    "GB82 WEST 1234 5698 7654 33 fails its check",
    "000-12-3456 and 666-12-3456 and 900-12-3456",
    "version 1.2.3.4 of the app",
    "256.1.1.1 and 1.2.3",
    "meet at 10:30-11:45 on 2023-11-04",
    "std::vector and a::b at 12:30:45",
    "end.Next sentence.So it goes",
    "use main.py or node.js",
    "call within 24-48 hours, 3 times in 2 days",
    "between 2020 and 2021",
    "pi is 3.14159265358979",
    "isbn 978-3-16-148410-0",
    "card ending 4242",
    "@handle and a@b",
    "£4,111,111,111,111,111",
    "50% of 1234567890 people",
]


@pytest.mark.parametrize(("text", "kind", "value"), FOUND, ids=[value for _, _, value in FOUND])
def test_a_value_is_found_with_its_kind_and_place(text, kind, value):
    found = [
        (finding.kind, text[finding.original_start : finding.original_end])
        for finding in redact(text).findings
    ]
    assert found == [(PiiKind(kind), value)]


@pytest.mark.parametrize("text", NOT_FOUND)
def test_what_only_looks_personal_stays(text):
    assert redact(text).text == text


def test_the_longer_of_two_overlapping_values_wins():
    text = "https://example.com/?mail=a@example.com"
    assert redact(text).text == "<URL_1>"


def test_every_kind_is_found_by_some_example():
    assert {kind for _, kind, _ in FOUND} == {str(kind) for kind in PiiKind}
    assert len({recogniser.name for recogniser in RECOGNISERS}) == len(RECOGNISERS)


def test_confidence_is_full_only_for_checksums():
    kinds = {
        finding.kind: finding.confidence for t, _, _ in FOUND for finding in redact(t).findings
    }
    full = {kind for kind, confidence in kinds.items() if confidence == 1}
    assert full == {PiiKind.CARD, PiiKind.IBAN, PiiKind.CRYPTO_WALLET}


def test_checksums_notice_one_wrong_digit():
    assert luhn("4111111111111111")
    assert not luhn("4111111111111112")
    assert aba_routing("021000021")
    assert not aba_routing("021000022")
    assert base58check("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2")
    assert not base58check("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3")
    assert bech32("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq")
    assert not bech32("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdp")


CONTEXTS = ("", "my PIN is ", "password: ", "account number ", "sort code ", "call me on ", "born ",
            "passport number ", "ssn ", "routing number ", "+", "£")  # fmt: skip


@given(
    st.text("0123456789aAbBdefxX:.-/@[](+ qQGw'", min_size=1, max_size=16)
    | st.sampled_from([value for _, _, value in FOUND]).flatmap(
        lambda value: st.integers(1, min(16, len(value))).map(lambda length: value[:length])
    ),
    st.sampled_from(CONTEXTS),
)
def test_no_value_is_shorter_than_its_recogniser_says(text: str, before: str) -> None:
    for recogniser in RECOGNISERS:
        if len(text) < recogniser.length_min:
            assert list(recogniser.find(Passage(text, before))) == [], recogniser.name
