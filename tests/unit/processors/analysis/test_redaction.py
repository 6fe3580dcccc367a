"""Redaction of whole texts and of streams."""

import re
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from processors.analysis import redaction
from processors.analysis.recognisers import catalogue, passages
from processors.analysis.recognisers.span import Passage, Span
from processors.analysis.redaction import RedactionHoldback, redact

VALUES = (
    "jane.doe+bank@example.co.uk",
    "+44 20 7946 0958",
    "(555) 123-4567 ext. 89",
    "4111 1111 1111 1111",
    "3782-822463-10005",
    "GB82 WEST 1234 5698 7654 32",
    "NL91ABNA0417164300",
    "078-05-1120",
    "192.168.10.254",
    "2001:db8::8a2e:370:7334",
    "https://example.com/a?b=c@d",
    "QQ 12 34 56 C",
    "12-34-56 12345678",
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "4111\u200b1111\u200b1111\u200b1111",
    "４１１１ １１１１ １１１１ １１１１",
)
FILLERS = (
    "my card is", "call", "SSN", "order number", "born on", "account number", "driver's license",
    "word", "WEST", "x", "ext.", "(", "+", "12", "5/6/1980", "$1,200.50", "a@", "@b.com", "www.",
    "GB82", "AB", "的", "，", "\n", "\u2014", "1234567", "password is", "hunter2!", "\u200b", "é",
)  # fmt: skip


def stream(text: str, cuts: list[int]) -> tuple[str, RedactionHoldback]:
    holdback = RedactionHoldback()
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    pieces = [holdback.feed(text[start:end]) for start, end in pairwise(places)]
    return "".join([*pieces, holdback.finish()]), holdback


texts = st.lists(
    st.tuples(
        st.sampled_from(VALUES + FILLERS) | st.text(max_size=12),
        st.sampled_from(("", " ", " ", "  ", "\n", ", ", "-", "     ")),
    ),
    max_size=12,
).map(lambda parts: "".join(word + gap for word, gap in parts))


@given(texts, st.lists(st.integers(0, 500), max_size=40))
@example("card 4111 1111 1111 1111", list(range(30)))
def test_a_stream_gives_what_the_whole_text_gives_wherever_it_is_cut(text, cuts):
    whole = redact(text)
    streamed, holdback = stream(text, cuts)
    assert streamed == whole.text
    assert holdback.findings == whole.findings


PROSE = (
    "Open the app", "Here is what our article “Travel abroad” says:\n\n", "the (first) card.",
    "e.g. a PIN", "in the UK", "(US", "A", "don't", "top-up", "5 %", "[1]", "[12].", "and/or",
    "naïve Żółć", "ÀB", "call ÉUK", "no.", "a.b", "ATM", "x(y", "x[y", "://", "ws://x", "1,000.50",
    "call me", "sort code", "my PIN is", "born", "passport no.", "4921", "12-34-56", "QQ", "12",
    "GB", "82", "\u00ad", "-UK", "word\u200b", "\u2013", "ſ", "'", "“", "”", "...", "[", "+",
)  # fmt: skip
# Values that have nothing but letters and the one sign that gives them away.
LETTERED = (
    "shop.example.com", "http://localhost", "jane@example[dot]org", "jane[at]example[dot]org",
    "jane(at)example(dot)org", "JANE[AT]EXAMPLE[DOT]ORG",
)  # fmt: skip

prose = st.lists(
    st.tuples(
        st.sampled_from(PROSE + LETTERED)
        | st.sampled_from(VALUES)
        | st.sampled_from(FILLERS)
        | st.text(max_size=5),
        st.sampled_from((" ", " ", " ", "", "    ", "\n", "\u00a0", "’", "的")),
    ),
    max_size=16,
).map(lambda parts: "".join(word + gap for word, gap in parts))


def pieces_of(text: str, cuts: list[int]) -> tuple[list[str], tuple[object, ...]]:
    holdback = RedactionHoldback()
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    pieces = [holdback.feed(text[start:end]) for start, end in pairwise(places)]
    return [*pieces, holdback.finish()], holdback.findings


def every_recogniser(passage: Passage) -> list[Span]:
    """What is found where nobody looks first whether it is worth it."""
    with pytest.MonkeyPatch.context() as patch:
        unasked = [replace(r, length_min=0) for r in catalogue.RECOGNISERS]
        patch.setattr(catalogue, "RECOGNISERS", unasked)
        return catalogue.find(passage)


@given(prose | texts, st.lists(st.integers(0, 500), max_size=30))
@example("in the UK 12 34 56 or (US", [])
@example("call (the ATM) or ÉUK 1234 WEST\n", list(range(40)))
def test_taking_plain_words_at_once_gives_piece_by_piece_what_word_by_word_gives(text, cuts):
    quick = pieces_of(text, cuts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passages, "_PLAIN_WORDS", re.compile(r"(?!)"))
        patch.setattr(redaction, "find", every_recogniser)
        assert pieces_of(text, cuts) == quick


def test_an_ordinary_sentence_takes_the_short_way():
    text = "Here is (for the PIN) what our article “Top-ups: naïve?” says. Don't...\n\n"
    stretches = passages.PassageCutter().feed(text)
    assert [stretch.text for stretch in stretches] == [text]


@given(texts)
def test_findings_say_where_values_stood_and_where_placeholders_stand(text):
    redaction = redact(text)
    rebuilt, copied = [], 0
    for finding in redaction.findings:
        assert redaction.text[finding.start : finding.end] == finding.placeholder
        rebuilt.append(text[copied : finding.original_start])
        rebuilt.append(finding.placeholder)
        copied = finding.original_end
    assert "".join([*rebuilt, text[copied:]]) == redaction.text


@given(st.lists(st.sampled_from((*VALUES, "please", "and", "for")), max_size=8).map(" ; ".join))
def test_redacting_twice_changes_nothing_more(text):
    once = redact(text).text
    assert redact(once).text == once


@pytest.mark.parametrize("value", VALUES + LETTERED)
@pytest.mark.parametrize("frame", ["{}", "please note {} thanks", "Is it ({})?", "one\n{}.\ntwo"])
def test_every_kind_of_value_goes_wherever_it_stands(value, frame):
    redaction = redact(frame.format(value))
    assert len(redaction.findings) == 1
    assert redaction.text == frame.format(redaction.findings[0].placeholder)


@pytest.mark.parametrize("value", VALUES)
def test_no_part_of_a_value_leaves_the_stream_before_it_is_complete(value):
    holdback = RedactionHoldback()
    released = "".join(holdback.feed(character) for character in f"it is {value}")
    assert released == "it is "
    assert value not in holdback.finish()


def test_the_same_value_has_the_same_number_and_another_value_the_next():
    text = "a@x.com wrote to b@x.com; A@X.com paid with 4111111111111111 and 4111-1111-1111-1111"
    assert redact(text).text == (
        "<EMAIL_1> wrote to <EMAIL_2>; <EMAIL_1> paid with <CARD_1> and <CARD_1>"
    )


def test_numbers_go_on_across_the_pieces_of_a_stream():
    holdback = RedactionHoldback()
    pieces = [holdback.feed("a@x.com "), holdback.feed("b@x.com "), holdback.feed("a@x.com ")]
    assert pieces == ["<EMAIL_1> ", "<EMAIL_2> ", "<EMAIL_1> "]


def test_ordinary_words_are_let_go_with_the_character_after_them():
    holdback = RedactionHoldback()
    words = ["Sure", ",", "I", "can", "help", "with", "that", "today", ""]
    released = [holdback.feed(word + " ") for word in words]
    assert released == [word + " " for word in words]


def test_text_without_spaces_still_flows():
    holdback = RedactionHoldback()
    assert holdback.feed("您好，请问有什么可以帮您") == "您好，请问有什么可以帮您"


def test_empty_text_is_fine():
    assert redact("").text == ""
    assert RedactionHoldback().finish() == ""


HOSTILE = {
    "letters": "a",
    "digits": "1",
    "digits and spaces": "1 ",
    "groups": "1234 ",
    "zeros and dashes": "0-",
    "at signs": "a@",
    "at signs and dots": "a@a.",
    "dots": "a.",
    "local characters": "a.%+-",
    "colons": "1:",
    "hexadecimal": "ab:",
    "brackets": "(",
    "brackets and digits": "(1)",
    "plus signs": "+1",
    "ibans": "GB82",
    "ibans apart": "GB82 ",
    "urls": "http://a",
    "nested urls": "www.a.",
    "closing": "http://a)]",
    "tokens": "eyJ",
    "long tokens": "eyJaaaaaaaaaaaaa.",
    "full width": "４",
    "zero width": "1\u200b",
    "extensions": "1 ext ",
    "slashes": "1/",
    "context": "password is ",
    "emails": "a@b.co ",
    "commas": "1,",
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE.keys())
def test_time_grows_with_the_length_of_hostile_text_and_not_faster(unit):
    def seconds(characters: int) -> float:
        text = (unit * characters)[:characters] + "!"
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            redact(text)
            best = min(best, time.perf_counter() - start)
        return best

    # Eight times the text: 8 if linear, 64 if quadratic. 2 ms cover the noise of small times.
    assert seconds(32768) < 24 * seconds(4096) + 0.002


def test_a_stream_of_single_characters_costs_no_more_than_linear_time():
    def seconds(characters: int) -> float:
        start = time.perf_counter()
        holdback = RedactionHoldback()
        for _ in range(characters // 2):
            holdback.feed("1")
            holdback.feed(" ")
        holdback.finish()
        return time.perf_counter() - start

    assert seconds(16384) < 24 * seconds(2048) + 0.002
