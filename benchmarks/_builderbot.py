"""The peer BuilderBot: installed by scripts/bench, run by node."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

NPM_PEER = "builderbot"
ROOT = Path(__file__).parent.parent
_FOLDER = ROOT / ".venv-bench-npm" / NPM_PEER
_SCRIPT = ROOT / "benchmarks" / "peers" / NPM_PEER / "burst.cjs"
RUN_DEADLINE_S = 600

Found = dict[str, float]


def version() -> str | None:
    """The version that is installed; None where it, or node, is not."""
    package = _FOLDER / "node_modules" / "@builderbot" / "bot" / "package.json"
    if shutil.which("node") is None or not package.exists():
        return None
    found: str = json.loads(package.read_text("utf-8"))["version"]
    return found


def burst(options: Mapping[str, object]) -> Found:
    """What burst.cjs measures, in a folder that is thrown away: the library writes logs where it runs."""
    with tempfile.TemporaryDirectory() as folder:
        return json_of(["node", str(_SCRIPT), str(_FOLDER), json.dumps(options)], Path(folder))


def json_of(command: Sequence[str], folder: Path) -> Found:
    """What *command* prints, which must be one JSON object of figures."""
    run = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True, timeout=RUN_DEADLINE_S)
    found: Found = json.loads(run.stdout)
    return found
