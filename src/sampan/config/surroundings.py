"""The machine around a configuration: the files that it names and the variables that hold its secrets.

It guarantees that an error names the file or the variable and never what is in it. Tables that are not
in force (another profile's) are read with ``consulted = False``: their form is checked, nothing is opened.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sampan.errors import ConfigError, printable

SECRET_BYTES_MAX = 64 * 1024  # registry tokens are at most a few KiB


@dataclass(frozen=True, slots=True)
class Surroundings:
    """``directory`` is the configuration file's: relative paths start there."""

    environ: Mapping[str, str]
    directory: Path
    consulted: bool = True

    def path(self, text: str) -> Path:
        """``text`` as a path, absolute if the directory is."""
        if not text or "\0" in text:
            raise ConfigError("expected the path of a file, got an empty or impossible one")
        return self.directory / text

    def readable(self, text: str) -> Path:
        """The path of a file that can be opened for reading. Raises :class:`ConfigError`."""
        path = self.path(text)
        if self.consulted:
            self._first_bytes(path, 1)
        return path

    def secret(self, key: str, text: str) -> str:
        """What ``password``, ``password_env`` or ``password_file`` stands for."""
        if key == "password_env":
            return self._secret_of_variable(text)
        return self._secret_of_file(text) if key == "password_file" else _usable(text, "it")

    def _secret_of_file(self, text: str) -> str:
        """The content of a file, without the line break at its end."""
        path = self.path(text)
        if not self.consulted:
            return ""
        data = self._first_bytes(path, SECRET_BYTES_MAX + 1)
        if len(data) > SECRET_BYTES_MAX:
            raise ConfigError(
                f"expected a file of at most {SECRET_BYTES_MAX} bytes, got a longer one: {path}"
            )
        try:
            return _usable(data.decode("utf-8").rstrip("\r\n"), f"the file {path}")
        except UnicodeDecodeError:
            pass  # the error would carry the content: do not chain it
        raise ConfigError(f"expected text, got a binary file: {path}")

    def _secret_of_variable(self, name: str) -> str:
        """The value of an environment variable, which must be set."""
        if not self.consulted:
            return ""
        if name not in self.environ:
            raise ConfigError(
                f"expected the environment variable {printable(name)} to be set, got none",
                hint=f"set {printable(name)}, or use password_file",
            )
        return _usable(self.environ[name], f"the environment variable {printable(name)}")

    def _first_bytes(self, path: Path, count: int) -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(count)
        except OSError as error:
            reason = os.strerror(error.errno).lower() if error.errno else "it cannot be opened"
            raise ConfigError(
                f"expected a readable file, got {path}: {reason}",
                hint="relative paths start at the configuration file's directory",
            ) from error


def _usable(secret: str, source: str) -> str:
    """A secret goes into a header, so it is one line of visible characters; and it is there."""
    if not secret:
        raise ConfigError(f"expected a password, got nothing: {source} is empty")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in secret):
        raise ConfigError(f"expected a password in one line, got control characters in {source}")
    return secret
