"""What all commands have in common: an example at the head of their help, ``--config`` and ``--debug``.

It guarantees that these two mean the same before and after the command's name. It imports nothing
that takes time: every call of ``sampan`` loads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click


@dataclass(slots=True)
class Invocation:
    """What was said for all commands: the configuration file, and whether tracebacks are wanted."""

    config: str | None = None
    debug: bool = False


def common_options() -> list[click.Parameter]:
    """``--config`` and ``--debug``, kept in the context's :class:`Invocation`."""
    return [
        click.Option(
            ["--config"],
            metavar="FILE",
            expose_value=False,
            callback=_keep_config,
            help="Read this configuration file, and no other.",
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            callback=_keep_debug,
            help="Show where an error came from.",
        ),
    ]


class Command(click.Command):
    """A command whose help begins with ``example``, one or more lines to copy."""

    def __init__(self, *args: Any, example: str, **attributes: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*args, **attributes)
        self.example = example
        self.params.extend(common_options())

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write("Example:\n")
        for line in self.example.splitlines():
            formatter.write(f"  {line}\n")
        formatter.write_paragraph()
        super().format_help(ctx, formatter)


class CommandGroup(Command, click.Group):
    """A command that is several: ``sampan lock create`` and ``sampan lock verify``."""


def _invocation(context: click.Context) -> Invocation:
    return context.ensure_object(Invocation)


def _keep_config(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        _invocation(context).config = value


def _keep_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        _invocation(context).debug = True
