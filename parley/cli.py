"""The command `parley`: finds the command that was asked for, and turns failures into sentences.

What the commands do is left to `parley/commands/`; they are imported when they are called, so
that `parley --help` is there at once.
"""

from __future__ import annotations

import errno
import traceback
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from parley.catalogue import COMMANDS, Entry
from parley.exits import verdict

_EPILOG = (
    "Begin with [bold]parley up[/bold], then [bold]parley chat[/bold]. Exit codes: 0 done, "
    "1 negative finding, 2 wrong usage, 3 the stack does not answer, 4 refused, "
    "5 a part did not start."
)


class LazyGroup(TyperGroup):
    """A group that knows its commands by name and imports the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._entries = {entry.name: entry for entry in COMMANDS}
        for entry in COMMANDS:
            self.commands[entry.name] = TyperCommand(
                entry.name, help=entry.summary, rich_help_panel=entry.panel
            )

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Replaces the entry that only has a name and a line by the real command."""
        name, found, rest = super().resolve_command(ctx, args)
        if name in self._entries:
            found = load(self._entries[name])
        return name, found, rest

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; a failure becomes a sentence and an exit code."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as error:
            if _is_usage_error(error) or _is_broken_pipe(error):
                raise
            if ctx.params.get("debug"):
                traceback.print_exception(error)
            else:
                _explain(error)
            raise typer.Exit(verdict(error).code) from None


def load(entry: Entry) -> Any:
    """Imports a command."""
    found = getattr(import_module(f"parley.commands.{entry.module}"), entry.attribute)
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
    alone.command(name=entry.name)(found)
    return typer.main.get_command(alone)


def _is_usage_error(error: Exception) -> bool:
    """Whether Typer itself shows this error, with the usage of the command."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _is_broken_pipe(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def _explain(error: Exception) -> None:
    from rich.text import Text

    from parley.terminal import err

    ended = verdict(error)
    first, *others = str(ended).splitlines() or [type(error).__name__]
    err().print(Text.assemble(("error: ", "bold red"), first), soft_wrap=True)
    for line in others:
        err().print(Text("       " + line), soft_wrap=True)
    if ended.detail:
        err().print(Text(ended.detail, "dim"), soft_wrap=True)


app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"parley {version('parley')}")
        raise typer.Exit


@app.callback()
def parley(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the trace of an error instead of a sentence.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """The event-sourced backbone of conversational AI, whole on one machine or part by part."""


def main() -> None:
    """The entry point of the console script."""
    app(prog_name="parley")


if __name__ == "__main__":
    main()
