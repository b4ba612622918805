"""Which proxy a request goes through: the usual environment variables, given as a value.

Guarantee: loopback never goes through a proxy of the environment, and a proxy is never bypassed
because it failed. A mirror's own ``proxy`` setting is stronger than all of this and not seen here.
The environment is passed in; this module does not read it.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote, unquote

from sampan.errors import ConfigError
from sampan.secret import Secret
from sampan.upstream.url import Url, parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKS_PORT = 1080
_PROXY = re.compile(r"(?:(?P<scheme>[A-Za-z0-9]+)://)?(?:(?P<userinfo>[^@/]*)@)?(?P<rest>[^@]*)")
_SCHEMES = {"http": "http", "https": "https", "socks5": "socks5", "socks5h": "socks5"}


@dataclass(frozen=True, slots=True)
class Proxy:
    """``scheme`` is http, https or socks5; a socks5 proxy resolves names itself (``socks5h`` is the same)."""

    scheme: str
    host: str
    port: int
    username: str | None = None
    password: Secret | None = None

    @classmethod
    def parse(cls, text: str) -> Proxy:
        """``[scheme://][user:password@]host[:port]``, http when no scheme is given. ConfigError."""
        match = _PROXY.fullmatch(text.strip())
        scheme = _SCHEMES.get((match["scheme"] or "http").lower()) if match else None
        if match is None or scheme is None:
            _refuse("its scheme is none of http, https, socks5")
        web_scheme = "https" if scheme == "https" else "http"
        rest = match["rest"].rstrip("/")
        try:
            address = parse_url(f"{web_scheme}://{rest}")
        except ValueError as error:
            _refuse(str(error))
        if address.target != "/":
            _refuse("it has a path")
        port = SOCKS_PORT if scheme == "socks5" and not re.search(r":[0-9]+\Z", rest) else address.port
        username, password = _userinfo(match["userinfo"])
        return cls(scheme, address.host, port, username, password)

    def reveal_url(self) -> str:
        """All of it, user and password included."""
        password = self.password.reveal() if self.password else ""
        user = "" if self.username is None else f"{quote(self.username, safe='')}:{quote(password, safe='')}@"
        return f"{self.scheme}://{user}{self.netloc}"

    @property
    def netloc(self) -> str:
        """``host:port``, without secrets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def authorization(self) -> str | None:
        """The value of Proxy-Authorization, when the proxy wants one."""
        if self.username is None:
            return None
        pair = f"{self.username}:{self.password.reveal() if self.password else ''}"
        return "Basic " + base64.b64encode(pair.encode()).decode()


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """The proxies for http and for https targets, and the targets that go direct."""

    http: Proxy | None = None
    https: Proxy | None = None
    direct: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ProxySettings:
        """``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``; lower case wins, as in curl.
        ConfigError when one is not a proxy's URL.
        """

        def named(name: str) -> str:
            return environment.get(name.lower()) or environment.get(name) or ""

        # In a CGI program HTTP_PROXY is a header that the client sent (CVE-2016-5385).
        http = environment.get("http_proxy") or (
            "" if "REQUEST_METHOD" in environment else named("HTTP_PROXY")
        )
        https, every = named("HTTPS_PROXY"), named("ALL_PROXY")
        direct = tuple(part.lower() for part in re.split(r"[,\s]+", named("NO_PROXY")) if part)
        return cls(_proxy(http or every, "HTTP_PROXY"), _proxy(https or every, "HTTPS_PROXY"), direct)

    def proxy_for(self, url: Url) -> Proxy | None:
        """The proxy for ``url``; None: it is dialled directly."""
        if _is_loopback(url) or any(_excludes(entry, url) for entry in self.direct):
            return None
        return self.https if url.scheme == "https" else self.http


def _proxy(text: str, name: str) -> Proxy | None:
    if not text:
        return None
    try:
        return Proxy.parse(text)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error.message}", hint=error.hint) from error


def _userinfo(text: str | None) -> tuple[str | None, Secret | None]:
    if text is None:
        return None, None
    username, colon, password = text.partition(":")
    return unquote(username), Secret(unquote(password)) if colon else None


def _is_loopback(url: Url) -> bool:
    if url.address is not None:
        return url.address.is_loopback
    return url.host == "localhost" or url.host.endswith(".localhost")


def _excludes(entry: str, url: Url) -> bool:
    """Whether an entry of NO_PROXY covers ``url``: ``*``, a name and all below it, an address, a network,
    each with an optional port.
    """
    if entry == "*":
        return True
    if "/" in entry:
        network = _network(entry)
        return network is not None and url.address is not None and url.address in network
    name, port = _split_port(entry)
    if port is not None and port != url.port:
        return False
    name = name.removeprefix("*").strip(".")
    network = _network(name)
    if network is not None:
        return url.address is not None and url.address in network
    return bool(name) and (url.host == name or url.host.endswith("." + name))


def _split_port(entry: str) -> tuple[str, int | None]:
    bracketed = re.fullmatch(r"\[([0-9a-f:.]+)\](?::([0-9]{1,5}))?", entry)
    plain = re.fullmatch(r"([^:]*):([0-9]{1,5})", entry)
    match = bracketed or plain
    if match is None:
        return entry, None
    return match[1], int(match[2]) if match[2] else None


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _refuse(reason: str) -> NoReturn:
    # The text is not repeated: it may hold a password.
    raise ConfigError(f"not a proxy's URL: {reason}", hint="write http://host:port or socks5://host:port")
