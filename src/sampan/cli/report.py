"""How a failure is told: ``error:`` and ``hint:`` on stderr, and a number for scripts.

It guarantees that no traceback is printed unless asked for; that of an unexpected error is kept in a
file which only its owner can read. Exit codes are the errors' own: see :mod:`sampan.errors`.
"""

from __future__ import annotations

import os
import tempfile
import traceback

import click

from sampan.errors import SampanError, printable, redact
from sampan.words import Text, in_language

UNEXPECTED = 1
USAGE = 2
INTERRUPTED = 130  # what shells give for SIGINT
MESSAGE_CHARACTERS_MAX = 300


def report(error: BaseException, *, debug: bool) -> int:
    """Tell ``error`` on stderr; returns the exit code."""
    if debug:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    if isinstance(error, SampanError):
        _tell(_said(error.message), _said(error.hint))
        return error.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return USAGE
    if isinstance(error, click.ClickException):
        _tell(error.format_message(), f"{_path_of(error)} --help shows how it is used")
        return USAGE
    if isinstance(error, click.Abort | KeyboardInterrupt):
        _tell("interrupted", None)
        return INTERRUPTED
    kept = "shown above" if debug else _keep(error)
    message = printable(redact(str(error)), characters_max=MESSAGE_CHARACTERS_MAX)
    _tell(f"unexpected: {type(error).__name__}: {message}", f"the traceback is {kept}; please report it")
    return UNEXPECTED


def _said(text: str | None) -> str | None:
    """In the language of whoever is told, where it exists in that."""
    if not isinstance(text, Text):
        return text
    from sampan.config.environment import language  # imports much, for the few errors that are translated

    try:
        return in_language(text, language(os.environ))
    except SampanError:  # a language that nobody knows: that is another error than this one
        return text


def _tell(message: str | None, hint: str | None) -> None:
    click.echo(f"error: {message}", err=True)
    for line in (hint or "").splitlines():
        click.echo(f"hint: {line}", err=True)


def _path_of(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return context.command_path if context is not None else "sampan"


def _keep(error: BaseException) -> str:
    """Where the traceback went, for the sentence about it."""
    try:
        descriptor, path = tempfile.mkstemp(prefix="sampan-traceback-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(redact("".join(traceback.format_exception(error))))
    except OSError:
        return "shown with --debug"
    return f"in {path}"
