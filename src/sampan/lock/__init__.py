"""Lock files: what tags mean, as several hosts agreed, written down so that it stays so."""

from sampan.lock.document import Lock, Locked

__all__ = ["Lock", "Locked"]
