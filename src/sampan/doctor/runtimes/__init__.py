"""The container runtimes of the machine: what their files say, what is in force, what their daemons print."""

from sampan.doctor.runtimes.daemons import check_daemons
from sampan.doctor.runtimes.files import check_runtimes
from sampan.doctor.runtimes.gone import check_gone
from sampan.doctor.runtimes.logs import check_logs
from sampan.doctor.runtimes.restarts import check_restarts
from sampan.doctor.runtimes.scope import check_scope

__all__ = ["check_daemons", "check_gone", "check_logs", "check_restarts", "check_runtimes", "check_scope"]
