"""The container runtimes of the machine: what their files say, what is in force, what their daemons print."""

from sampan.doctor.runtimes.files import check_runtimes

__all__ = ["check_runtimes"]
