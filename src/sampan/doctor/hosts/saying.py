"""What a host's failure is, in words for a person, in English and in Chinese.

Errors are English and for logs; here is a sentence for each of their outcomes, with what the host said.
"""

from __future__ import annotations

from collections.abc import Callable

from sampan.errors import HostError, printable
from sampan.upstream.host import Host
from sampan.words import Text, sentence


def in_words(error: HostError, host: Host) -> Text:
    """What went wrong, of ``error`` of ``host``; the machine behind it is named where it was that one."""
    said = said_by(error, host)
    words = _SENTENCES.get(error.outcome, _other)(said)
    if error.behind is None:
        return words
    return sentence("{behind}, where it leads: {words}", behind=error.behind, words=words)


def said_by(error: HostError, host: Host) -> str:
    """The error's message without the names that stand before it."""
    text = error.message
    for name in (f"redirected by {host.base.netloc}", host.name, host.base.netloc, error.behind):
        text = text.removeprefix(f"{name}: ") if name else text
    if error.behind is not None:
        text = text.removeprefix(f"{host.name} by way of {error.behind}: ")
    return printable(text, characters_max=300)


def _other(said: str) -> Text:
    return sentence("it fails: {said}", said=said)


# By outcome, those of sampan.errors.
_SENTENCES: dict[str, Callable[[str], Text]] = {
    "dns": lambda said: sentence("its name has no address: {said}", said=said),
    "refused": lambda _: sentence("the connection is refused: nothing listens there"),
    "connect-timeout": lambda _: sentence("no connection: what is sent there vanishes"),
    "unroutable": lambda said: sentence("there is no way to its address: {said}", said=said),
    "reset": lambda said: sentence("the connection is cut: {said}", said=said),
    "tls": lambda said: sentence("TLS fails: {said}", said=said.removeprefix("TLS: ")),
    "proxy": lambda said: sentence("the proxy does not let it through: {said}", said=said),
    "blocked-address": lambda said: sentence("it is not dialled: {said}", said=said),
    "first-byte-timeout": lambda said: sentence("a connection, and then silence: {said}", said=said),
    "stalled": lambda said: sentence("the bytes stop coming: {said}", said=said),
    "slow": lambda said: sentence("too slow: {said}", said=said),
    "truncated": lambda said: sentence("the answer ends early: {said}", said=said),
    "denied": lambda said: sentence("it refuses: {said}", said=said),
    "login": lambda said: sentence("the login is refused: {said}", said=said),
    "missing": lambda said: sentence("it does not have it: {said}", said=said),
    "rate-limited": lambda said: sentence("it was asked too often: {said}", said=said),
    "pull-limit": lambda said: sentence("it gives no more pulls for now: {said}", said=said),
    "over-budget": lambda said: sentence("not asked, lest it ban us: {said}", said=said),
    "server-error": lambda said: sentence("its own trouble: {said}", said=said),
    "not-a-registry": lambda said: sentence("not what a registry answers: {said}", said=said),
    "protocol": lambda said: sentence("not what a registry answers: {said}", said=said),
    "redirect": lambda said: sentence("it leads astray: {said}", said=said),
    "wrong-content": lambda said: sentence("wrong bytes: {said}", said=said),
}
