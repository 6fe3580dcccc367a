"""Terms, sentences and passages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.answering.chunking import WORDS_MAX, cut, size
from processors.answering.words import sentences, stem, terms, without_placeholders


@pytest.mark.parametrize(
    "family",
    [
        ("charge", "charges", "charged", "charging"),
        ("verify", "verified", "verifies"),
        ("card", "cards"),
        ("stop", "stopped", "stops"),
        ("transfer", "transferred", "transfers"),
        ("cancel", "cancels"),
        ("box", "boxes"),
    ],
)
def test_forms_of_one_word_meet(family: tuple[str, ...]) -> None:
    assert len({stem(word) for word in family}) == 1


@pytest.mark.parametrize(("one", "other"), [("card", "care"), ("bus", "bu"), ("pass", "pas")])
def test_different_words_stay_apart(one: str, other: str) -> None:
    assert stem(one) != stem(other)


def test_contractions_and_stop_words_leave_only_what_is_asked_about() -> None:
    assert terms("I don't know what's my card's PIN, can't you tell me?") == ["know", "card", "pin"]
    assert terms("Top-up, top up and topup") == ["topup"] * 3
    assert terms("") == terms("?!  …") == []


def test_placeholders_of_redaction_are_not_searched() -> None:
    text = "Send it to [EMAIL_1] or <PHONE_2>, not [1]"
    assert without_placeholders(text) == "Send it to or , not [1]"


def test_sentences_end_where_people_end_them() -> None:
    assert sentences("It costs 1.75 %. Fine? Yes! £5 more.") == [
        "It costs 1.75 %.",
        "Fine?",
        "Yes!",
        "£5 more.",
    ]
    assert sentences("- one. Two\n- three") == ["- one.", "Two", "- three"]


def words(count: int, start: str = "word") -> str:
    return " ".join(f"{start}{number}" for number in range(count)) + "."


def test_short_paragraphs_are_put_together_and_never_cut() -> None:
    text = "\n\n".join(words(40) for _ in range(4))
    assert [size(passage) for passage in cut(text)] == [80, 80]


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    passages = cut(" ".join(words(50, "Word") for _ in range(4)))
    assert [size(passage) for passage in passages] == [100, 100]


def test_a_heading_goes_with_what_follows_it() -> None:
    passages = cut(f"{words(70)}\n\n## Abroad\n\n{words(60)}")
    assert passages[1].startswith("## Abroad\n\nword0")
    assert cut("## Alone") == ("## Alone",)


def test_a_short_rest_is_added_to_the_last_passage() -> None:
    assert len(cut(f"{words(100)}\n\n{words(5)}")) == 1
    assert len(cut(f"{words(100)}\n\n{words(40)}")) == 2


def test_nothing_gives_no_passage() -> None:
    assert cut("") == cut(" \n\n \n") == ()


@given(st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=6), max_size=8))
def test_no_word_is_lost_or_doubled_and_passages_stay_short(shape: list[list[int]]) -> None:
    text = "\n\n".join(" ".join(words(count, "Word") for count in part) for part in shape)
    passages = cut(text)
    assert " ".join(passages).split() == text.split()
    assert all(0 < size(passage) <= WORDS_MAX + 30 for passage in passages)
