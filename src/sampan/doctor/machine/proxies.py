"""Proxies as each daemon has them, which is not as the shell does.

A daemon knows the proxies that it was started with: those of its unit, not those of whoever looks for its
fault in a shell, and not what its files say since then. All of these daemons are Go programs, and Go has
rules of its own: upper case wins, ALL_PROXY is not read, a network in NO_PROXY covers no name.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Iterator, Mapping

from sampan.doctor.aside import aside
from sampan.doctor.contract import Finding, Scene, Unseen
from sampan.doctor.daemon_proxies import READ, Proxied, as_go_reads, proxied_of
from sampan.doctor.daemons import Running, running_of
from sampan.doctor.machine.nearby import Nearby, nearby
from sampan.errors import ConfigError, printable
from sampan.upstream.proxies import Proxy, ProxySettings
from sampan.upstream.url import Url, parse_url
from sampan.words import Text, sentence

CONNECT_SECONDS = 3.0
_STARTED_BY_SYSTEMD = "INVOCATION_ID"
ALL_PROXY = "ALL_PROXY"


async def check_proxies(scene: Scene) -> AsyncIterator[Finding | Unseen]:
    """What proxies keep from being reached, and proxies that are not what somebody thinks."""
    names = [seen.status.runtime for seen in scene.runtimes]
    found: list[Proxied] = []
    for each in await aside(running_of, scene.tree, names):
        if each.process is not None and each.process.environ is None:
            yield _hidden(each)
        try:
            found.append(proxied_of(scene.tree, each))
        except ConfigError as error:
            yield _invalid(each, error)
    near = await aside(nearby, scene.tree)
    own = _own(scene.environ)
    for proxied in found:
        for finding in _about(proxied, scene, near, own):
            yield finding
    async for finding in _dead(scene, found, own):
        yield finding


def _own(environ: Mapping[str, str]) -> ProxySettings:
    """Of whoever runs this; what is wrong with them is told by whoever uses them."""
    try:
        return as_go_reads(environ)
    except ConfigError:
        return ProxySettings()


# -- one daemon -----------------------------------------------------------------------------------


def _about(proxied: Proxied, scene: Scene, near: Nearby, own: ProxySettings) -> Iterator[Finding]:
    urls = _asked(scene, proxied.running.name)
    yield from _not_in_force(proxied)
    for url in urls:
        proxy = proxied.settings.proxy_for(url)
        if proxy is not None and near.is_near(url):
            yield _without_no_proxy(proxied, url, proxy)
    if proxied.settings.http is None and proxied.settings.https is None:
        yield from _ignored(proxied)
        alone = [url for url in urls if own.proxy_for(url) is not None]
        if alone:
            yield _of_shell_alone(proxied, own.proxy_for(alone[0]), alone[0])


def _asked(scene: Scene, runtime: str) -> list[Url]:
    """The hosts that it asks, as its files have them."""
    texts = [
        host
        for seen in scene.runtimes
        if seen.status.runtime == runtime
        for asked in seen.status.in_force
        for host in asked.hosts
    ]
    found = []
    for text in dict.fromkeys(texts):
        try:
            found.append(parse_url(text if "://" in text else f"https://{text}"))
        except ValueError:
            continue
    return found


def _without_no_proxy(proxied: Proxied, url: Url, proxy: Proxy) -> Finding:
    file, line = proxied.place
    excepted = proxied.environ.get("NO_PROXY") or proxied.environ.get("no_proxy") or ""
    return Finding(
        "PROXY_WITHOUT_NO_PROXY",
        proxied.running.name,
        sentence("{host} is asked through the proxy {proxy}", host=url.netloc, proxy=proxy.netloc),
        evidence=(f"NO_PROXY={printable(excepted)}",),
        why=sentence(
            "a proxy of the outside does not reach what is inside; NO_PROXY must name the host as it is "
            "written, since a network in it covers addresses alone"
        ),
        hint=sentence("add {host} to NO_PROXY, and restart the daemon", host=url.host),
        command=_restart(proxied.running),
        file=file,
        line=line,
    )


def _not_in_force(proxied: Proxied) -> Iterator[Finding]:
    """What the unit's files say since the daemon was started."""
    running = proxied.running
    process = running.process
    if process is None or process.environ is None or _STARTED_BY_SYSTEMD not in process.environ:
        return
    for name in READ:
        values = running.variables.get(name) or running.variables.get(name.lower())
        said = "" if values is None else values.value
        if said == (process.environ.get(name) or process.environ.get(name.lower()) or ""):
            continue
        yield Finding(
            "PROXY_NOT_IN_FORCE",
            running.name,
            sentence("its unit has another {variable} than the running daemon", variable=name),
            "dead",
            why=sentence("a daemon keeps the environment that it was started with"),
            hint=sentence("reload the units, and restart the daemon"),
            command=_restart(running),
            file=None if values is None else values.file,
            line=None if values is None else values.line,
        )


def _ignored(proxied: Proxied) -> Iterator[Finding]:
    named = next((name for name in (ALL_PROXY, ALL_PROXY.lower()) if proxied.environ.get(name)), None)
    if named is not None:
        variable = proxied.running.variables.get(named)
        yield Finding(
            "PROXY_ALL_IGNORED",
            proxied.running.name,
            sentence("{variable} is read by no Go program, and so by no container runtime", variable=named),
            "dead",
            hint=sentence("write HTTPS_PROXY and HTTP_PROXY"),
            file=None if variable is None else variable.file,
            line=None if variable is None else variable.line,
        )


def _of_shell_alone(proxied: Proxied, proxy: Proxy | None, url: Url) -> Finding:
    shown = "" if proxy is None else proxy.netloc
    return Finding(
        "PROXY_OF_SHELL_ALONE",
        proxied.running.name,
        sentence("this shell has the proxy {proxy}, the daemon has none", proxy=shown),
        "warning",
        why=sentence("what works in the shell by the proxy (curl {url}) the daemon asks directly", url=url),
        hint=sentence(
            "where there is no way out without it, set HTTPS_PROXY in a drop-in of {unit}",
            unit=proxied.running.unit or proxied.running.name,
        ),
    )


def _hidden(running: Running) -> Unseen:
    number = "" if running.process is None else running.process.number
    what = sentence("the environment of the running daemon (process {number})", number=number)
    return Unseen(running.name, what, sentence("run as root"))


def _invalid(running: Running, error: ConfigError) -> Finding:
    return Finding(
        "PROXY_INVALID",
        running.name,
        sentence("a proxy that is none: {words}", words=error.message),
        hint=error.hint,
        command=_restart(running),
    )


def _restart(running: Running) -> tuple[str, ...]:
    if running.unit is None:
        return ()
    return ("sudo", "sh", "-c", f"systemctl daemon-reload && systemctl restart {shlex.quote(running.unit)}")


# -- the proxies themselves -----------------------------------------------------------------------


async def _dead(scene: Scene, found: list[Proxied], own: ProxySettings) -> AsyncIterator[Finding]:
    """Those that nobody can connect to. Asked only where the tree is this machine."""
    users: dict[tuple[str, int], list[str]] = {}
    all_settings = [*((each.running.name, each.settings) for each in found), ("environment", own)]
    for name, settings in all_settings if scene.machine is not None else ():
        for proxy in filter(None, (settings.http, settings.https)):
            users.setdefault((proxy.host, proxy.port), []).append(name)
    reasons = await asyncio.gather(*(_connect(*address) for address in users))
    for ((host, port), names), reason in zip(users.items(), reasons, strict=True):
        if reason is not None:
            yield Finding(
                "PROXY_DEAD",
                ", ".join(dict.fromkeys(names)),
                sentence(
                    "the proxy {host}:{port} cannot be reached: {reason}", host=host, port=port, reason=reason
                ),
                why=sentence("whatever goes through it fails, whichever host is asked"),
                hint=sentence("start the proxy, name another, or take it out of the environment"),
                about=tuple(dict.fromkeys(names)),
            )


async def _connect(host: str, port: int) -> Text | str | None:
    """Why there is no connection; None: there is."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return sentence("no answer within {seconds} s", seconds=f"{CONNECT_SECONDS:g}")
    except OSError as error:
        return printable((error.strerror or str(error)).lower())
    writer.close()
    return None
