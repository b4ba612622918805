"""The name of an image, as it was given: what each tool makes of it, and whether that is what was meant.

All but one complete a name as Docker does. ctr takes it as it is written; podman, buildah and CRI-O look a
name without a registry up where their configuration says.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from sampan.doctor.contract import Finding, Scene, Unseen
from sampan.errors import InvalidReference, printable
from sampan.oci.reference import DOCKER_HUB, Reference, canonical_registry, registry_behind
from sampan.runtimes.homes import root_home
from sampan.runtimes.podman.files import read_in_use
from sampan.runtimes.tree import Tree
from sampan.words import Text, sentence

SUBJECT_CHARACTERS_MAX = 100
CRI = ("kubelet", "crictl")
AS_DOCKER = ("docker", "nerdctl", "buildx", "skopeo")
BY_SEARCH = ("podman", "buildah", "crio")
CTR = ("ctr",)
_HOST_AND_PORT = re.compile(r"(?:localhost|[\w-]+(?:\.[\w-]+)+):[0-9]{1,5}", re.ASCII)
_SITE = "docker.com"


@dataclass(frozen=True, slots=True)
class Named:
    """What ``tools`` make of a name: ``images``, in the order in which they try them; none: they refuse it,
    and ``why`` says it, or what else is to be known."""

    tools: tuple[str, ...]
    images: tuple[str, ...] = ()
    why: Text | None = None


async def check_names(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """What is no reference, and what means something else than it looks like."""
    for text in scene.typed:
        try:
            reference = Reference.parse(text)
        except InvalidReference as error:
            yield Finding("NAME_INVALID", _shown(text), error.message, hint=error.hint)
            continue
        for finding in (*_misread(text, reference), *_of_hub(text, reference), *_both(text, reference)):
            yield finding


def names_of(text: str, tree: Tree) -> Sequence[Named]:
    """What each tool makes of ``text``; nothing where it is no reference at all."""
    try:
        reference = Reference.parse(text)
    except InvalidReference:
        return ()
    bare = Reference(reference.registry, reference.repository, None, reference.digest)
    cri = bare if reference.digest is not None else reference
    as_docker = Named(AS_DOCKER, (str(reference),))
    return Named(CRI, (str(cri),)), as_docker, _searched(text, tree), _as_written(text)


def _searched(text: str, tree: Tree) -> Named:
    """Podman and its kin: without a registry, where the configuration says."""
    reference = Reference.parse(text)
    if _has_registry(text):
        return Named(BY_SEARCH, (str(reference),))
    in_use = read_in_use(tree, root_home(tree), merged=False)
    search = in_use.search() if not in_use.problems else []
    if not search:
        return Named(BY_SEARCH, why=sentence("no registry is named, and none is configured to look in"))
    written = text if ":" in text or "@" in text else f"{text}:latest"
    found = tuple(str(reference) if name == DOCKER_HUB else f"{name}/{written}" for name in search)
    return Named(BY_SEARCH, tuple(map(printable, found)))


def _as_written(text: str) -> Named:
    """ctr: nothing is completed, neither the registry nor ``library/`` nor the tag."""
    full, bare = str(Reference.parse(text)), Reference.parse(text, default_tag=None)
    if text == full:
        return Named(CTR, (full,))
    why = sentence("it takes a name as it is written: write {name}", name=full)
    complete = _has_registry(text) and (bare.tag is not None or bare.digest is not None)
    return Named(CTR, (printable(text),) if complete else (), why)


def _has_registry(text: str) -> bool:
    first, slash, _ = text.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")


def _shown(text: str) -> str:
    return printable(text, characters_max=SUBJECT_CHARACTERS_MAX)


# -- what looks like something else ---------------------------------------------------------------


def _misread(text: str, reference: Reference) -> Iterator[Finding]:
    if _HOST_AND_PORT.fullmatch(text):
        host, _, port = text.partition(":")
        yield Finding(
            "NAME_MISREAD",
            _shown(text),
            sentence("it is read as {image}, of Docker Hub, with the tag {tag}", image=host, tag=port),
            "warning",
            why=sentence("without a slash the part behind the colon is a tag, not a port"),
            hint=sentence("write {name}", name=f"{text}/REPOSITORY"),
            about=(str(reference),),
        )


def _of_hub(text: str, reference: Reference) -> Iterator[Finding]:
    first, slash, rest = text.partition("/")
    if not slash or canonical_registry(first) == DOCKER_HUB or not _leads_to_hub(first):
        return
    rest = rest.removeprefix("r/").removeprefix("_/")
    yield Finding(
        "NAME_NOT_OF_HUB",
        _shown(text),
        sentence("{host} is a registry of its own for every program, not Docker Hub", host=first),
        "warning",
        why=sentence("no mirror of docker.io counts for it, and library/ is not added"),
        hint=sentence("write {name}", name=f"{DOCKER_HUB}/{rest}"),
        about=(str(reference),),
    )


def _leads_to_hub(host: str) -> bool:
    """Whether it is Docker's, a web site or the address behind the name: to a program none is Docker Hub."""
    return registry_behind(host) == DOCKER_HUB or host == _SITE or host.endswith(f".{_SITE}")


def _both(text: str, reference: Reference) -> Iterator[Finding]:
    if reference.tag is not None and reference.digest is not None:
        what = sentence("a tag and a digest: the digest alone counts")
        yield Finding("NAME_TAG_IDLE", _shown(text), what, "note")
