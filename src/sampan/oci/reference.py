"""An image reference: ``[registry/]repository[:tag][@digest]``, read as Docker reads it.

Guarantees that every :class:`Reference` is canonical (Docker Hub is ``docker.io``, its one-part names
lie under ``library/``) and that ``Reference.parse(str(reference), default_tag=None)`` gives it back. This is
the only module that splits an image string and the only one that spells Docker Hub's hosts. The rules are
those of distribution/reference, plus refusals of what no host could be: odd spellings of IP addresses and
ports that do not exist. It dials nothing and asks nobody.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass

from sampan.errors import InvalidDigest, InvalidReference, printable
from sampan.oci.digest import Digest
from sampan.words import sentence

DOCKER_HUB = "docker.io"
DEFAULT_TAG = "latest"
LIBRARY = "library/"
HUB_ALIASES = frozenset({"index.docker.io"})  # registry-1.docker.io is a host, not another name
_HUB_ORIGIN = "https://registry-1.docker.io"
HUB_HOSTS = frozenset({"registry-1.docker.io", "registry.hub.docker.com"})
_HUB_CREDENTIAL_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")

REPOSITORY_CHARACTERS_MAX = 255  # distribution/reference counts the path without the registry
REGISTRY_CHARACTERS_MAX = 261  # 253 of a DNS name, a colon, five of a port, two brackets
TAG_CHARACTERS_MAX = 128  # distribution spec, "Pulling manifests"
REFERENCE_CHARACTERS_MAX = 1024  # more than all parts at their longest

# Each pattern has one way to match, so matching is linear; the length is checked before it all the same.
# The public ones are also written into policies, for another engine (RE2): nothing but what both know.
REPOSITORY = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*"
TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
IMAGE_ID = r"[0-9a-f]{64}"
_REPOSITORY = re.compile(REPOSITORY)
_TAG = re.compile(TAG)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
_REGISTRY = re.compile(rf"(?:(?P<name>{HOST_NAME})|\[(?P<ipv6>[0-9A-Fa-f:]+)\])(?::(?P<port>[0-9]{{1,5}}))?")
_NUMBER_LIKE = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_IMAGE_ID = re.compile(IMAGE_ID)
_USERINFO_LIKE = re.compile(r"\A.*@(?!sha)", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://")


@dataclass(frozen=True, slots=True)
class Reference:
    """An image by name. ``tag`` and ``digest`` may both be there, or neither (then ``latest`` is meant).

    Made canonical on construction; raises :class:`InvalidReference` for a part that breaks the grammar.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    def __post_init__(self) -> None:
        registry = canonical_registry(parse_registry(self.registry))
        object.__setattr__(self, "registry", registry)
        repository = normalise_repository(registry, self.repository)
        object.__setattr__(self, "repository", parse_repository(repository))
        if self.tag is not None:
            parse_tag(self.tag)

    def __str__(self) -> str:
        return self.name + _suffix(self)

    @classmethod
    def parse(cls, text: str, *, default_tag: str | None = DEFAULT_TAG) -> Reference:
        """``text`` as Docker would read it: ``alpine`` is ``docker.io/library/alpine:latest``.

        ``default_tag`` is given to a reference with neither tag nor digest; None leaves it bare, for
        those who must write back what they read. Raises :class:`InvalidReference` with a hint.
        """
        _refuse_what_is_no_reference(text)
        rest, digest = _split_digest(text)
        registry, remainder = _split_registry(rest)
        repository, colon, tag = remainder.partition(":")
        if repository != repository.lower():
            raise InvalidReference(
                sentence("invalid reference {shown}: repository name must be lowercase", shown=_shown(text)),
                hint=sentence("write {name}", name=printable(repository.lower())),
            )
        bare = not colon and digest is None
        return cls(registry, repository, tag if colon else (default_tag if bare else None), digest)

    @property
    def name(self) -> str:
        """Registry and repository: ``docker.io/library/alpine``."""
        return f"{self.registry}/{self.repository}"

    @property
    def object(self) -> str:
        """What to ask the registry for: the digest when there is one, else the tag."""
        return str(self.digest) if self.digest is not None else self.tag or DEFAULT_TAG


def familiar(reference: Reference) -> str:
    """The shortest text that people write for ``reference`` and that parses to it: ``alpine:3``."""
    if reference.registry != DOCKER_HUB:
        return str(reference)
    short = reference.repository.removeprefix(LIBRARY)
    if "/" in short:
        short = reference.repository  # library/foo/bar is never foo/bar
        if _is_registry(short.partition("/")[0]):
            return str(reference)
    text = short + _suffix(reference)
    return str(reference) if _IMAGE_ID.fullmatch(text) else text


def parse_registry(text: str) -> str:
    """``text`` checked as ``host[:port]``, unchanged. Raises :class:`InvalidReference`.

    A host that ends in a number must be a plain dotted IPv4 address (the rule of the URL standard), so
    ``0x7f.1``, ``127.1`` and ``2130706433`` are refused; IPv6 stands in brackets, without a zone and
    without a dotted tail.
    """
    if len(text) > REGISTRY_CHARACTERS_MAX:
        raise InvalidReference(
            sentence(
                "a registry has at most {limit} characters, got {number}",
                limit=REGISTRY_CHARACTERS_MAX,
                number=len(text),
            )
        )
    if "@" in text:  # not echoed: a password may stand before it
        raise InvalidReference(
            sentence("a registry carries no user name or password"), hint=sentence("write host[:port] alone")
        )
    match = _REGISTRY.fullmatch(text)
    if match is None:
        raise InvalidReference(
            sentence("not a registry: {shown}", shown=_shown(text)), hint=sentence("write host[:port]")
        )
    name, ipv6, port = match.groups()
    if port is not None and not 1 <= int(port) <= 65535:
        raise InvalidReference(
            sentence("not a registry: {shown}: no such port", shown=_shown(text)),
            hint=sentence("ports go from 1 to 65535"),
        )
    if not (_is_host_name(name) if name is not None else _is_ipv6(ipv6)):
        raise InvalidReference(
            sentence("not a registry: {shown}: not an IP address in its plain spelling", shown=_shown(text))
        )
    return text


def parse_repository(text: str) -> str:
    """``text`` checked as a repository, without registry, tag or digest; unchanged.

    Parts of lower-case letters and digits, joined inside by one ``.``, one or two ``_`` or any number of
    ``-``, at most 255 characters together. Raises :class:`InvalidReference`.
    """
    if len(text) > REPOSITORY_CHARACTERS_MAX:
        raise InvalidReference(
            sentence(
                "a repository has at most {limit} characters, got {number}",
                limit=REPOSITORY_CHARACTERS_MAX,
                number=len(text),
            )
        )
    if _REPOSITORY.fullmatch(text) is None:
        raise _bad_repository(text)
    return text


def parse_tag(text: str) -> str:
    """``text`` checked as a tag, unchanged. Raises :class:`InvalidReference`."""
    if len(text) > TAG_CHARACTERS_MAX:
        raise InvalidReference(
            sentence(
                "a tag has at most {limit} characters, got {number}",
                limit=TAG_CHARACTERS_MAX,
                number=len(text),
            )
        )
    if _TAG.fullmatch(text) is None:
        raise InvalidReference(
            sentence("not a tag: {shown}", shown=_shown(text)),
            hint=sentence(
                "a tag is made of letters, digits, _ . and -, and begins with none of the last two"
            ),
        )
    return text


def canonical_registry(registry: str) -> str:
    """The one name of ``registry``: ``index.docker.io`` is ``docker.io``, others are themselves."""
    return DOCKER_HUB if registry in HUB_ALIASES else registry


def is_hub_itself(name: str) -> bool:
    """Whether ``name`` is one under which nobody looks for Docker Hub's images, though it leads there."""
    return name in HUB_ALIASES or f"https://{name}" == _HUB_ORIGIN


def registry_behind(registry: str) -> str:
    """The registry whose images are at ``registry``, when that is the name of a host instead: to Docker,
    ``registry-1.docker.io/library/alpine`` is not on docker.io, and yet the bytes are."""
    return DOCKER_HUB if registry in HUB_HOSTS else registry


def is_local(registry: str) -> bool:
    """Whether ``registry`` is this machine or a private address: elsewhere it would be another one."""
    match = _REGISTRY.fullmatch(registry)
    name, ipv6, _ = match.groups() if match else (registry, None, None)
    if name == "localhost" or (name and name.endswith(".localhost")):
        return True
    try:
        return not ipaddress.ip_address(ipv6 or name).is_global
    except ValueError:
        return False


def normalise_repository(registry: str, repository: str) -> str:
    """``repository`` as the canonical ``registry`` keeps it: docker.io has ``library/alpine``."""
    one_part = repository and "/" not in repository
    return LIBRARY + repository if registry == DOCKER_HUB and one_part else repository


def origin_url(registry: str) -> str:
    """Where ``registry`` itself answers: scheme and host, no trailing slash."""
    return _HUB_ORIGIN if registry == DOCKER_HUB else f"https://{registry}"


def credential_keys(registry: str) -> tuple[str, ...]:
    """Under which keys Docker and Podman keep the login for ``registry``, the likeliest first."""
    names = _HUB_CREDENTIAL_KEYS if registry == DOCKER_HUB else (registry,)
    urls = (
        f"https://{name}{path}" for name in names if "/" not in name for path in ("", "/", "/v1/", "/v2/")
    )
    return tuple(dict.fromkeys((*names, *urls)))


def _suffix(reference: Reference) -> str:
    tag = "" if reference.tag is None else f":{reference.tag}"
    return tag if reference.digest is None else f"{tag}@{reference.digest}"


def _refuse_what_is_no_reference(text: str) -> None:
    if not text:
        raise InvalidReference(
            sentence("invalid reference: it is empty"),
            hint=sentence("write [registry/]repository[:tag][@digest]"),
        )
    if len(text) > REFERENCE_CHARACTERS_MAX:
        raise InvalidReference(
            sentence(
                "a reference has at most {limit} characters, got {number}",
                limit=REFERENCE_CHARACTERS_MAX,
                number=len(text),
            )
        )
    if scheme := _SCHEME.match(text):
        raise InvalidReference(
            sentence("a reference is not a URL: it has no {scheme}", scheme=scheme[0]),
            hint=_hint_for_url(text[scheme.end() :]),
        )
    if text.split() != [text]:
        raise InvalidReference(
            sentence("invalid reference {shown}: it contains white space", shown=_shown(text))
        )
    if not text.isascii():
        raise InvalidReference(
            sentence("invalid reference {shown}: only ASCII characters are allowed", shown=_shown(text)),
            hint=_hint_for_wide(text),
        )
    if _IMAGE_ID.fullmatch(text):
        raise InvalidReference(
            sentence(
                "invalid repository name ({text}): cannot specify 64-byte hexadecimal strings", text=text
            ),
            hint=sentence("for content by digest write repository@sha256:{text}", text=text),
        )


def _split_digest(text: str) -> tuple[str, Digest | None]:
    rest, at, digest = text.partition("@")
    if not at:
        return rest, None
    if "/" in digest:  # user:password@host/repository: not echoed
        raise InvalidReference(
            sentence("a reference carries no user name or password"), hint=sentence("log in with the client")
        )
    try:
        return rest, Digest.parse(digest)
    except InvalidDigest as error:
        raise InvalidReference(
            sentence("invalid reference: {message}", message=error.message), hint=error.hint
        ) from error


def _split_registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if slash and _is_registry(first):
        return first, rest
    return DOCKER_HUB, text


def _is_registry(first: str) -> bool:
    """Does Docker take the first part of a reference for a registry? Upper case cannot be a repository."""
    return first == "localhost" or "." in first or ":" in first or first != first.lower()


def _is_host_name(name: str) -> bool:
    if _NUMBER_LIKE.fullmatch(name.rpartition(".")[2]) is None:
        return len(name) <= 253  # RFC 1035, without the root's dot
    return _is_ip(ipaddress.IPv4Address, name)


def _is_ipv6(text: str) -> bool:
    return _is_ip(ipaddress.IPv6Address, text)


def _is_ip(family: type[ipaddress.IPv4Address | ipaddress.IPv6Address], text: str) -> bool:
    try:
        family(text)
    except ValueError:
        return False
    return True


def _bad_repository(text: str) -> InvalidReference:
    if not text:
        return InvalidReference(
            sentence("invalid reference: repository name must have at least one component")
        )
    if _REPOSITORY.fullmatch(text.lower()):
        return InvalidReference(
            sentence("repository name ({shown}) must be lowercase", shown=_shown(text)),
            hint=sentence("write {name}", name=text.lower()),
        )
    return InvalidReference(
        sentence("not a repository: {shown}", shown=_shown(text)),
        hint=sentence("parts of a-z and 0-9, joined by single slashes, dots, hyphens or underscores"),
    )


def _hint_for_wide(text: str) -> str | None:
    """Full-width letters and punctuation, as input methods of East Asia leave them, in the usual ones."""
    plain = unicodedata.normalize("NFKC", text).replace("。", ".")
    return sentence("write {name}", name=printable(plain, characters_max=80)) if plain.isascii() else None


def _hint_for_url(rest: str) -> str:
    """What the writer of a URL probably meant; pages of Docker Hub are not its repositories."""
    rest = re.split(r"[?#\s]", rest, maxsplit=1)[0].strip("/")
    host, slash, path = rest.partition("/")
    if not host or ("@" in host and not slash):
        return sentence("write [registry/]repository[:tag][@digest]")
    rest = f"{host.rpartition('@')[2]}{slash}{path}"
    for page in ("hub.docker.com/_/", "hub.docker.com/r/"):
        rest = rest.removeprefix(page)
    return sentence("write {name}", name=printable(rest, characters_max=80))


def _shown(text: str) -> str:
    """``text`` fit for a message: printable, and without what may be a user name and a password."""
    return repr(printable(_USERINFO_LIKE.sub("…@", text), characters_max=100))
