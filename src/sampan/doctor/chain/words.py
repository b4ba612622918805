"""The words of containerd, in which a pull ends: errors as its versions print them.

Pure. Kept apart from the procedure (:mod:`.containerd_walk`), so that each can be read beside the real thing.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from urllib.parse import parse_qsl, quote, urlencode

from sampan.doctor.chain.contract import Answer, Ask
from sampan.doctor.chain.dialect import Dialect

NOT_FOUND = "not found"
REDACTED = "[REDACTED]"


class Failed(Exception):
    """``text`` is what the program's own error says. ``missing``: it is one of those that mean 404;
    ``rank``: how far it got, where that decides which of several is shown. ``has_status``: an answer was the
    reason, in which the registry ``said`` why."""

    def __init__(
        self,
        text: str,
        *,
        missing: bool = False,
        rank: int = 1,
        has_status: bool = False,
        said: str = "",
    ) -> None:
        super().__init__(text)
        self.text = text
        self.missing = missing
        self.rank = rank
        self.has_status = has_status
        self.said = said

    def within(self, text: str) -> Failed:
        """The same error in a larger one, whose words are ``text``."""
        return type(self)(
            text, missing=self.missing, rank=self.rank, has_status=self.has_status, said=self.said
        )


class Denied(Failed):
    """What came of a login."""


BARE, FINAL = 8, 9  # ranks: nothing stands before it; no other host is asked


def no_answer(ask: Ask, failure: str, dialect: Dialect) -> str:
    """A request that got none, in the form of Go's HTTP client."""
    return f'{ask.method.title()} "{_shown(ask.url, dialect)}": {failure}'


def status(answer: Answer) -> str:
    """``502 Bad Gateway``."""
    number = answer.status or 0
    try:
        return f"{number} {HTTPStatus(number).phrase}"
    except ValueError:
        return str(number)


def head_refused(ask: Ask, answer: Answer, item: str, dialect: Dialect) -> str:
    """An error status to the question what a tag means."""
    if not dialect.names_method:
        what = "status code" if (answer.status or 0) > 399 else "unexpected status code"
        return f"pulling from host {ask.entry.netloc} failed with {what} [manifests {item}]: {status(answer)}"
    return (
        f"unexpected status from {ask.method} request to {ask.url}: {status(answer)}{_said(answer, dialect)}"
    )


def get_refused(ask: Ask, answer: Answer, dialect: Dialect) -> str:
    """An error status to the request for content."""
    if dialect.adds_body:
        return head_refused(ask, answer, "", dialect)
    said = registry_errors(answer.body)
    text = f"unexpected status code {ask.url}: {status(answer)}"
    return f"{text} - Server message: {said}" if said else text


def token_refused(ask: Ask, answer: Answer, dialect: Dialect) -> str:
    """An error status of a token service."""
    if not dialect.names_method:
        return f"unexpected status: {status(answer)}"
    return f"unexpected status from {ask.method} request to {ask.url}: {status(answer)}"


def first_message(body: bytes) -> str:
    """What the first error of the spec's error document says; empty when ``body`` is none."""
    found = _errors(body)
    return found[0][1] if found else ""


def registry_errors(body: bytes) -> str:
    """The spec's error document as the resolver prints it; empty when ``body`` is none."""
    errors = _errors(body)
    lines = [f"{code.replace('_', ' ').lower()}: {message}" for code, message in errors]
    if len(lines) < 2:
        return "".join(lines)
    return "errors:\n" + "".join(f"{line}\n" for line in lines)


def _errors(body: bytes) -> list[tuple[str, str]]:
    try:
        document = json.loads(body)
        return [(str(each["code"]), str(each.get("message", ""))) for each in document["errors"]]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return []


def _said(answer: Answer, dialect: Dialect) -> str:
    said = registry_errors(answer.body) if dialect.adds_body else ""
    return f"\n{said}" if said else ""


def _shown(url: str, dialect: Dialect) -> str:
    """Where no answer came, 2.x hides the values of a query."""
    bare, question, query = url.partition("?")
    if not question or not dialect.redacts:
        return url
    names = [name for name, _ in parse_qsl(query, keep_blank_values=True)]
    return f"{bare}?{urlencode([(name, REDACTED) for name in names], quote_via=quote)}"
