"""The live frames of one conversation: one that can't be read costs a look at the log, no more."""

from __future__ import annotations

import pytest

from gateway.bells import Feed
from gateway.read_model import Logged
from gateway.token_merge import Stretch

EVENT = b'{"t":"event","c":"c-1","seq":1,"type":"ConversationStarted","data":{}}'
PIECE = b'{"t":"tokens","c":"c-1","turn":"t-1","attempt":1,"from":0,"text":"Hello"}'


class Heard:
    """A listener that keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[int] = []
        self.stretches: list[tuple[int, int]] = []
        self.attached = 0

    def on_event(self, event: Logged) -> None:
        # Compared, as a subscription does.
        if event.seq > 0:
            self.events.append(event.seq)

    def on_stretch(self, stretch: Stretch) -> None:
        self.stretches.append((stretch.start, stretch.end))

    def on_attached(self) -> None:
        self.attached += 1


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"no frame",
        b"[]",
        b"{}",
        b'{"t":"event"}',
        b'{"t":"event","seq":"one","type":"ConversationStarted"}',
        b'{"t":"tokens","turn":"t-1","attempt":1,"from":0,"text":5}',
        b'{"t":"tokens","turn":"t-1","attempt":1,"from":"0","text":"Hello"}',
    ],
)
async def test_after_a_frame_that_cannot_be_read_the_log_is_read_and_the_next_frame_rings(
    frame: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    feed, heard = Feed("c-1", merge_s=0.0, merge_bytes=4096), Heard()
    feed.listeners.add(heard)
    feed.ring(frame)
    assert (heard.events, heard.stretches, heard.attached) == ([], [], 1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    feed.ring(EVENT)
    feed.ring(PIECE)
    assert (heard.events, heard.stretches, heard.attached) == ([1], [(0, 5)], 1)


async def test_a_frame_of_a_kind_that_is_not_known_yet_is_passed_over() -> None:
    feed, heard = Feed("c-1", merge_s=0.0, merge_bytes=4096), Heard()
    feed.listeners.add(heard)
    feed.ring(b'{"t":"presence","c":"c-1"}')
    assert (heard.events, heard.stretches, heard.attached) == ([], [], 0)
