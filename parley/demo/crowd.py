"""Lets all customers talk at once and shows their answers as they stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rich.live import Live

from infra.settings import Settings
from parley.client import Applied, Event, Exchange, Text
from parley.client.conversation import new_id
from parley.demo.customers import Customer
from parley.demo.screen import COLOURS, Broken, Screen, streaming_table
from parley.talk import ask, open_client


@dataclass(slots=True)
class Talk:
    """One customer's conversation as it went."""

    customer: Customer
    conversation: str = field(default_factory=new_id)
    asked: str = ""
    streaming: str = ""
    exchanges: list[tuple[str, Exchange]] = field(default_factory=list)
    items: list[Applied] = field(default_factory=list)

    def show(self, item: Applied) -> None:
        """Takes what arrives."""
        self.items.append(item)
        if isinstance(item, Text):
            self.streaming = item.text if item.at == 0 else self.streaming + item.text

    @property
    def redacted(self) -> list[str]:
        """The messages as analysis recorded them, with placeholders."""
        events = (item for item in self.items if isinstance(item, Event))
        return [str(e.data["text"]) for e in events if e.type == "MessageAnalysed"]


async def converse(settings: Settings, talk: Talk) -> None:
    """Says everything that a customer has to say."""
    async with open_client(settings, talk.customer.tenant, talk.customer.name) as client:
        conversation = await client.conversation(talk.conversation)
        for text in talk.customer.messages:
            talk.asked, talk.streaming = text, ""
            talk.exchanges.append((text, await ask(conversation, text, talk.show)))


async def talk_all(
    settings: Settings, screen: Screen, customers: tuple[Customer, ...]
) -> list[Talk]:
    """Runs all conversations side by side; returns them when every answer is there."""
    talks = [Talk(customer) for customer in customers]
    with _live(screen, talks) as update:
        working = asyncio.gather(*(converse(settings, talk) for talk in talks))
        while not working.done():
            update()
            await asyncio.wait({working}, timeout=0.08)
        await working
    return talks


@contextlib.contextmanager
def _live(screen: Screen, talks: list[Talk]) -> Iterator[Callable[[], None]]:
    if not screen.console.is_terminal:
        yield lambda: None
        return
    with Live(console=screen.console, auto_refresh=False, transient=True) as live:

        def update() -> None:
            rows = [(talk.customer, talk.asked, talk.streaming) for talk in talks]
            live.update(streaming_table(rows, screen.console.width), refresh=True)

        yield update


def print_talks(screen: Screen, talks: list[Talk]) -> None:
    """Every conversation, with what was asked as the log keeps it."""
    for number, talk in enumerate(talks):
        colour = COLOURS[number % len(COLOURS)]
        for (text, exchange), redacted in zip(talk.exchanges, talk.redacted, strict=False):
            hidden = "as analysed; the original is sealed" if redacted != text else ""
            screen.said(talk.customer, colour, redacted, hidden)
            titles = [f"“{cited['title']}”" for cited in exchange.citations]
            screen.answered(colour, exchange.text, titles)


def check_talks(screen: Screen, talks: list[Talk]) -> None:
    """Holds the answers against what the customers' scripts expect. Raises `Broken`."""
    for talk in talks:
        _check_talk(talk)
    answers = sum(len(talk.exchanges) for talk in talks)
    screen.kept(f"{answers} messages in parallel, each with one completed answer")
    screen.kept("the follow-up was answered from its context, the film question declined")
    screen.kept("card number and e-mail address left as placeholders")


def _check_talk(talk: Talk) -> None:
    customer = talk.customer
    for text, exchange in talk.exchanges:
        if exchange.outcome != "completed":
            why = exchange.message or exchange.outcome
            raise Broken(f"{customer.name}'s “{text}” has no completed answer: {why}")
    last = talk.exchanges[-1][1]
    cited = {each["document"] for each in last.citations}
    if customer.cites and customer.cites not in cited:
        found = ", ".join(sorted(cited)) or "nothing"
        raise Broken(f"{customer.name}'s answer rests on {found}, expected {customer.cites}")
    if customer.declined and not last.declined:
        raise Broken(f"{customer.name}'s question is out of scope and was answered all the same")
    if customer.redacted and talk.redacted != [customer.redacted]:
        raise Broken(f"{customer.name}'s message was recorded as {talk.redacted}")
