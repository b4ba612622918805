"""The sinks that there are, and how one is made of its name.

A sink's module is imported when it is asked for: a runtime's client costs nothing to those who do not use
it. The table is what the command offers; what is not in it, it refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.errors import UsageError
from sampan.pull.sink import FORMS, Sink, SinkSpec
from sampan.store.content import Store

if TYPE_CHECKING:
    from sampan.upstream.push import Destination


@dataclass(frozen=True, slots=True)
class SinkSetting:
    """What sinks may use of their surroundings, found out by the command and by nobody below it.

    ``containerd_address``: its socket, None for the usual one; ``environ``: for programs that are run;
    ``store_path``: where the store lies, to be told; ``destination``: makes what pushes to the registry
    of that name, and dials nothing yet.
    """

    store: Store
    containerd_address: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    store_path: Path | None = None
    destination: Callable[[str], Destination] | None = None


# Kind -> module, whose ``open_sink(spec, setting)`` makes it. It dials and writes nothing yet.
MODULES = {
    "store": "store",
    "oci": "layout",
    "oci-archive": "archive",
    "docker-archive": "archive",
    "containerd": "containerd",
    "docker": "docker",
    "podman": "podman",
    "registry": "registry",
}


def forms() -> str:
    """The sinks that there are, as they are written."""
    return ", ".join(FORMS[kind] for kind in MODULES)


def open_sink(spec: SinkSpec, setting: SinkSetting) -> Sink:
    """The sink that ``spec`` names. Raises UsageError for a kind that there is not."""
    if spec.kind not in MODULES:
        raise UsageError(f"no such sink: {spec.kind}", hint=f"there are: {forms()}")
    module = import_module(f"sampan.pull.sinks.{MODULES[spec.kind]}")
    make: Callable[[SinkSpec, SinkSetting], Sink] = module.open_sink
    return make(spec, setting)
