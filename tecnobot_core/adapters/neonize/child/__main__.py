"""Start of the gateway process: ``python -I <this file> <descriptor> …``; see ``process.main``.

Run by its path, not with ``-m``: that would import the bot's package, and ``-I`` finds no package in a checkout.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def _package() -> ModuleType:
    """The folder of this file as a package named ``gateway``, so that its modules can import each other."""
    folder = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(
        "gateway", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["gateway"] = package
    spec.loader.exec_module(package)
    return package


if __name__ == "__main__":
    _package()
    importlib.import_module("gateway.process").main(sys.argv[1:])
