"""All checks that there are. To add one: :mod:`sampan.doctor.contract`."""

from __future__ import annotations

from sampan.doctor.contract import Check
from sampan.doctor.names import check_names
from sampan.doctor.runtimes import check_runtimes

CHECKS: tuple[Check, ...] = (check_names, check_runtimes)
