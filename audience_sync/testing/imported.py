"""What a connector's file imports, for the contracts that allow it little."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator


def imported(kind: type) -> Iterator[str]:
    """The modules that the file of a class imports, wherever in it."""
    for node in ast.walk(ast.parse(inspect.getsource(sys.modules[kind.__module__]))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
