"""The one way to import a module later than at the top: parts that only some configurations need.

Worth it where a part's libraries take a tenth of a second and most nodes do without. The caller names
the module by a constant, at load and never at request; tests/test_architecture.py knows all callers
and holds what they name to the layers, since the linter of imports cannot see it.
"""

import gc
import sys
from importlib import import_module
from types import ModuleType

__all__ = ["import_late"]


def import_late(module: str) -> ModuleType:
    """Import without collecting garbage: a sixth of the time went into finding that modules stay."""
    if module in sys.modules:
        return sys.modules[module]
    was_on = gc.isenabled()
    gc.disable()
    try:
        return import_module(module)
    finally:
        if was_on:
            gc.enable()
