"""The demo's customers: who they are, what they say, and what their answers must be like."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Customer:
    """A person and what they say, in order; each message waits for the answer before it.

    `cites` names an article that the last answer must rest on, `declined` says that there is
    none to rest on, and `redacted` is all that may be left of their only message.
    """

    name: str
    tenant: str
    messages: tuple[str, ...]
    cites: str = ""
    declined: bool = False
    redacted: str = ""


BANK, GROCER = "demo", "harvest"

CUSTOMERS = (
    Customer(
        "ada",
        BANK,
        ("Can I get a second card for my account?", "And how much does that cost?"),
        cites="spare-cards",
    ),
    Customer(
        "ben",
        BANK,
        (
            "I was charged twice with card 4111 1111 1111 1111, "
            "please write to ben.carter@example.com",
        ),
        redacted="I was charged twice with card <CARD_1>, please write to <EMAIL_1>",
    ),
    Customer(
        "cleo", BANK, ("Which film won the prize for the best costumes last year?",), declined=True
    ),
    Customer("dev", BANK, ("How do I change my PIN?",), cites="changing-your-pin"),
    Customer("emma", BANK, ("My phone was stolen on the train this morning, what now?",)),
    Customer("finn", BANK, ("Which currencies can I hold in my account?", "Thanks a lot!")),
    Customer("gus", GROCER, ("When can my groceries be delivered?",), cites="delivery-slots"),
    Customer(
        "hana", GROCER, ("What happens when an item is out of stock?",), cites="substitutions"
    ),
)

CUT_OFF = Customer("iris", BANK, ("My new card still has not arrived, what can I do?",))
"""The one in the middle of whose answer the worker is killed."""
