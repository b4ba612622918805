"""By which names a host is asked: its own one for a repository, and the registry that is meant (``ns``).

Guarantees that a host is asked only for what its settings name, and that no host answers for another
registry's repository of the same name without saying so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from sampan.errors import Missing, NotARegistry
from sampan.oci.distribution import OCI_NAMESPACE

if TYPE_CHECKING:
    from sampan.upstream.host import Host
    from sampan.upstream.response import Response

_HAS_NAMESPACE = re.compile(r"[?&]ns=")


def name_at(host: Host, repository: str) -> str:
    """What ``host`` calls ``repository``. Raises Missing when it is not to be asked for it."""
    name = host.repository_for(repository)
    if name is None:
        raise Missing(
            f"{host.name}: not asked for {repository}, its settings leave it out", outcome="missing"
        )
    return name


def asked_of(host: Host, path: str) -> str:
    """``path``, with the registry that is meant where the host has to be told."""
    if host.namespace is None or _HAS_NAMESPACE.search(path):  # a link to the next page has it
        return path
    return f"{path}{'&' if '?' in path else '?'}ns={quote(host.namespace, safe='')}"


def check_namespace(response: Response, host: Host) -> None:
    """A host that takes no notice of ``ns`` would answer for another registry's repository of that name.
    Raises NotARegistry."""
    if host.namespace is None or response.status != 200 or response.behind is not None:
        return
    if response.header(OCI_NAMESPACE) != host.namespace:
        raise NotARegistry(
            f"{host.name}: does not say that it answers for {host.namespace}: no mirror that knows ns",
            outcome="protocol",
        )
