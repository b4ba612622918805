"""What becomes of each reference: agreed and written down, or why not; held as locked, or moved.

Guarantees that no finding hides a contradiction: whoever names another digest than the agreed one is in
it, with what is known of the age of what that host has. It writes no file and prints nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sampan.errors import AllHostsFailed, NotFound, SampanError
from sampan.lock.document import Lock, Locked, PlatformManifest
from sampan.lock.survey import AnyManifest, Survey
from sampan.lock.verdict import Verdict
from sampan.oci import Digest, Index, Platform, Reference

Age = Literal["stale", "newer", "differs"]
There = Sequence[tuple[Platform, PlatformManifest]]
Standing = Literal["holds", "moved", "gone", "unconfirmed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """``locked`` is what may be written down; without it ``failure`` says why. ``ages``: for every digest
    beside the agreed one, whether what it names is older."""

    verdict: Verdict
    locked: Locked | None
    failure: SampanError | None
    ages: Mapping[Digest, Age]


@dataclass(frozen=True, slots=True)
class Check:
    """What became of a locked tag. ``moved``: another digest is agreed upon; ``gone``: every host denies
    the tag; ``unconfirmed``: not enough hosts answered, or they do not agree."""

    locked: Locked
    verdict: Verdict

    @property
    def standing(self) -> Standing:
        if self.verdict.agreed is not None:
            return "holds" if self.verdict.agreed == self.locked.digest else "moved"
        return "gone" if self.verdict.is_denied else "unconfirmed"


async def find(
    survey: Survey,
    references: Sequence[Reference],
    *,
    agree: int,
    platforms: Sequence[Platform],
    former: Lock,
    now_seconds: float,
) -> list[Finding]:
    """Survey ``references``, side by side. ``platforms``: which to write down, none for all there are.

    Raises RegistryUnknown, before anybody is asked; what else goes wrong is a finding.
    """
    for reference in references:
        survey.hosts(reference)

    async def one(reference: Reference) -> Finding:
        verdict = await survey.verdict(reference, agree)
        ages = await _ages(survey, verdict, former.find(reference)) if verdict.is_split else {}
        try:
            return Finding(verdict, await _locked(survey, verdict, platforms, now_seconds), None, ages)
        except SampanError as error:
            return Finding(verdict, None, error, ages)

    return list(await asyncio.gather(*(one(reference) for reference in references)))


async def check(survey: Survey, lock: Lock, *, agree: int) -> list[Check]:
    """Survey every image of ``lock`` again, side by side. Raises RegistryUnknown, before anybody is asked."""
    for image in lock.images:
        survey.hosts(image.reference)
    verdicts = await asyncio.gather(*(survey.verdict(image.reference, agree) for image in lock.images))
    return [Check(image, verdict) for image, verdict in zip(lock.images, verdicts, strict=True)]


async def _locked(
    survey: Survey, verdict: Verdict, platforms: Sequence[Platform], now_seconds: float
) -> Locked:
    if verdict.agreed is None:
        raise _disagreement(verdict)
    reference, hosts = verdict.reference, verdict.hosts(verdict.agreed)
    manifest = await survey.manifest(reference, verdict.agreed, hosts)
    there = await _platforms(survey, verdict, manifest)
    return Locked(
        reference,
        manifest.digest,
        manifest.media_type,
        manifest.size,
        _chosen(reference, there, platforms),
        tuple(sorted(host.name for host in hosts)),
        verdict.groups(manifest.digest),
        datetime.fromtimestamp(int(now_seconds), UTC),
    )


def _disagreement(verdict: Verdict) -> SampanError:
    attempts = [a for saying in verdict.sayings if saying.failure for a in saying.failure.attempts]
    if verdict.is_denied:
        return NotFound(str(verdict.reference), attempts)
    groups = len({saying.host.operator for saying in verdict.sayings})
    hint = None
    if groups < verdict.needed:
        hint = f"[tags] agree = {verdict.needed}, and {groups} groups of hosts may be asked: add mirrors"
    elif verdict.said:
        hint = "hosts disagree: see what each said; what is wrong there is for its operator to mend"
    what = "operator" if verdict.needed == 1 else "operators"
    return AllHostsFailed(
        f"{verdict.reference}, for which {verdict.needed} {what} must agree", attempts, hint=hint
    )


async def _platforms(survey: Survey, verdict: Verdict, manifest: AnyManifest) -> There:
    """What ``manifest`` holds for which platform. An artifact is for none."""
    if isinstance(manifest, Index):
        listed = [d for d in manifest.manifests if d.platform and d.platform.os != "unknown"]
        return [(d.platform, PlatformManifest(d.digest, d.size)) for d in listed if d.platform]
    if "image" not in manifest.config.media_type:
        return []
    config = await survey.config(verdict.reference, manifest.config, verdict.hosts(manifest.digest))
    words = [config.get(key) for key in ("os", "architecture", "variant", "os.version")]
    system, architecture, variant, version = (word if isinstance(word, str) else "" for word in words)
    if not system:
        return []
    itself = PlatformManifest(manifest.digest, manifest.size)
    return [(Platform(system, architecture, variant, version), itself)]


def _chosen(
    reference: Reference, there: There, platforms: Sequence[Platform]
) -> Mapping[str, PlatformManifest]:
    """By name, sorted; the first of equals, as runtimes choose. Raises NotFound for a platform that is
    not there."""
    chosen: dict[str, PlatformManifest] = {}
    for platform in platforms:
        suited = [
            (p, i) for i, (other, _) in enumerate(there) if (p := platform.preference(other)) is not None
        ]
        if not suited:
            known = ", ".join(_named(platform) for platform, _ in there) or "none"
            raise NotFound(f"{reference} for {platform}", (), hint=f"there is: {known}")
        chosen[_named(there[min(suited)[1]][0])] = there[min(suited)[1]][1]
    for platform, manifest in there if not platforms else ():
        chosen.setdefault(_named(platform), manifest)
    return dict(sorted(chosen.items()))


def _named(platform: Platform) -> str:
    """``linux/arm64/v8``; with a version as containerd writes it: ``windows(10.0.20348.1)/amd64``."""
    if not platform.os_version:
        return str(platform)
    return str(platform).replace(platform.os, f"{platform.os}({platform.os_version})", 1)


async def _ages(survey: Survey, verdict: Verdict, former: Locked | None) -> Mapping[Digest, Age]:
    """How old what others name is, against what is agreed upon."""
    agreed = verdict.agreed
    if agreed is None:
        return {}
    created = await asyncio.gather(
        *(survey.created(verdict.reference, digest, verdict.hosts(digest)) for digest in verdict.said)
    )
    when = dict(zip(verdict.said, map(moment, created), strict=True))
    return {
        digest: _age(when[digest], when[agreed], was_locked=former is not None and former.digest == digest)
        for digest in verdict.said
        if digest != agreed
    }


def _age(when: datetime | None, agreed: datetime | None, *, was_locked: bool) -> Age:
    if was_locked:
        return "stale"
    if when is None or agreed is None or when == agreed:
        return "differs"
    return "stale" if when < agreed else "newer"


def moment(text: str) -> datetime | None:
    """RFC 3339 as Go writes it, with up to nine digits of a second. None: not that."""
    head, dot, rest = text.partition(".")
    fraction = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    try:
        moment = datetime.fromisoformat(f"{head}{rest[len(fraction) :]}" if dot else text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
