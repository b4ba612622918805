"""What is not this machine's to edit, and gets documents and commands. The rules are in :mod:`.runtime`."""

from sampan.runtimes.elsewhere.runtime import ELSEWHERE, Elsewhere

__all__ = ["ELSEWHERE", "Elsewhere"]
