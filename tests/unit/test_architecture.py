"""What the design promises of the code's shape, beside the layers that import-linter checks."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "sampan"
LINES_MAX = 400  # more than can be read in one sitting
FUNCTION_LINES_MAX = 60


@cache
def modules() -> dict[str, ast.Module]:
    return {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")}


def imported(tree: ast.Module) -> set[str]:
    """The top-level packages that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_one_module_imports_the_http_client_and_one_the_http_server() -> None:
    users = {name for name, tree in modules().items() if imported(tree) & {"aiohttp", "aiohttp_socks"}}
    assert users == {"upstream/transport.py", "server/app.py"}


def test_the_vocabulary_needs_nothing_but_the_standard_library() -> None:
    for name, tree in modules().items():
        if name.startswith("oci/"):
            assert not imported(tree) & {"aiohttp", "msgspec", "click", "prometheus_client"}, name


def test_docker_hubs_own_hosts_are_spelt_in_one_place() -> None:
    spelling = {
        name
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value in ("registry-1.docker.io", "index.docker.io", "https://registry-1.docker.io")
    }
    assert spelling <= {"oci/reference.py"}


def test_no_file_is_longer_than_one_sitting_and_no_function_than_a_page() -> None:
    for name, tree in modules().items():
        assert (SOURCE / name).read_text().count("\n") <= LINES_MAX, name
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, f"{name}: {node.name}"
