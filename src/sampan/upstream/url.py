"""A URL that may be dialled: parsed once, strictly, so that nothing below splits one again.

Mirrors, redirect targets and token realms all pass through :func:`parse_url`. What it lets through
has one spelling only: http or https, no userinfo (secrets do not belong into URLs), a plain DNS
name or a canonical IP address, a port that is not one of another protocol. It does not say whether
the address may be dialled: ``addresses.py`` does, after name resolution.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urljoin

URL_CHARACTERS_MAX = 8192  # presigned URLs of object stores have 1 to 3 thousand
HOST_CHARACTERS_MAX = 253  # RFC 1035
PORTS_REFUSED = frozenset({22, 25})  # a redirect must not make us talk to a login or a mail server
DEFAULT_PORTS = {"http": 80, "https": 443}

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<target>[^#]*)(?:#.*)?", re.ASCII
)
_PLAIN = re.compile(r"[\x21-\x5b\x5d-\x7e]+")  # printable ASCII without space and backslash
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a last label like this makes resolvers see an IPv4 address
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)

# Second-level names under which anybody may register; enough of them for the registries of the
# world. Where one is missing two strangers would look like one operator, so err on the long side.
_PUBLIC_SECOND_LEVELS = frozenset(
    {"ac", "co", "com", "edu", "gov", "ne", "net", "or", "org", "gob", "go", "gv"}
)
_SHARED_DOMAINS = frozenset(
    {
        "amazonaws.com",
        "azurecr.io",
        "azurewebsites.net",
        "cloudfront.net",
        "deno.dev",
        "fly.dev",
        "github.io",
        "gitlab.io",
        "herokuapp.com",
        "myhuaweicloud.com",
        "netlify.app",
        "onrender.com",
        "pages.dev",
        "pkg.dev",
        "r2.dev",
        "run.app",
        "vercel.app",
        "workers.dev",
    }
)


@dataclass(frozen=True, slots=True)
class Url:
    """``host`` is lower case without brackets; ``target`` is path and query as they go on the wire."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """What must not change for a credential to be sent along."""
        return self.scheme, self.host, self.port

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The IP address that the URL itself names, None for a DNS name."""
        if ":" in self.host:
            return IPv6Address(self.host)
        return IPv4Address(self.host) if self.host.rpartition(".")[2].isdigit() else None

    @property
    def netloc(self) -> str:
        """``host[:port]``, the port only when it is not the scheme's own: a name for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def at(self, target: str) -> Url:
        """Another target of the same origin."""
        return Url(self.scheme, self.host, self.port, target)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.target}"


def parse_url(text: str) -> Url:
    """``text`` as a :class:`Url`; raises ValueError saying what is wrong, never echoing ``text``."""
    if len(text) > URL_CHARACTERS_MAX:
        raise ValueError("the URL is too long")
    if not _PLAIN.fullmatch(text):
        raise ValueError("the URL has characters that must be percent-encoded")
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError("not an absolute URL")
    scheme = match["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        raise ValueError("the scheme is neither http nor https")
    if "@" in match["authority"]:
        raise ValueError("a user or password in the URL")
    host, port = _split_authority(match["authority"], scheme)
    target = match["target"]
    return Url(scheme, host, port, target if target.startswith("/") else "/" + target)


def follow(url: Url, location: str) -> Url:
    """Where ``location``, a redirect's answer to ``url``, leads; ValueError when nobody may go there."""
    there = parse_url(urljoin(str(url), location.strip(" \t")))
    if url.scheme == "https" and there.scheme == "http":
        raise ValueError("a redirect from https to http")
    return there


def registrable_domain(host: str) -> str:
    """The part of a DNS name that one operator registered: the last two labels, or three under
    suffixes such as ``co.uk``, ``com.cn`` and shared domains. An IP address is its own.
    """
    labels = host.split(".")
    if ":" in host or labels[-1].isdigit() or len(labels) < 3:
        return host
    last_two = ".".join(labels[-2:])
    public = len(labels[-1]) == 2 and labels[-2] in _PUBLIC_SECOND_LEVELS
    if last_two in _SHARED_DOMAINS:
        # Below these every customer has a name of their own, some with a region in between.
        return host
    return ".".join(labels[-3:]) if public else last_two


def _split_authority(authority: str, scheme: str) -> tuple[str, int]:
    if authority.startswith("["):
        literal, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("not a host")
        return _ipv6(literal), _port(rest, scheme)
    host, colon, port = authority.partition(":")
    return _host(host.lower()), _port(colon + port, scheme)


def _ipv6(literal: str) -> str:
    try:
        address = IPv6Address(literal)
    except ValueError:
        raise ValueError("not an IPv6 address") from None
    if address.scope_id is not None:
        raise ValueError("an IPv6 zone in the URL")
    return str(address)


def _host(host: str) -> str:
    if not host or len(host) > HOST_CHARACTERS_MAX:
        raise ValueError("no host, or one that is too long")
    labels = host.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("not a host name")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(host))
        except ValueError:
            # 127.1, 0x7f.1 and 2130706433 all mean loopback to a resolver, and nothing to a reader.
            raise ValueError("an IP address in an odd spelling") from None
    return host


def _port(text: str, scheme: str) -> int:
    if not text:
        return DEFAULT_PORTS[scheme]
    if not _PORT.fullmatch(text[1:]) or not 0 < int(text[1:]) < 65536:
        raise ValueError("not a port")
    if int(text[1:]) in PORTS_REFUSED:
        raise ValueError("the port belongs to another protocol")
    return int(text[1:])
