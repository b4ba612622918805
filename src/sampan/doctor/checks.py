"""All checks that there are. To add one: :mod:`sampan.doctor.contract`."""

from __future__ import annotations

from sampan.doctor.chain import check_chain, check_pulls
from sampan.doctor.contract import Check
from sampan.doctor.hosts import check_hosts
from sampan.doctor.machine import (
    check_authorities,
    check_clock,
    check_disk,
    check_dns,
    check_ipv6,
    check_proxies,
)
from sampan.doctor.names import check_names
from sampan.doctor.own import check_configuration
from sampan.doctor.runtimes import (
    check_daemons,
    check_gone,
    check_logs,
    check_restarts,
    check_runtimes,
    check_scope,
)

CHECKS: tuple[Check, ...] = (
    check_names,
    check_configuration,
    check_clock,
    check_dns,
    check_proxies,
    check_disk,
    check_authorities,
    check_ipv6,
    check_hosts,
    check_daemons,
    check_runtimes,
    check_scope,
    check_restarts,
    check_gone,
    check_logs,
    check_chain,
)
# With --pull: these besides, which take as long as a pull takes.
PULL_CHECKS: tuple[Check, ...] = (check_pulls,)
