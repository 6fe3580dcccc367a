"""Shows a streamed answer in the terminal as it arrives, and what it rests on."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text as Styled

from parley.client import Applied, Event, Exchange, Reset, Text


class AnswerView:
    """Prints the pieces of answers; pass `show` to `parley.talk.ask`.

    Where the output is no terminal nothing is streamed, and `finish` prints the whole answer.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_terminal
        self._streamed = ""
        self.attempt = 1
        self._open = False

    def show(self, item: Applied) -> None:
        """Takes what arrived."""
        if isinstance(item, Event):
            self._event(item)
        elif isinstance(item, Text):
            self._text(item)
        else:
            self._reset(item)

    def note(self, item: Applied) -> None:
        """Takes what arrived without showing it."""
        if isinstance(item, Event) and item.type == "TurnRestarted":
            self.attempt = int(item.data.get("attempt", self.attempt + 1))

    def finish(self, exchange: Exchange) -> None:
        """Ends the answer: its text where it was not streamed, then citations or the failure."""
        if exchange.outcome != "completed":
            self._break()
            why = exchange.message or exchange.outcome or "nothing came"
            self._console.print(Styled(f"no answer: {why}", "red"))
        else:
            self._go_on_to(exchange.text)
        self._break()
        self._streamed = ""
        if cited := ", ".join(f"[{c['marker']}] {c['title']}" for c in exchange.citations):
            self._console.print(Styled(cited, "dim"), soft_wrap=True)
        if exchange.degraded:
            self._console.print(Styled(f"degraded: {', '.join(exchange.degraded)}", "yellow"))

    def _event(self, event: Event) -> None:
        self.note(event)
        if event.type == "TurnRestarted" and self._live:
            self._break()
            again = f"the worker is gone; attempt {self.attempt} starts over"
            self._console.print(Styled(again, "yellow"))

    def _text(self, item: Text) -> None:
        if item.at == 0:
            self._break()
            self._streamed = ""
        if self._live:
            self._streamed += item.text
            self._write(item.text)

    def _reset(self, item: Reset) -> None:
        turn = item.state.get("turn") or {}
        text = turn.get("text", "")
        if self._live and text:
            self._go_on_to(text)

    def _go_on_to(self, text: str) -> None:
        """Shows a text whose beginning may be on the screen already."""
        if not text.startswith(self._streamed):
            self._break()
            self._streamed = ""
        if left := text[len(self._streamed) :]:
            self._write(left)
        self._streamed = text

    def _write(self, text: str) -> None:
        self._console.print(Styled(text, "cyan" if self._live else ""), end="", soft_wrap=True)
        self._open = True

    def _break(self) -> None:
        """Ends the line that is open, if one is."""
        if self._open:
            self._console.print()
            self._open = False
