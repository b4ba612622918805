"""A dictionary of bounded size, for what strangers may choose the keys of."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

REMEMBERED_MAX = 50_000  # of each kind: a stranger's names must not fill the memory

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(OrderedDict[Key, Value], Generic[Key, Value]):
    """A dictionary that forgets what was used the longest time ago. ``remembered_max``: how many it keeps."""

    def __init__(self, remembered_max: int | None = None) -> None:
        super().__init__()
        self._remembered_max = remembered_max

    def remember(self, key: Key, value: Value) -> Value:
        self[key] = value
        self.move_to_end(key)
        while len(self) > (self._remembered_max or REMEMBERED_MAX):
            self.popitem(last=False)
        return value

    def of(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of ``key``, made if there is none."""
        known = self.get(key)
        return self.remember(key, make() if known is None else known)
