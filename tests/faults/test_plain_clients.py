"""The table of 26 faults for plain HTTP clients: each byte of manifest and blobs is compared.

A bad host before a good one, behind it, and two bad ones before it. The times are those that are shipped, in
an event loop whose time is exact: see tests/standstill.py.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fault_table import ASKED_AGAIN, NEVER_MET, ORDERS, PLACES, faulted_max
from faults.trial import trial
from rig import assert_store_is_sound
from sampan.mirror.tagged import TagPolicy
from sampan.testing import FAULT_TABLE, FakeRegistry, image, random_layer
from sampan.testing.catalogue import Apply
from sampan.upstream.host import Host

pytestmark = pytest.mark.standstill

ALPINE = image("library/alpine", "3", layers=[random_layer(1, 400_000)])
NEVER_FRESH = TagPolicy(fresh_for_seconds=0.0)
SECONDS_MAX = 0.2  # of the loop's time, which passes only while all wait ...
WAIT_SECONDS = {"manifest stalls": 2.0, "blob stalls": 10.0}  # ... for each host that has to be waited for


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("row", "spoil"), FAULT_TABLE, ids=[row for row, _ in FAULT_TABLE])
async def test_every_byte_is_right_wherever_the_bad_hosts_stand(
    row: str, spoil: Apply, order: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        hosts = [
            await stack.enter_async_context(FakeRegistry(name, host=PLACES[name])) for name in ORDERS[order]
        ]
        bad = [host for host in hosts if host.name != "good"]
        for host in hosts:
            host.add(ALPINE)
        for host in bad:
            spoil(host, ALPINE)
        # An old tag looks just like a new one: who may be behind is not asked what a tag means.
        content_only = frozenset({"pull"}) if row == "stale tag" else frozenset({"pull", "resolve"})
        asked = [
            Host.from_url(host.url, capabilities=content_only) if host in bad else Host.from_url(host.url)
            for host in hosts
        ]
        async with trial(tmp_path, asked, policy=NEVER_FRESH) as endured:
            for _ in range(2 if row in ASKED_AGAIN else 1):
                await endured.pull(ALPINE)
            waited = 0 if hosts[0].name == "good" else len(bad)
            assert endured.seconds <= SECONDS_MAX + WAIT_SECONDS.get(row, 0.0) * waited
        assert_store_is_sound(endured.store)
        for host in bad:
            assert len(host.faulted) <= faulted_max(row), [f"{r.method} {r.target}" for r in host.faulted]
            assert host.faulted or host is not hosts[0] or row in NEVER_MET, "nobody met the fault"
            assert not (host.requests and hosts[0].name == "good"), "nobody had a reason to ask it"
