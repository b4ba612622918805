"""The admission webhook's front: AdmissionReviews at ``/mutate``, and the pages for machines that watch.

Guarantees that an answer needs nothing but the rules in memory: no network, no file. The certificate and
the rules are looked at every few seconds and taken up when they have changed; bad ones leave the old.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from sampan.clock import Clock
from sampan.errors import InvalidRequest, SampanError, Unsupported
from sampan.oci.reference import REFERENCE_CHARACTERS_MAX
from sampan.rewrite.admission import Judge, Verdict, decide
from sampan.rewrite.rules import Rewriting, Rules
from sampan.server.answer import Answer, document, problem, refusal
from sampan.server.certificate import Certificate
from sampan.server.log import PullLog
from sampan.server.metrics import CONTENT_TYPE
from sampan.server.v2 import Request
from sampan.server.watch import Watch
from sampan.server.webhook_metrics import WebhookMetrics

PATH = "/mutate"
# The object and the one before it, of at most 3 MiB each (the API server's own limit), and who asks.
BODY_BYTES_MAX = 8 * 1024 * 1024
WATCH_SECONDS = 5.0  # a changed certificate is shown within 10
JUDGED_MAX = 4096  # of a KiB at most
CONNECTIONS_MAX = 512  # each API server keeps some tens

_log = logging.getLogger("sampan.webhook")


@dataclass(slots=True)
class Exchange:
    """One request and its answer. ``began``: on the monotonic clock."""

    request: Request
    client: str
    began: float
    answer: Answer
    verdict: Verdict | None = None


class Webhook:
    """Answers for ``rules``. ``reread`` gives them anew when one of ``files`` has changed."""

    def __init__(
        self,
        rules: Rules,
        *,
        own_namespace: str,
        certificate: Certificate,
        clock: Clock,
        reread: Callable[[], Rules],
        files: Watch,
    ) -> None:
        self.connections = 0
        self.stopping = False
        self.body_bytes_max = BODY_BYTES_MAX
        self._judge = _remembering(rules)
        self.metrics = WebhookMetrics()
        self.metrics.certificate_expires(certificate.expires)
        self._own_namespace = own_namespace
        self._certificate = certificate
        self._clock = clock
        self._reread = reread
        self._files = files
        self._looked = clock.monotonic()
        self._requests = PullLog(clock)

    async def begin(self, request: Request, client: str) -> Exchange:
        """Answer ``request``. Raises nothing but CancelledError."""
        exchange = Exchange(request, client, self._clock.monotonic(), Answer(499, b""))
        try:
            exchange.answer = self._answer(exchange)
        except SampanError as error:
            exchange.answer = problem(error, is_head=request.method == "HEAD")
        except Exception:  # noqa: BLE001  (the last line of defence: nobody is shown a traceback)
            _log.exception("unexpected error, please report it")
            exchange.answer = refusal(500, "UNKNOWN", "unexpected error: the webhook's log has more")
        return exchange

    def _answer(self, exchange: Exchange) -> Answer:
        request = exchange.request
        path = request.raw_target.partition("?")[0]
        if path == PATH:
            if request.method != "POST":
                raise Unsupported("an AdmissionReview is sent by POST")
            exchange.verdict = decide(_parse(request.body), self._judge, own_namespace=self._own_namespace)
            return document(200, msgspec.json.encode(exchange.verdict.review))
        if request.method not in ("GET", "HEAD"):
            raise Unsupported(f"only {PATH} takes anything but GET and HEAD")
        return self._page(path, is_head=request.method == "HEAD")

    def _page(self, path: str, *, is_head: bool) -> Answer:
        if path == "/healthz":
            return document(200, b"ok\n", media_type="text/plain", is_head=is_head)
        if path == "/readyz":
            if self.stopping:
                return refusal(503, "UNAVAILABLE", "stopping", is_head=is_head)
            return document(200, b"ready\n", media_type="text/plain", is_head=is_head)
        if path == "/metrics":
            text = self.metrics.render(self.connections)
            return document(200, text, media_type=CONTENT_TYPE, is_head=is_head)
        hint = {"hint": f"there are {PATH}, /healthz, /readyz and /metrics"}
        return refusal(404, "NAME_UNKNOWN", "there is nothing here", detail=hint, is_head=is_head)

    def refuse(self, client: str, status: int, message: str) -> Exchange:
        """The answer to bytes that are no request."""
        answer = refusal(status, "UNSUPPORTED", message)
        return Exchange(Request("", "", {}), client, self._clock.monotonic(), answer)

    def began_to_send(self, exchange: Exchange) -> None:
        """Answers are whole: there is nothing to note."""

    def end(self, exchange: Exchange, *, sent_bytes: int, left: bool = False, error: str = "") -> None:  # noqa: ARG002  (the protocol's)
        """The answer is on its way."""
        request, answer, verdict = exchange.request, exchange.answer, exchange.verdict
        if verdict is not None:
            self.metrics.reviewed(verdict.outcome, verdict.images, self._clock.monotonic() - exchange.began)
        elif answer.status >= 400:
            self.metrics.refused(answer.status)
            self._requests.failed(
                exchange.client, request.method, request.raw_target, answer.status, answer.error
            )

    def tick(self, stalled: int) -> None:
        """Each second; ``stalled`` clients were dropped."""
        self.metrics.clients_stalled(stalled)
        now = self._clock.monotonic()
        if now - self._looked >= WATCH_SECONDS:
            self._looked = now
            self._look()

    def _look(self) -> None:
        """At what may have changed. Both are some KiB on a local disk: a thread would cost more."""
        try:
            if self._certificate.refresh():
                _log.info("a new certificate is shown from now on")
                self.metrics.reloaded("certificate", well=True)
        except SampanError as error:
            _log.error("the old certificate is still shown: %s", error.message)
            self.metrics.reloaded("certificate", well=False)
        self.metrics.certificate_expires(self._certificate.expires)
        if self._files.has_changed():
            self.reload()

    def reload(self) -> None:
        """Take up the rules as they are written now; bad ones are told, and change nothing."""
        try:
            self._judge = _remembering(self._reread())
        except SampanError as error:
            hint = f" (hint: {error.hint})" if error.hint else ""
            _log.error("the new rules are bad, the old ones are kept: %s%s", error.message, hint)
            self.metrics.reloaded("rules", well=False)
        else:
            _log.info("rules loaded")
            self.metrics.reloaded("rules", well=True)

    def connection_refused(self) -> None:
        """One came beyond the limit."""
        self.metrics.connection_refused()

    async def close(self) -> None:
        """Nothing is open; whoever waits has their turn first."""
        await asyncio.sleep(0)


def _remembering(rules: Rules) -> Judge:
    """A cluster has some hundred images, each in any number of pods."""
    known = lru_cache(maxsize=JUDGED_MAX)(rules.judge)

    def judge(text: str) -> Rewriting:
        return known(text) if len(text) <= REFERENCE_CHARACTERS_MAX else rules.judge(text)

    return judge


def _parse(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest("expected an AdmissionReview, got something else than JSON") from error
