"""``sampan``: finds the command by its name and turns what goes wrong into words and an exit code.

It guarantees that an error is ``error:`` and ``hint:`` on stderr, with the exit code of its class and
never a traceback that nobody asked for, and that asking for help imports no command.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import click

from sampan.cli.command import Invocation, common_options

# In the order of the help: name, which is also the module's, and what the list of commands says.
COMMANDS = {
    "serve": "Run the mirror, until SIGTERM; SIGHUP reloads the configuration.",
    "lock": "Write down what tags mean, as several hosts agree, and check that it still holds.",
    "pull": "Pull whole images from whichever hosts have them, and never from zero again.",
    "bundle": "Carry images across a gap: only what is missing, on media that may fail.",
    "store": "Look into the local store, keep it to a size, and check that it is still right.",
    "init": "Try origins and known mirrors, and write a sampan.toml of what works from here.",
    "mirrors": "Show the hosts that are configured and known, and what each of them can really do.",
    "node": "Tell the container runtimes of this machine about mirrors: status, plan, apply, revert.",
    "doctor": "Find out why an image does not arrive, and say what to do.",
    "rewrite": "Redirect image names to mirrors: references, manifests, compose files, Dockerfiles, CI.",
    "webhook": "Redirect the images of a whole Kubernetes cluster where pods are admitted.",
    "actions-hook": "Redirect the images of a GitHub Actions runner's jobs, before its own hook.",
    "demo": "Show on loopback, in seconds, what the mirror does.",
}


class Program(click.Group):
    """The commands, imported when one is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"sampan.cli.{cmd_name.replace('-', '_')}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"sampan.cli.{cmd_name} has no command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            from sampan.errors import UsageError

            raise UsageError(f'no such command: "{args[0]}"', hint=_nearest(args[0]))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def main(args: Sequence[str] | None = None) -> int:
    """Run ``sampan`` with ``args`` (the process's own when None); returns the exit code."""
    invocation = Invocation()
    try:
        result = program.main(args=args, prog_name="sampan", standalone_mode=False, obj=invocation)
    except Exception as error:  # noqa: BLE001 - the last stop: everything becomes words and a code
        return _report(error, invocation)
    except KeyboardInterrupt as error:
        return _report(error, invocation)
    return result if isinstance(result, int) else 0


def _report(error: BaseException, invocation: Invocation) -> int:
    from sampan.cli.report import report  # a fifth of the time of --help, which needs it not

    return report(error, debug=invocation.debug)


def _show_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from importlib.metadata import version  # slow, and rarely asked for

        click.echo(f"sampan {version('sampan')}")
        context.exit()


def _nearest(word: str) -> str:
    import difflib

    near = difflib.get_close_matches(word[:100], COMMANDS, n=1)
    return f"did you mean sampan {near[0]}?" if near else "sampan --help lists the commands"


program = Program(
    help="Brings container images to machines that a registry no longer reaches.",
    epilog="sampan COMMAND --help shows an example first.",
    params=[
        *common_options(),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="Show the version and exit.",
        ),
    ],
)
