"""The chat page's own code on recorded frames: it may be left and opened again anywhere."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from chat_page import needs_node, run_module, unpacked

from gateway import replies
from parley.client.cursor import Cursor, Gap

pytestmark = needs_node

# One, two and several UTF-16 units for what is one code point, one letter or one picture.
ANSWER = "Freeze 🧊 the card, é or e\u0301, 👩‍👩‍👧 and 🇦🇹. It costs 𝟝 € [1]."
QUESTION = "I lost my 💳"

Steps = list[Any]
Page = Callable[[list[Steps]], list[Any]]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Takes sessions through the page and says what became of each."""
    talk = unpacked(tmp_path_factory.mktemp("page")) / "talk.js"
    script = Path(__file__).parent / "talk_in_node.mjs"
    return lambda sessions: run_module(script, str(talk), given=sessions)


def event(seq: int, kind: str, *, turn: str | None = None, **data: Any) -> dict[str, Any]:
    known = {"t": "event", "c": "c", "seq": seq, "type": kind, "ts": "", "mid": "m1", "data": data}
    return known if turn is None else {**known, "turn": turn}


def tokens(attempt: int, start: int, end: int, turn: str = "t1") -> Any:
    return orjson.loads(replies.tokens("c", turn, attempt, start, ANSWER[start:end]))


def snapshot(seq: int, epoch: str = "e1", **state: Any) -> Any:
    return orjson.loads(replies.snapshot("c", epoch, seq, orjson.dumps(state)))


SUBBED = orjson.loads(replies.subbed(1, "c", "e1", 0, resumed=True))
ASKED = [
    event(1, "ConversationStarted"),
    event(2, "MessageReceived"),
    event(3, "MessageAnalysed", text="I lost my [CARD]", kinds=["CARD"], labels={}),
    event(4, "TurnStarted", turn="t1", attempt=1),
]
STORY: Steps = [
    {"say": ["m1", QUESTION]},
    SUBBED,
    *ASKED,
    *(tokens(1, at, min(at + 5, 23)) for at in range(0, 23, 5)),
    event(5, "TurnRestarted", turn="t1", attempt=2),
    *(tokens(2, at, at + 7) for at in range(0, len(ANSWER), 7)),
    event(6, "TurnCompleted", turn="t1", text=ANSWER, citations=[]),
    event(7, "FeedbackReceived", turn="t1", score=1),
]
"""One question whose answer was begun twice."""


def test_a_position_counts_code_points_where_strings_count_utf_16(page: Page) -> None:
    (told,) = page([STORY])
    streamed = [seen for seen in told["seen"] if seen["position"].get("at")]
    assert len(streamed) > 10
    for seen in streamed:
        assert seen["text"] == ANSWER[: seen["position"]["at"]]
    assert streamed[-1]["text"] == ANSWER


def test_left_anywhere_and_opened_again_the_page_ends_with_the_same_messages(page: Page) -> None:
    """What is sent again may begin anywhere before the place where the page was left."""
    cuts = [(cut, again) for cut in range(1, len(STORY)) for again in range(1, cut + 1)]
    whole, *cut_off = page(
        [STORY, *([*STORY[:cut], "reload", *STORY[again:]] for cut, again in cuts)]
    )
    question, answer = whole["talk"]["messages"]
    assert (question["text"], question["waiting"]) == (QUESTION, False)
    assert (answer["text"], answer["feedback"], answer["seq"]) == (ANSWER, {"score": 1}, 6)
    for place, told in zip(cuts, cut_off, strict=True):
        assert told["talk"] == whole["talk"], place
        outcomes = [seen["outcome"] for seen in told["seen"]]
        assert "gap" not in outcomes, place


def test_a_resume_from_the_stored_position_goes_on_in_the_middle_of_the_answer(page: Page) -> None:
    """The gateway sends everything after the position, and the open answer as one stretch."""
    (whole,) = page([STORY])
    sessions = []
    for cut, seen in enumerate(whole["seen"], 1):
        at = seen["position"]
        rest = [
            step for step in STORY[cut:] if step.get("t") == "event" and step["seq"] > at["seq"]
        ]
        if at.get("attempt") == 2 and at["at"] < len(ANSWER):
            rest.insert(0, tokens(2, at["at"], len(ANSWER)))
        sessions.append([*STORY[:cut], "reload", SUBBED, *rest])
    resumed = page(sessions)
    assert [told["talk"] for told in resumed] == [whole["talk"]] * len(STORY)
    texts = [told["seen"][cut + 2]["text"] for cut, told in enumerate(resumed[:-3], 1)]
    assert texts.count(ANSWER) > 5, "no session went on within the answer"


def test_a_snapshot_in_the_middle_keeps_the_persons_own_words_and_the_text_so_far(
    page: Page,
) -> None:
    known = {"who": "customer", "mid": "m1", "text": "I lost my [CARD]", "seq": 2}
    begun = {"turn": "t1", "attempt": 2, "at": 14, "text": ANSWER[:14], "mid": "m1"}
    middle = snapshot(5, messages=[known], turn=begun)
    start = STORY.index(tokens(2, 7, 14))
    ((whole, told)) = page([STORY, [STORY[0], middle, "reload", *STORY[start:]]])
    assert told["seen"][1]["text"] == ANSWER[:14]
    question, answer = told["talk"]["messages"]
    assert question["text"] == QUESTION
    assert answer == whole["talk"]["messages"][1]
    assert (told["talk"]["seq"], told["talk"]["turn"]) == (7, None)


@pytest.mark.parametrize(
    ("frame", "outcome"),
    [
        (event(6, "ConversationClosed"), "gap"),
        (event(4, "TurnStarted", turn="t1", attempt=1), "old"),
        (tokens(1, 9, 12), "gap"),
        (tokens(1, 3, 8), "old"),
        (tokens(1, 3, 12), "applied"),
        (tokens(2, 3, 12), "gap"),
        (tokens(2, 0, 3), "applied"),
        (tokens(1, 4, 9, turn="t2"), "gap"),
        ({"t": "typing", "c": "c", "who": "agent"}, "old"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value['t']}",
)
def test_each_frame_is_used_once_or_known_as_old_or_as_one_too_many(
    page: Page, frame: dict[str, Any], outcome: str
) -> None:
    """The page has events 1 to 4 and eight code points of the first attempt."""
    (told,) = page([[SUBBED, *ASKED, tokens(1, 0, 8), frame]])
    *_, before, after = told["seen"]
    assert after["outcome"] == outcome
    if outcome != "applied":
        assert (after["position"], after["text"]) == (before["position"], before["text"])
    elif frame["attempt"] == 1:
        assert after["text"] == ANSWER[:12]
    else:
        assert after["text"] == ANSWER[:3]


def mangled(chance: random.Random) -> Steps:
    """Frames of two turns as a bad line would bring them: lost, twice, late, cut elsewhere."""
    frames: Steps = [SUBBED, *ASKED]
    for seq, turn in ((5, "t1"), (8, "t2")):
        for attempt in (1, 2):
            for _ in range(chance.randint(1, 8)):
                start = chance.randrange(len(ANSWER))
                frames.append(tokens(attempt, start, chance.randint(start, len(ANSWER)), turn))
                frames.append(tokens(attempt, 0, chance.randrange(len(ANSWER)), turn))
            frames.append(event(seq + attempt - 1, "TurnRestarted", turn=turn, attempt=2))
        frames.append(event(seq + 1, "TurnCompleted", turn=turn, text=ANSWER))
        frames.append(event(seq + 2, "TurnStarted", turn="t2", attempt=1))
    for _ in range(6):
        frames.insert(chance.randrange(1, len(frames)), chance.choice(frames))
        del frames[chance.randrange(1, len(frames))]
    return frames


def as_the_python_client(frames: Steps) -> list[tuple[bool, dict[str, Any], str]]:
    cursor = Cursor(seq=0)
    seen = []
    for frame in frames:
        gap = False
        try:
            cursor.apply(frame)
        except Gap:
            gap = True
        seen.append((gap, {"c": "c", **cursor.position()}, cursor.text))
    return seen


def test_the_page_and_the_python_client_stand_at_the_same_place_after_every_frame(
    page: Page,
) -> None:
    sessions = [mangled(random.Random(seed)) for seed in range(150)]
    gaps = 0
    for seed, (frames, told) in enumerate(zip(sessions, page(sessions), strict=True)):
        steps = [(s["outcome"] == "gap", s["position"], s["text"]) for s in told["seen"]]
        assert steps == as_the_python_client(frames), f"seed {seed}"
        gaps += sum(gap for gap, *_ in steps)
    assert gaps > 100, "nothing was lost"
