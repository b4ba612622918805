"""How long the mirror waits, for whom: all its times in one value, so that a test can be impatient."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. The defaults follow from what clients endure: containerd waits 30 s for headers (2.3 and
    later) and 300 s for a byte; and from the promise that a request which nobody can serve ends in 40 s.
    """

    connect_seconds: float = 1.0
    """Not connected by then: another host is asked as well."""
    manifest_seconds: float = 2.0
    blob_seconds: float = 5.0
    """Connected, but no answer by then: likewise. Tags and referrers wait as long as blobs."""
    budget_seconds: float = 36.0
    """For one question to all its hosts."""
    headers_seconds: float = 20.0
    """A blob of known size is answered by then, though its first byte may not leave yet."""
    first_byte_seconds: float = 200.0
    """Bytes that are not verified leave after that: the client would give up with nothing."""
    come_back_seconds: float = 3.0
    """All hosts rest in mid-blob: when they are asked again."""
    rate_limit_seconds: float = 15.0
    """A rate limit of all hosts that ends sooner is waited for within the request."""
    stale_seconds: float = 3.0
    """A known tag is not kept waiting longer than a dead host's connection takes."""

    def answer_seconds(self, kind: str) -> float:
        """Of a connected host, for ``kind`` of question."""
        return self.manifest_seconds if kind == "manifest" else self.blob_seconds
