"""The ``tecnobot`` command."""

from pathlib import Path

import pytest

from tecnobot_core import __version__
from tecnobot_core.cli import main
from tecnobot_core.config import Settings

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "settings.md"


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in Settings.variables().values():
        for name in (variable.name, f"{variable.name}_FILE", variable.alias):
            monkeypatch.delenv(name, raising=False)


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"tecnobot_core {__version__}\n"


def test_settings_shows_values_defaults_and_meanings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMORY_LIMIT", "64")
    monkeypatch.setenv("CACHE_TTL_FAQ", "60")
    assert main(["settings"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = lines.index("MEMORY_LIMIT=64")
    assert lines[shown + 1 : shown + 3] == [
        "    Memory that the process stays inside",
        "    16 to 1048576 MiB, in digits 0-9; default 512",
    ]
    assert "CACHE_TTL_FAQ=60" in lines
    assert "ALERT_<NAME>=" in lines


def test_settings_never_shows_a_secret(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hunter2")
    assert main(["settings"]) == 0
    printed = capsys.readouterr().out
    assert "OPENAI_API_KEY=***" in printed
    assert "hunter2" not in printed


def test_a_wrong_environment_exits_2_with_the_problems(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMORY_LIMIT", "lots")
    monkeypatch.setenv("WEB_PORT", "-1")
    assert main(["settings"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "MEMORY_LIMIT is 'lots'; wanted is 16 to 1048576 MiB, in digits 0-9",
        "WEB_PORT is '-1'; wanted is a port from 0 to 65535",
    ]


def test_the_page_of_the_documentation_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "--markdown"]) == 0
    assert capsys.readouterr().out == PAGE.read_text(encoding="utf-8")


def test_without_a_command_the_usage_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "usage: tecnobot" in capsys.readouterr().err
