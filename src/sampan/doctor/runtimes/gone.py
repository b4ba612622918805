"""Mirrors that somebody has configured and that are no more: tutorials name them for years.

By the catalogue, which is dated: one that is seen to be well has come back, and that is said.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from sampan.doctor.catalogue import DEAD, Catalogue, Entry
from sampan.doctor.contract import Finding, Scene, Unseen
from sampan.doctor.looks import look_at_all
from sampan.upstream.url import parse_url
from sampan.words import sentence

OWN = "sampan.toml"


async def check_gone(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """Mirrors in files of runtimes, and in ours, that the catalogue knows to be gone."""
    gone = _gone(scene.catalogue)
    asked = [(runtime, netloc, file) for runtime, netloc, file in _asked(scene) if netloc in gone]
    if not asked:
        return
    well = {report.host.base.netloc for report in await look_at_all(scene) if report.is_good}
    for runtime, netloc, file in dict.fromkeys(asked):
        entry = gone[netloc]
        yield Finding(
            "MIRROR_IS_GONE",
            runtime,
            sentence(
                "{host} is gone, as was known on {day}", host=netloc, day=entry.last_verified.isoformat()
            ),
            "note" if netloc in well else "warning",
            (entry.note,) if entry.note else (),
            sentence("public mirrors live for weeks; whoever asks a dead one waits for it at every pull"),
            sentence("put one in its place that works from here"),
            ("sampan", "mirrors", "test"),
            file=file,
            about=(netloc,),
        )


def _gone(catalogue: Catalogue | None) -> dict[str, Entry]:
    """By ``host[:port]``; one that has an entry that is not dead as well is not gone."""
    known = catalogue.by_host() if catalogue is not None else {}
    return {netloc: entry for netloc, entry in known.items() if entry.state == DEAD}


def _asked(scene: Scene) -> Iterator[tuple[str, str, str | None]]:
    """Who asks, whom, and the file that says so."""
    for seen in scene.runtimes:
        for asked in seen.status.in_force:
            for text in asked.hosts:
                try:
                    netloc = parse_url(text if "://" in text else f"https://{text}").netloc
                except ValueError:
                    continue
                yield seen.status.runtime, netloc, asked.file
    for registry in dict.fromkeys(reference.registry for reference in scene.references):
        for host in scene.hosts_for(registry):
            yield OWN, host.base.netloc, None
