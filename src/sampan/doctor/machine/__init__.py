"""The machine that asks: its clock, names, proxies, disks, authorities and addresses."""

from sampan.doctor.machine.authorities import check_authorities
from sampan.doctor.machine.clock import check_clock
from sampan.doctor.machine.disk import check_disk
from sampan.doctor.machine.dns import check_dns
from sampan.doctor.machine.ipv6 import check_ipv6
from sampan.doctor.machine.proxies import check_proxies

__all__ = ["check_authorities", "check_clock", "check_disk", "check_dns", "check_ipv6", "check_proxies"]
