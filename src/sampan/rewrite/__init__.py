"""References redirected to mirrors: one set of rules, and everything that references are written in.

The package is also what its name says: ``sampan.rewrite("alpine:3")`` is the reference by the rules of this
machine's configuration. Many are best given to one :func:`sampan.rewriter`, which reads it once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

from sampan.rewrite.rules import Reason, Rewriting, Rules
from sampan.rewrite.target import Target

__all__ = ["Reason", "Rewriting", "Rules", "Target"]


class _CallablePackage(ModuleType):
    """What ``import sampan.rewrite`` binds: a package whose modules can be imported, and a function."""

    def __call__(self, reference: str) -> str:
        """``reference`` by this machine's rules, as written where none is for it. Raises ConfigError."""
        # Configuration lies above this package, so it is asked for by its public name.
        rules: Rules = import_module("sampan").rewriter()
        return rules.rewrite(reference)


sys.modules[__name__].__class__ = _CallablePackage
