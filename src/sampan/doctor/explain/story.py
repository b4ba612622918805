"""What is told of one error beside its entry: which request failed, who printed it, what that program hides.

Guarantees that whatever comes out of the text is printable, and without what signed links carry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus

from sampan.doctor.explain.facts import Facts, Request
from sampan.doctor.explain.knowledge import Role, Words
from sampan.doctor.explain.printer import Edition
from sampan.doctor.explain.verdict import Explained
from sampan.errors import SampanError, printable
from sampan.oci.reference import DOCKER_HUB, LIBRARY, Reference
from sampan.words import Language, Text, sentence

SAID_CHARACTERS_MAX = 300
FACT_CHARACTERS_MAX = 120
DIGEST_CHARACTERS = len("sha256:") + 12  # of a digest, for people

_NAMELESS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "host": "the host",
        "registry": "the registry",
        "reference": "this image",
        "status": "an error",
        "address": "that address",
    },
    "zh": {
        "host": "那台主机",
        "registry": "仓库",
        "reference": "这个镜像",
        "status": "错误",
        "address": "那个地址",
    },
}
_CRI = ("crictl", "kubelet", "containerd")
_COMES_AND_GOES = {
    "BLOB_MISSING",
    "BODY_CUT",
    "CONNECTION_CUT",
    "CONNECTION_REFUSED",
    "CONNECT_TIMEOUT",
    "DIGEST_MISMATCH",
    "EMPTY_BODY",
    "HOST_SILENT",
    "RATE_LIMITED",
    "SERVER_ERROR",
}
_OF_BLOBS = ("BLOB_MISSING", "BODY_CUT", "DIGEST_MISMATCH", "EMPTY_BODY", "CONNECTION_CUT")
_FACT = re.compile(r" ?\{(\w+)\} ?")
_WORD = re.compile(r"(\w[\w./@-]*)(?::[\w.-]*)?", re.ASCII)  # of a shell's
_USERINFO = re.compile(r"(?<=//)[^/@\s]*@")
_QUERY = re.compile(r"\?(?!ns=[\w.%:-]{1,100}(?:[\s\"',)]|:\s|\Z))[^\s\"']*?(?=:?(?:[\s\"']|\Z))")
_LONG_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")


def entry_words(one: Explained, language: Language) -> Words:
    """The entry in ``language``, with the facts in their places and a word where one is not known."""
    facts = one.facts
    known = {
        "host": facts.host,
        "registry": one.registry,
        "reference": facts.reference,
        "status": None if facts.status is None else status_words(facts.status),
        "address": facts.address,
    }
    found = {
        name: printable(value, characters_max=FACT_CHARACTERS_MAX) for name, value in known.items() if value
    }
    words = one.entry.words[language]
    whole = [_filled(text, found, language) for text in (words.what, words.cause, *words.do)]
    return Words(whole[0], whole[1], tuple(whole[2:]))


def _filled(text: str, found: Mapping[str, str], language: Language) -> str:
    """``text`` with the facts in their places. Commands are pasted into shells: there a fact that could be
    more than a word of one has its name instead, as where none is known."""
    words = {**_NAMELESS[language], **found}
    parts = text.split("`")
    for at, part in enumerate(parts):
        if at % 2:
            parts[at] = part.format_map({name: _pasted(name, found.get(name, "")) for name in words})
        else:
            parts[at] = (_closed(part, found) if language == "zh" else part).format_map(words)
    whole = "`".join(parts)
    begins_nameless = text.startswith("{") and text[1:].partition("}")[0] not in found
    return whole[:1].upper() + whole[1:] if begins_nameless else whole


def _pasted(name: str, value: str) -> str:
    """A fact in a command; a host there is its name alone."""
    word = _WORD.fullmatch(value)
    if word is None:
        return name.upper()
    return word[1] if name == "host" else value


def _closed(text: str, found: Mapping[str, str]) -> str:
    """Chinese without the blanks that stand beside foreign names, where a Chinese word comes there."""
    return _FACT.sub(lambda fact: fact[0] if fact[1] in found else fact[0].strip(), text)


def said(one: Explained) -> str:
    """The error's own words, without what URLs hold of logins and signatures."""
    shown = printable(one.said, characters_max=SAID_CHARACTERS_MAX)
    return _QUERY.sub("?…", _USERINFO.sub("…@", shown))


def shorter(text: str) -> str:
    """``text`` with digests as long as people need them."""
    return _LONG_DIGEST.sub(r"\1…", text)


def status_words(status: int) -> str:
    """``502 Bad Gateway``; the number alone where nobody named it."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def remarks(one: Explained) -> Iterator[Text]:
    """The sentences about one error, in the order in which they are told."""
    if asked := _asked(one.facts, one.registry, one.role):
        yield asked
    if one.facts.status is not None and one.facts.host and "{status}" not in one.entry.words["en"].what:
        yield sentence("It answered {status}.", status=status_words(one.facts.status))
    if one.gone is not None:
        yield sentence(
            "That mirror is no more, as was known on {day}: take it out, whatever it answers now.",
            day=one.gone.isoformat(),
        )
    if one.printed_by is not None:
        yield _printed(one)
    yield from _hidden(one)
    if _is_of_the_hub_by_cri(one):
        yield from _same_request(one)


def role_words(role: Role) -> Text:
    """What a host is on the way."""
    match role:
        case "mirror":
            return sentence("a mirror")
        case "origin":
            return sentence("the registry itself")
        case "login":
            return sentence("its token server")
        case "storage":
            return sentence("the storage that it sent on to")
        case "sampan":
            return sentence("sampan on this machine")


def object_words(request: Request) -> Text:
    """What was asked for."""
    what = printable(request.object or "", characters_max=FACT_CHARACTERS_MAX)
    match request.step:
        case "blob":
            return sentence("the blob {digest}", digest=what[:DIGEST_CHARACTERS])
        case "manifest":
            return sentence("the manifest {digest}", digest=what[:DIGEST_CHARACTERS])
        case "resolve":
            return sentence("what the tag {tag} means", tag=what)
        case "token":
            return sentence("a token")
        case "ping":
            return sentence("its /v2/, which says whether it is a registry")
        case _:
            return sentence("content")


def _asked(facts: Facts, registry: str | None, role: Role | None) -> Text | None:
    """Which request failed."""
    if facts.host is None:
        return None
    host = printable(facts.host, characters_max=FACT_CHARACTERS_MAX)
    whom = host if role is None else sentence("{host} ({role})", host=host, role=role_words(role))
    image = _image(facts, registry)
    if facts.request is None or facts.request.host != facts.host:
        if image is None:
            return sentence("What failed: a request to {whom}.", whom=whom)
        return sentence("What failed: a request to {whom}, for {image}.", whom=whom, image=image)
    what = object_words(facts.request)
    if image is None:
        return sentence("What failed: {whom} was asked for {what}.", whom=whom, what=what)
    if facts.request.object is None:
        return sentence(
            "What failed: {whom} was asked for {what}, on the way to {image}.",
            whom=whom,
            what=what,
            image=image,
        )
    return sentence("What failed: {whom} was asked for {what} of {image}.", whom=whom, what=what, image=image)


def _image(facts: Facts, registry: str | None) -> str | None:
    """The repository as the registry has it, or the reference as the text has it."""
    request = facts.request
    if request is not None and request.repository is not None and registry is not None:
        return printable(f"{registry}/{request.repository}", characters_max=FACT_CHARACTERS_MAX)
    return None if facts.reference is None else printable(facts.reference, characters_max=FACT_CHARACTERS_MAX)


def _printed(one: Explained) -> Text:
    if one.family is None or one.family == one.printed_by:
        if one.edition is not None:
            return sentence("Printed by {edition}.", edition=_edition_words(one.edition))
        return sentence("Printed by {tool}.", tool=one.printed_by)
    words = one.family if one.edition is None else _edition_words(one.edition)
    return sentence("Printed by {tool}, in the words of {family}.", tool=one.printed_by, family=words)


def _edition_words(edition: Edition) -> Text:
    match edition:
        case "containerd-1":
            return sentence("containerd 1.x")
        case "containerd-2.0":
            return sentence("containerd 2.0 or older")
        case "containerd-2.1":
            return sentence("containerd 2.1 or newer")


def _hidden(one: Explained) -> Iterator[Text]:
    """What the program does not show."""
    if one.entry.kind != "host" or one.is_aside:
        return
    if one.family == "containerd" and one.role == "mirror":
        yield sentence(
            "containerd shows the first host's error: those after it, the registry itself last, were asked"
            " too and failed unseen, or there were none."
        )
    elif one.family == "containerd" and one.role == "origin" and one.entry.code != "TAG_NOT_FOUND":
        yield sentence(
            "containerd shows the first host's error: no mirror was asked, or each said only that it does"
            " not have it (404)."
        )
    elif one.family == "docker":
        yield sentence(
            "Docker shows the last host's error: what mirrors answered before is in the log of dockerd alone."
        )
    elif one.family == "podman" and one.entry.code in _OF_BLOBS:
        yield sentence("podman asks no other host for a blob once it has a manifest; since 6.1 it does.")


def _is_of_the_hub_by_cri(one: Explained) -> bool:
    """Whether a mirror failed, and may not the next time, to serve an official image to Kubernetes: what folk
    remedies are about."""
    if one.entry.code not in _COMES_AND_GOES or one.role != "mirror" or one.printed_by not in _CRI:
        return False
    repository = one.facts.request.repository if one.facts.request is not None else None
    return one.registry == DOCKER_HUB and repository is not None and repository.startswith(LIBRARY)


def _same_request(one: Explained) -> Iterator[Text]:
    request = one.facts.request
    repository = request.repository if request is not None else None
    short = printable(
        (repository or "").removeprefix(LIBRARY) + _tag_of(one.facts.reference),
        characters_max=FACT_CHARACTERS_MAX,
    )
    yield sentence(
        "crictl pull {short} and crictl pull docker.io/{short} are the same request: when one works and the"
        " other does not, it is {host} that wavers.",
        short=short,
        host=printable(one.facts.host or "", characters_max=FACT_CHARACTERS_MAX),
    )
    yield sentence(
        'A key with a path in registry.mirrors, as "docker.io/library", is never read: what seemed to be'
        " cured by it was cured by another try."
    )


def _tag_of(reference: str | None) -> str:
    """``:3``, or nothing."""
    try:
        tag = None if reference is None else Reference.parse(reference, default_tag=None).tag
    except SampanError:
        tag = None
    return "" if tag is None else f":{tag}"
