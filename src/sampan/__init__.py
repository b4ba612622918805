"""sampan brings container images to machines that a registry no longer reaches.

The public names, and nothing else. They are imported when they are first used, so that ``import
sampan`` costs nothing and the command line stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sampan.config import Config
    from sampan.config.build import build
    from sampan.config.rewrite import rewriter
    from sampan.errors import SampanError
    from sampan.mirror.service import Mirror
    from sampan.oci import Digest, Platform, Reference

    def rewrite(reference: str) -> str:
        """``reference`` by the rules of this machine's configuration; see :mod:`sampan.rewrite`."""


__all__ = [
    "Config",
    "Digest",
    "Mirror",
    "Platform",
    "Reference",
    "SampanError",
    "build",
    "rewrite",
    "rewriter",
]

_HOMES = {
    "Config": "sampan.config",
    "Digest": "sampan.oci",
    "Mirror": "sampan.mirror.service",
    "Platform": "sampan.oci",
    "Reference": "sampan.oci",
    "SampanError": "sampan.errors",
    "build": "sampan.config.build",
    "rewriter": "sampan.config.rewrite",
}


def __getattr__(name: str) -> object:
    if name == "rewrite":  # a package that can be called
        return import_module("sampan.rewrite")
    if name not in _HOMES:
        raise AttributeError(f"module 'sampan' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
