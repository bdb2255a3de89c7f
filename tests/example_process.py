"""The example as a process of its own, for tests."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "tecnobot_app.py"


def environment(data_dir: Path, **extra: str) -> dict[str, str]:
    """What the example sees: little of ours, and a free port."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "DATA_DIR": str(data_dir), "WEB_PORT": "0", "PYTHONUTF8": "1", **extra}


@contextlib.contextmanager
def serving(data_dir: Path, **extra: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The web page, and its address."""
    command = [sys.executable, str(EXAMPLE)]
    with subprocess.Popen(command, env=environment(data_dir, **extra), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = re.search(r"http://\S+", process.stdout.readline())
            assert url is not None
            yield process, url[0]
        finally:
            process.kill()
