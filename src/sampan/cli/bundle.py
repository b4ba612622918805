"""``sampan bundle``: images carried across a gap; its commands, imported when one is named.

It guarantees that asking for help imports none of them. What they do is in the modules beside this one, the
work itself in :mod:`sampan.bundle`.
"""

from __future__ import annotations

import importlib

import click

from sampan.cli.command import CommandGroup

# In the order of the help: name -> what the list says. The module is sampan.cli.bundle_NAME.
COMMANDS = {
    "create": "Pack images into one file, a directory or volumes, and go on after any interruption.",
    "inspect": "Show what is inside, from the first page of the file.",
    "load": "Load images from bundles or other archives: into a store, a runtime, a registry.",
    "inventory": "Write down what is here, so that a bundle need not carry it.",
    "verify": "Read all of it again, and check every byte and the signature.",
    "repair": "Make lost volumes anew, and mend bad spots, from the recovery volumes.",
    "key": "Make a pair of keys to sign bundles with.",
}


class BundleGroup(CommandGroup):
    """Its commands, each in a module of its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"sampan.cli.bundle_{cmd_name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"sampan.cli.bundle_{cmd_name} has no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=BundleGroup,
    example="sampan bundle create -o images.tar alpine:3 nginx:1.27\nsampan bundle inspect images.tar",
)
def command() -> None:
    """Carry images across a gap: only what is missing, on media that may fail."""
