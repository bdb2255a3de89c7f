"""The scripts set up what is missing, repair what was interrupted, and say what they lack."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Does what the scripts ask of a Python: answers checks, makes an environment with itself, and notes what it installs.
PYTHON = """#!/usr/bin/env bash
case "$1 ${2:-}" in
  "-V ") echo "Python ${VERSION:-3.12.1}" ;;
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip") echo "$*" >>"$PIP_LOG" && [[ -z ${PIP_FAILS:-} ]] ;;
esac
"""
INSTALL = 'python=$(need_python); environment ".venv" "$python" --editable .'


class Project:
    """A copy of what the scripts read, in a folder whose name holds a space, and a stand-in for Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a project"
        (self.folder / "scripts").mkdir(parents=True)
        for name in ("scripts/_environment.sh", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.folder / name)
        self.python = folder / "some python"
        self.python.write_text(PYTHON, "utf-8")
        self.python.chmod(0o755)
        self.log = folder / "pip.log"

    def run(self, commands: str, **extra: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHON": str(self.python), "PIP_LOG": str(self.log), **extra}
        script = f'source "{self.folder}/scripts/_environment.sh"\n{commands}'
        return subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )

    def installs(self) -> int:
        return self.log.read_text("utf-8").count("--editable") if self.log.exists() else 0


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_what_is_installed_is_not_installed_again_before_something_changes(project: Project) -> None:
    assert "installing into .venv" in project.run(INSTALL).stdout
    assert project.run(INSTALL).stdout == ""
    assert project.installs() == 1
    assert project.run(INSTALL, VERSION="3.13.0").returncode == 0
    assert project.installs() == 2
    (project.folder / "constraints.txt").write_text("pip==1\n", "utf-8")
    project.run(INSTALL, VERSION="3.13.0")
    assert project.installs() == 3


def test_an_interrupted_installation_is_made_anew(project: Project) -> None:
    assert project.run(INSTALL, PIP_FAILS="1").returncode != 0
    assert (project.folder / ".venv" / "bin" / "python").exists()
    leftover = project.folder / ".venv" / "half of a package"
    leftover.touch()
    assert project.run(INSTALL).returncode == 0
    assert project.installs() == 1
    assert not leftover.exists()


def test_a_python_that_was_asked_for_and_cannot_be_used_is_told(project: Project) -> None:
    missing = project.run("need_python", PYTHON="/no/such/python")
    assert missing.returncode == 1
    assert missing.stderr == "PYTHON is '/no/such/python'; wanted is Python 3.11 or newer, with venv.\n"


def test_the_scripts_work_in_their_own_folder_whatever_the_shell_is_used_to(project: Project, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "scripts").mkdir(parents=True)
    command = ["bash", "-c", "source scripts/_environment.sh && pwd"]
    environment = {**os.environ, "CDPATH": str(tmp_path / "elsewhere")}
    run = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [str(project.folder)]
