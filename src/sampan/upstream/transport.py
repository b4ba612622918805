"""HTTP towards upstream hosts: the only module here that knows the HTTP client.

Guarantees: what was configured for an origin (credentials, headers, client certificate) is sent to
that origin alone, through every redirect; no address is dialled that the guard of ``dialer.py``
refuses; every phase of a request has a time limit; every exception of the client, of the operating
system and of OpenSSL leaves as a :class:`~sampan.errors.HostError`. A body has no limit in total
(its pace is the download's business), but each read of it has. Nothing is decoded, no cookie is
kept, the environment is not read, and nothing is dialled before the first request.

It does not log in, does not judge an answer's status, and asks one host only.
"""

from __future__ import annotations

import asyncio
import errno
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import aiohttp_socks
import yarl
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

from sampan.errors import ConfigError, HostError, NotARegistry
from sampan.oci.passage import LOOP_HEADER, render_passed
from sampan.upstream.call import Call, Way
from sampan.upstream.dialer import (
    Dial,
    Names,
    Once,
    Patience,
    Resolver,
    begin,
    check_destination,
    guarded_socket,
    proxy_socket,
)
from sampan.upstream.faults import interrupted, malformed, out_of_time, proxy_fault, unreachable
from sampan.upstream.proxies import Proxy, ProxySettings
from sampan.upstream.response import Response
from sampan.upstream.tls import TlsOptions, client_context
from sampan.upstream.trail import NOTED_HEADERS, REDIRECTS, Hop, begin_hop
from sampan.upstream.url import Url, follow

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping
    from types import SimpleNamespace

    from aiohttp import StreamReader
    from aiohttp.http import RawResponseMessage

    from sampan.upstream.host import Host

REDIRECTS_MAX = 5
READ_BUFFER_BYTES = 256 * 1024  # twice this may arrive while as much is written: a MiB for each body
HEADER_BYTES_MAX = 16 * 1024  # each; presigned Locations have up to 3 thousand
HEADERS_MAX = 128
INTERIM_MAX = 100  # answers of 1xx in a row
STALE_CONNECTIONS_MAX = 8  # idle connections that the peer may have closed, one after the other
IDLE_SECONDS = 15.0
DNS_CACHE_SECONDS = 30

_NO_LIMITS = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)


class Transport:
    """Makes requests on behalf of hosts. Lives on one event loop; :meth:`close` ends it.

    ``instance_id`` goes out with every request, so that a server that turns out to be ourselves can
    say so. ``names`` makes addresses of names; None: as this machine does. ConfigError at construction: a
    file of one of ``hosts`` cannot be used.
    """

    def __init__(
        self,
        hosts: Iterable[Host] = (),
        *,
        proxies: ProxySettings | None = None,
        instance_id: str | None = None,
        user_agent: str = "sampan",
        patience: Patience = Patience(),
        names: Names | None = None,
    ) -> None:
        self._patience = patience
        self._proxies = proxies or ProxySettings()
        self._contexts: dict[TlsOptions, ssl.SSLContext] = {}
        self._sessions: dict[Way, aiohttp.ClientSession] = {}
        self._names = names
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        self._instance_id = instance_id
        for host in hosts:
            self.prepare(host)

    def prepare(self, host: Host) -> None:
        """Reads what ``host`` needs from files, so that a mistake shows at start. ConfigError."""
        proxy = Proxy.parse(host.proxy) if host.proxy else None
        if proxy is not None and proxy.scheme == "https" and (host.client_cert or host.insecure):
            raise ConfigError(
                f"{host.name}: client_cert and insecure cannot go with an https:// proxy",
                hint="they would apply to the proxy too; use an http:// proxy",
            )
        if host.base.scheme == "https":
            self._context(TlsOptions.of(host))

    async def request(self, host: Host, url: Url, call: Call) -> Response:
        """The answer to ``call`` at ``url``, on behalf of ``host``, redirects followed (GET, HEAD).

        The caller closes it. Raises Unreachable, TimedOut, Interrupted or NotARegistry; any status is
        an answer. A target that answers 403 may have got a link that was too old or meant for
        another address: the host is asked for a fresh one, once.
        """
        response = await self._walk(host, url, call)
        if response.status == 403 and response.url.origin != url.origin:
            response.close()
            response = await self._walk(host, url, call)
        return response

    async def close(self) -> None:
        """Closes every connection. Answers that are still being read end as interrupted."""
        sessions = list(self._sessions.values())
        self._sessions.clear()
        for session in sessions:
            await session.close()

    # -- one walk along redirects, one exchange ----------------------------------------------------

    async def _walk(self, host: Host, url: Url, call: Call) -> Response:
        start, left = url, False
        tell = Once(call.connected)
        for _ in range(REDIRECTS_MAX + 1):
            response = await self._ask(host, url, call, trusted=not left, start=start, connected=tell)
            if response.status not in REDIRECTS or call.method not in ("GET", "HEAD"):
                return response
            location = response.header("Location")
            await response.discard()
            try:
                if location is None:
                    raise ValueError("a redirect without a Location")
                url = follow(url, location)
            except ValueError as error:
                raise NotARegistry(f"{url.netloc}: refused: {error}", outcome="redirect") from error
            # Whoever led us away does not get to lead us back with our credentials.
            left = left or url.origin != start.origin
        raise NotARegistry(f"{start.netloc}: more than {REDIRECTS_MAX} redirects", outcome="redirect")

    async def _ask(
        self, host: Host, url: Url, call: Call, *, trusted: bool, start: Url, connected: Once
    ) -> Response:
        home = trusted and url.origin == host.base.origin
        behind = url.netloc if url.netloc != start.netloc else None  # a step up to https is no other machine
        proxy = Proxy.parse(host.proxy) if host.proxy else self._proxies.proxy_for(url)
        way = Way(TlsOptions.of(host) if home else TlsOptions.of(host).elsewhere(), host.private, proxy)
        headers = {**self._headers, **(host.headers if home else {}), **call.headers}
        if self._instance_id is not None:
            headers[LOOP_HEADER] = render_passed(self._instance_id)
        if trusted and call.authorization is not None:
            headers["Authorization"] = call.authorization
        hop = begin_hop(url, login=call.login)
        try:
            check_destination(url, private=host.private)
            for _ in range(STALE_CONNECTIONS_MAX):
                try:
                    response = await self._exchange(way, url, call, headers, connected, hop)
                except _Stale:
                    continue
                response.behind = behind
                return response
            raise interrupted(url, ConnectionResetError())
        except HostError as error:
            error.behind = behind
            if url.origin != start.origin:
                error.args = (f"redirected by {start.netloc}: {error.message}",)
            if hop is not None:
                hop.failed(error)
            raise

    async def _exchange(
        self,
        way: Way,
        url: Url,
        call: Call,
        headers: Mapping[str, str],
        connected: Once,
        hop: Hop | None,
    ) -> Response:
        session = self._session(way)
        patience = self._patience
        limit = asyncio.timeout(patience.connect_seconds if way.proxy is None else patience.proxy_seconds)
        dial = Dial(limit, patience, call.first_byte_seconds, connected, hop)
        begin(dial)
        try:
            async with limit:
                raw = await session.request(
                    call.method,
                    yarl.URL(str(url), encoded=True),  # encoded: signed URLs must stay as they are
                    headers=headers,
                    data=call.body if call.content is None else dial.sending(call.content()),
                    allow_redirects=False,
                    proxy=yarl.URL(way.proxy_url, encoded=True) if way.proxy_url else None,
                    # Only where it is used: to make one takes 25 ms, for all the authorities' certificates.
                    ssl="https" not in (url.scheme, way.proxy and way.proxy.scheme) or self._context(way.tls),
                    trace_request_ctx=dial,
                )
        except TimeoutError as error:
            raise out_of_time(url, dial, way.proxy) from error
        except _Dropped as error:
            if dial.reused and call.method in ("GET", "HEAD"):
                raise _Stale from error
            raise interrupted(url, error.cause) from error.cause
        except (aiohttp.ClientError, OSError, ValueError, *_SOCKS_ERRORS) as error:
            raise host_error(error, url, dial, way.proxy) from error
        finally:
            dial.over = True
        if raw.status == 407 and way.proxy is not None:
            raw.close()
            raise proxy_fault(url, way.proxy, "it wants other credentials (407)")
        if hop is not None:
            hop.answered(raw.status, {key: raw.headers[key] for key in NOTED_HEADERS if key in raw.headers})
        return Response(raw, url, read_seconds=call.read_seconds, broken=_broken_body)

    # -- sessions ----------------------------------------------------------------------------------

    def _session(self, way: Way) -> aiohttp.ClientSession:
        session = self._sessions.get(way)
        if session is None:
            connector = self._connector(way)
            make: Any = partial(_Handler, loop=asyncio.get_running_loop())
            connector._factory = make  # noqa: SLF001 (the client has no other way to count them)
            session = self._sessions[way] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                timeout=_NO_LIMITS,
                read_bufsize=READ_BUFFER_BYTES,
                max_line_size=HEADER_BYTES_MAX,
                max_field_size=HEADER_BYTES_MAX,
                max_headers=HEADERS_MAX,
                trace_configs=[_trace()],
                middlewares=(_one_try,),
            )
        return session

    def _connector(self, way: Way) -> aiohttp.TCPConnector:
        options: dict[str, Any] = {
            "limit": 0,  # the limits are per host, and the client's (limits.py)
            "keepalive_timeout": IDLE_SECONDS,
        }
        if way.proxy is not None and way.proxy.scheme == "socks5":
            return aiohttp_socks.ProxyConnector(
                proxy_type=aiohttp_socks.ProxyType.SOCKS5,
                host=way.proxy.host,
                port=way.proxy.port,
                username=way.proxy.username,
                password=way.proxy.password.reveal() if way.proxy.password else None,
                rdns=True,
                **options,
            )
        make = guarded_socket(private=way.private) if way.proxy is None else proxy_socket
        self._names = self._names or Resolver()
        options.update(socket_factory=make, resolver=self._names, ttl_dns_cache=DNS_CACHE_SECONDS)
        return aiohttp.TCPConnector(**options)

    def _context(self, options: TlsOptions) -> ssl.SSLContext:
        context = self._contexts.get(options)
        if context is None:
            context = self._contexts[options] = client_context(options)
        return context


# -- the client's exceptions -----------------------------------------------------------------------

_SOCKS_ERRORS = (
    aiohttp_socks.ProxyError,
    aiohttp_socks.ProxyConnectionError,
    aiohttp_socks.ProxyTimeoutError,
)
# Exceptions that say: this connection could not be made, and (mostly) why.
CONNECT_ERRORS: tuple[type[BaseException], ...] = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ClientSSLError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.ConnectionTimeoutError,
)
# A connection that carried the request ended.
DROPPED_ERRORS: tuple[type[BaseException], ...] = (
    aiohttp.ServerConnectionError,
    aiohttp.ClientOSError,
    aiohttp.ClientConnectionResetError,
    aiohttp.ClientPayloadError,
)
# What came, or where it led, is not what a web server says.
MALFORMED_ERRORS: tuple[type[BaseException], ...] = (
    aiohttp.ClientResponseError,
    aiohttp.InvalidURL,
    aiohttp.RedirectClientError,
    aiohttp.NonHttpUrlClientError,
    ValueError,
)


def host_error(error: BaseException, url: Url, dial: Dial, proxy: Proxy | None) -> HostError:
    """``error`` of the client or of the operating system, before an answer was there, as ours."""
    if isinstance(error, aiohttp.ClientHttpProxyError) and proxy is not None:
        return proxy_fault(url, proxy, f"it refused the connection ({error.status})")
    if isinstance(error, _SOCKS_ERRORS) and proxy is not None:
        return proxy_fault(url, proxy, str(error))
    if isinstance(error, CONNECT_ERRORS):
        return unreachable(url, _root(error), dial, proxy)
    if isinstance(error, DROPPED_ERRORS):
        return interrupted(url, error)
    if isinstance(error, OSError):
        return unreachable(url, error, dial, proxy)
    if isinstance(error, MALFORMED_ERRORS):
        return malformed(url, _in_words(error))
    return interrupted(url, error)


def _root(error: BaseException) -> BaseException:
    """The operating system's or OpenSSL's error inside the client's."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return error.certificate_error
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    return error


def _in_words(error: BaseException) -> str:
    # The client's messages repeat the URL with its query, or pages of what was received.
    if isinstance(error, aiohttp.ClientResponseError):
        return (error.message or "an answer that cannot be read").splitlines()[0][:120]
    return "an answer that cannot be read"


def _broken_body(error: BaseException, url: Url) -> HostError | None:
    """``error`` ended the reading of a body; None: it is none of ours."""
    if isinstance(error, aiohttp.ClientPayloadError) and ConnectionResetError.__name__ in str(error):
        # The client keeps the system's error only in its text. Without it the outcome is "truncated".
        return interrupted(url, ConnectionResetError(errno.ECONNRESET, "reset"))
    if isinstance(error, (aiohttp.ClientError, OSError)):
        return interrupted(url, error)
    return None


class _Dropped(Exception):
    """A connection ended before it answered."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _Stale(Exception):
    """An idle connection had been closed by the peer: not its fault, nor anybody's."""


async def _one_try(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    # The client would repeat any request whose connection dropped, on new connections too, so that
    # a failing host gets twice the requests and takes twice the time. We decide.
    try:
        return await handler(request)
    except CONNECT_ERRORS:
        raise
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise _Dropped(error) from error


class _Handler(ResponseHandler):
    """A connection, which ends when its peer says over and over that it is about to answer."""

    interim = 0

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        self.interim = 0 if data[0].code >= 200 and self.interim <= INTERIM_MAX else self.interim + 1
        if self.interim <= INTERIM_MAX:
            super().feed_data(data, size)
        elif self.transport is not None:
            self.set_exception(HttpProcessingError(message="nothing but interim answers"))
            self.transport.abort()


def _trace() -> aiohttp.TraceConfig:
    """Tells the :class:`Dial` of a request when a connection carries it."""

    async def made(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.established(reused=False)

    async def reused(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.established(reused=True)

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(made)
    trace.on_connection_reuseconn.append(reused)
    return trace
