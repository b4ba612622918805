"""What a listener needs of whoever answers: the mirror's front or the webhook's."""

from __future__ import annotations

from typing import Protocol, TypeVar

from sampan.server.answer import Answer
from sampan.server.v2 import Request


class ExchangeApi(Protocol):
    """One request and its answer."""

    @property
    def answer(self) -> Answer: ...


ExchangeT = TypeVar("ExchangeT", bound=ExchangeApi)


class FrontApi(Protocol[ExchangeT]):
    """Answers requests without touching a socket. ``connections`` and ``stopping`` are set by the listener.

    ``body_bytes_max``: how much of a POST's body is read for it; 0: none.
    """

    connections: int
    stopping: bool
    body_bytes_max: int

    async def begin(self, request: Request, client: str, /) -> ExchangeT:
        """Answer; whoever called must :meth:`end` it. Raises nothing but CancelledError."""

    def refuse(self, client: str, status: int, message: str, /) -> ExchangeT:
        """The answer to bytes that are no request."""

    def began_to_send(self, exchange: ExchangeT, /) -> None:
        """The first byte of the answer's body may leave."""

    def end(self, exchange: ExchangeT, /, *, sent_bytes: int, left: bool = False, error: str = "") -> None:
        """The answer was sent, or the client ``left``, or it was cut short because of ``error``."""

    def tick(self, stalled: int, /) -> None:
        """A second is over, in which ``stalled`` clients were dropped for taking nothing."""

    def connection_refused(self) -> None:
        """One came beyond the limit."""

    async def close(self) -> None:
        """After the last request."""
