"""Run a module of the tests in a process of its own: ``python launch.py MODULE ARGUMENT...``.

``python -m tests.…`` is not enough: linkpreview, which neonize needs, installs a top-level package called ``tests``.
"""

import runpy
import sys
from pathlib import Path
from types import ModuleType

TESTS = Path(__file__).resolve().parents[1]


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs *module* this way, with the interpreter that runs now."""
    return [sys.executable, str(TESTS / "whatsapp_server" / "launch.py"), module, *arguments]


def main() -> None:
    # Python put this folder first: its modules would shadow others of the same name.
    sys.path[0] = str(TESTS.parent)
    tests = ModuleType("tests")
    tests.__path__ = [str(TESTS)]
    sys.modules["tests"] = tests
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
