"""Each host on the way to an image, looked at by itself; what follows from all of them together."""

from sampan.doctor.hosts.findings import check_hosts, hosts_findings
from sampan.doctor.hosts.probe import HostProbe

__all__ = ["HostProbe", "check_hosts", "hosts_findings"]
