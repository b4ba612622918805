"""Which hosts answer HEAD of a manifest usefully: not all that give one say so when they are asked for its
headers alone.

The one guarantee: a host that does not is asked so once, and by GET from then on. Whether a 404 means that
the manifest is missing or that HEAD is, the next GET tells.
"""

from __future__ import annotations

HOSTS_REMEMBERED_MAX = 10_000  # strangers may choose the hosts


class Heads:
    """By the names of hosts."""

    def __init__(self) -> None:
        self._answers: dict[str, bool] = {}
        self._doubted: dict[str, str] = {}

    def answers(self, host: str) -> bool | None:
        """Whether ``host`` does; None: nobody knows yet."""
        return self._answers.get(host)

    def note(self, host: str, *, useful: bool) -> None:
        """It did, or did not."""
        if len(self._answers) >= HOSTS_REMEMBERED_MAX:
            self._answers.clear()
        self._answers[host] = useful
        if useful:
            self._doubted.pop(host, None)  # it was the manifest that was missing

    def doubt(self, host: str, path: str) -> None:
        """It answered 404 to its first HEAD, which was for ``path``."""
        if len(self._doubted) >= HOSTS_REMEMBERED_MAX:
            self._doubted.clear()
        self._doubted[host] = path

    def given(self, host: str, path: str) -> None:
        """It gave ``path`` by GET."""
        if self._doubted.get(host) == path:
            del self._doubted[host]
            self.note(host, useful=False)
