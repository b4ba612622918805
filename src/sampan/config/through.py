"""``[pull]``: a pull that goes through a running mirror, perhaps the one of this very file.

It guarantees that then no other host is asked for anything, and that the content is kept in a store of the
pull's own: the mirror's belongs to the mirror, and may be another user's or on another machine. Without it
nothing of the configuration changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sampan.config import environment
from sampan.config.mirrors import TEMPLATE, read_mirror
from sampan.config.problems import Problems
from sampan.config.schema import MirrorTable, PullTable
from sampan.config.settings import Config
from sampan.config.surroundings import Surroundings
from sampan.errors import ConfigError
from sampan.upstream.host import Host

# Of a mirror's keys, those that choose among hosts, or among what one of them is asked for.
NOT_HERE = ("capabilities", "allow", "repositories", "group", "verify", "max_refusals")


@dataclass(frozen=True, slots=True)
class Through:
    """The mirror, and where what comes from it is kept."""

    host: Host
    store: Path

    def applied(self, config: Config, *, keeps_store: bool) -> Config:
        """``config`` for a pull by way of the mirror alone. What a tag means is the mirror's to decide, so it
        is asked each time; ``keeps_store``: the store was named for this very pull."""
        store = config.store if keeps_store else replace(config.store, path=self.store)
        tags = replace(config.tags, fresh_for_seconds=0.0, agree=1)
        return replace(config, store=store, tags=tags, via=self.host)


def read_through(
    table: PullTable, via: str | None, around: Surroundings, problems: Problems
) -> Through | None:
    """What ``[pull]`` says, or ``via`` (the command line's) above it; None: nothing goes through a mirror.

    What is wrong goes to ``problems``.
    """
    store = environment.pull_store(around.environ)
    with problems.at("pull", "store"):
        store = around.path(table.store) if table.store is not None else store
    place, entry = (("--via",), via) if via is not None else (("pull", "via"), table.via)
    if entry is None:
        return None
    before = len(problems.found)
    if isinstance(entry, MirrorTable):
        _refuse_keys(entry, place, problems)
    host = read_mirror(entry, place, around, problems)
    with problems.at(*place):
        if host is not None and host.prefix:
            raise ConfigError(
                "expected the URL of a mirror without a path, got one with a path",
                hint="sampan serve answers at the root; other mirrors belong into [registry]",
            )
    if host is None or len(problems.found) > before:
        return None
    return Through(replace(host, namespace=TEMPLATE, private=True), store)


def _refuse_keys(entry: MirrorTable, place: tuple[str, ...], problems: Problems) -> None:
    usual = MirrorTable(url=entry.url)
    for key in NOT_HERE:
        if getattr(entry, key) != getattr(usual, key):
            problems.add((*place, key), "expected no such key here: this mirror is asked for everything")
