"""The command line: one file a command, each of which parses, calls and prints."""

from sampan.cli.program import main

__all__ = ["main"]
