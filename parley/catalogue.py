"""Every command of `parley`, in the order of its help. Nothing is imported until it is called.

A new command is a module in `parley/commands/` and one line here.
"""

from __future__ import annotations

from dataclasses import dataclass

STACK, TALK, LOOK, PREPARE = "The stack", "Conversations", "Looking inside", "Preparing"


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: where it is, and the line that the overview shows for it.

    `attribute` of `module` is the command's function, or a Typer of its own for a group.
    """

    name: str
    module: str
    attribute: str
    summary: str
    panel: str


COMMANDS = (
    Entry("up", "up", "up", "Starts the whole stack on this machine.", STACK),
    Entry("down", "down", "down", "Stops the stack.", STACK),
    Entry("status", "status", "status", "Shows the parts of the stack, or the settings.", STACK),
    Entry("worker", "processes", "worker", "Runs some stages as one process.", STACK),
    Entry("gateway", "processes", "gateway", "Runs the gateway as one process.", STACK),
    Entry("analytics", "processes", "analytics", "Runs ClickHouse and its sink.", STACK),
    Entry("chat", "chat", "chat", "Talks with the stack in the terminal.", TALK),
    Entry("say", "say", "say", "Sends one message and streams the answer.", TALK),
    Entry("import", "imports", "imports", "Plays real customers through the gateway.", TALK),
    Entry("token", "token", "token", "Prints a token for the local gateway.", TALK),
    Entry("log", "log", "log", "Prints the events of a conversation, in order.", LOOK),
    Entry("trace", "trace", "trace", "Shows where the time of one message went.", LOOK),
    Entry("sql", "sql", "sql", "Asks ClickHouse.", LOOK),
    Entry("verify", "verify", "verify", "Compares log, Redis and ClickHouse.", LOOK),
    Entry("dead-letters", "dead_letters", "app", "Records that no retry could handle.", LOOK),
    Entry("analyse", "analyse", "analyse", "Prints what analysis records for a text.", LOOK),
    Entry("knowledge", "knowledge", "app", "A tenant's knowledge base.", PREPARE),
    Entry("topics", "topics", "app", "Topics and schemas.", PREPARE),
    Entry("models", "models", "app", "Models that analysis and answering run.", PREPARE),
)
