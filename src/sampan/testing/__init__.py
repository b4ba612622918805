"""The test kit that sampan ships: a registry that misbehaves on request and a clock that stands still."""

from sampan.testing.clock import ManualClock

__all__ = ["ManualClock"]
