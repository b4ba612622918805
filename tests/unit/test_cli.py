"""The command line's manners: help, versions, errors as words and codes, and nothing slow before its time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from sampan.cli import main
from sampan.cli import program as cli
from sampan.cli.command import Command, Invocation
from sampan.cli.program import COMMANDS, program
from sampan.errors import (
    AllHostsFailed,
    ConfigError,
    ContentMismatch,
    InvalidReference,
    NotFound,
    SampanError,
    StoreFull,
)

SLOW = (
    "aiohttp",
    "asyncio",
    "msgspec",
    "bcrypt",
    "prometheus_client",
    "ssl",
    "rich",
    "sampan.config",
    "sampan.mirror",
)

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], object]], list[str | None]]]:
    """Adds ``sampan trial``, which does what it is given and notes the configuration it was told."""

    def add(do: Callable[[], object]) -> list[str | None]:
        told: list[str | None] = []

        @click.command(cls=Command, example="sampan trial")
        @click.pass_obj
        def command(invocation: Invocation) -> None:
            """Try."""
            told.append(invocation.config)
            do()

        monkeypatch.setitem(COMMANDS, "trial", "Try.")
        known = program.get_command
        monkeypatch.setattr(
            program, "get_command", lambda ctx, name: command if name == "trial" else known(ctx, name)
        )
        return told

    return add  # type: ignore[return-value]  # a fixture's type is its value's


def raising(error: BaseException) -> Callable[[], object]:
    def do() -> object:
        raise error

    return do


def test_help_lists_every_command_and_imports_none_of_them(capsys: Captured) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert "--config FILE" in shown


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_nothing_slow_is_imported_for_help(argument: str) -> None:
    code = (
        f"import sys; from sampan.cli import main; main([{argument!r}]); print(*sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not [name for name in ended.stderr.split() if name.startswith(SLOW)]


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_commands_help_begins_with_an_example_that_works(name: str, capsys: Captured) -> None:
    assert main([name, "--help"]) == 0
    first, example, *_ = capsys.readouterr().out.splitlines()
    assert first == "Example:"
    assert example.startswith(f"  sampan {name}")


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_command_is_what_its_name_and_its_line_in_the_list_say(name: str) -> None:
    with click.Context(program) as context:
        command = program.get_command(context, name)
    assert isinstance(command, Command)
    assert command.help
    assert COMMANDS[name].endswith(".")
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"--config", "--debug"} <= options


@pytest.mark.parametrize("module", ["sampan", "sampan.cli"])
def test_python_m_is_the_same_command(module: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True
    )
    assert ended.stdout.startswith("sampan 0.")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["trial"], None),
        (["--config", "a.toml", "trial"], "a.toml"),
        (["trial", "--config", "b.toml"], "b.toml"),
        (["--config", "a.toml", "trial", "--config", "b.toml"], "b.toml"),
        (["--debug", "trial", "--config=b.toml", "--debug"], "b.toml"),
    ],
)
def test_the_configuration_is_named_before_or_after_the_command(
    trial: Callable[[Callable[[], object]], list[str | None]], args: list[str], told: str | None
) -> None:
    heard = trial(lambda: None)
    assert main(args) == 0
    assert heard == [told]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x", hint="do y"), 2),
        (InvalidReference("x", hint="do y"), 2),
        (NotFound("x", (), hint="do y"), 3),
        (ContentMismatch("x", hint="do y"), 4),
        (AllHostsFailed("x", (), hint="do y"), 5),
        (StoreFull("x", hint="do y"), 6),
    ],
)
def test_an_error_is_a_sentence_a_hint_and_its_classes_code(
    trial: Callable[[Callable[[], object]], object], error: SampanError, code: int, capsys: Captured
) -> None:
    trial(raising(error))
    assert main(["trial"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"error: {error.message}\nhint: do y\n"


def test_every_line_of_a_hint_is_marked(
    trial: Callable[[Callable[[], object]], object], capsys: Captured
) -> None:
    trial(raising(ConfigError("a\nb", hint="c\nd")))
    main(["trial"])
    assert capsys.readouterr().err == "error: a\nb\nhint: c\nhint: d\n"


def test_debug_shows_where_an_error_came_from(
    trial: Callable[[Callable[[], object]], object], capsys: Captured
) -> None:
    trial(raising(ConfigError("x")))
    assert main(["trial", "--debug"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert shown.endswith("error: x\n")


def test_an_unexpected_error_is_one_line_and_its_traceback_is_kept_for_its_owner(
    trial: Callable[[Callable[[], object]], object],
    capsys: Captured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    trial(raising(KeyError("https://u:271828@h/x?token=314159\x1b[31m")))
    assert main(["trial"]) == 1
    error, hint = capsys.readouterr().err.splitlines()
    (kept,) = tmp_path.iterdir()
    assert error.startswith("error: unexpected: KeyError: ")
    assert hint == f"hint: the traceback is in {kept}; please report it"
    assert kept.stat().st_mode & 0o777 == 0o600
    text = kept.read_text()
    assert "in raising" in text or "in do" in text
    assert not any(secret in f"{error}{text}" for secret in ("271828", "314159"))
    assert "\x1b" not in error


def test_an_unexpected_error_is_told_though_nothing_can_be_written(
    trial: Callable[[Callable[[], object]], object], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/no/such/directory")
    trial(raising(ValueError("x")))
    assert main(["trial"]) == 1
    assert "hint: the traceback is shown with --debug" in capsys.readouterr().err
    assert main(["trial", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_no_failure_of_ours(
    trial: Callable[[Callable[[], object]], object], error: BaseException, capsys: Captured
) -> None:
    trial(raising(error))
    assert main(["trial"]) == 130
    assert capsys.readouterr().err.strip() == "error: interrupted"


@pytest.mark.parametrize(
    ("args", "error", "hint"),
    [
        (["serv"], 'no such command: "serv"', "did you mean sampan serve?"),
        (["zzz"], 'no such command: "zzz"', "sampan --help lists the commands"),
        (["--zzz"], "--zzz", "sampan --help shows how it is used"),
        (["serve", "--listn", "x"], "--listn", "sampan serve --help shows how it is used"),
        (["serve", "--log-format", "xml"], "xml", "sampan serve --help shows how it is used"),
        (["serve", "surplus"], "surplus", "sampan serve --help shows how it is used"),
        (["serve", "--config"], "--config", "sampan --help shows how it is used"),
    ],
)
def test_a_slip_on_the_command_line_is_told_with_a_hint(
    args: list[str], error: str, hint: str, capsys: Captured
) -> None:
    assert main(args) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert error in shown.err
    assert f"hint: {hint}\n" in shown.err


def test_nothing_asked_is_answered_with_the_help(capsys: Captured) -> None:
    assert main([]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("Usage: sampan ")
    assert shown.out == ""


def test_a_command_without_a_command_is_our_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "report", "Not one.")
    with pytest.raises(AttributeError):
        program.get_command(click.Context(cli.program), "report")


def test_serve_starts_nothing_with_a_bad_configuration(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "sampan.toml"
    file.write_text(f'[store]\npath = "{tmp_path}/store"\n[server]\nlistn = "127.0.0.1:0"\n')
    assert main(["serve", "--config", str(file)]) == 2
    shown = capsys.readouterr().err
    assert shown == (
        f"error: {file}:4: server.listn: expected a key of [server], got an unknown one\n"
        'hint: did you mean "listen"?\n'
    )
    assert not (tmp_path / "store").exists()
