"""Logging as an application configures it."""

import json
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tecnobot_core.config import Settings
from tecnobot_core.errors import ConfigurationError, LifecycleError
from tecnobot_core.operations import configure_logging
from tecnobot_core.operations.log_file import LogFile
from tecnobot_core.testing.clock import FakeClock

logger = logging.getLogger("tecnobot_core.somewhere")


def test_production_logs_warnings_as_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with configure_logging(Settings()):
        logger.info("unseen")
        logger.warning("año %d\nsecond line", 7)
    (line,) = capsys.readouterr().err.splitlines()
    assert "año" in line
    record = json.loads(line)
    assert record.pop("at").endswith("+00:00")
    assert record == {"level": "warning", "logger": "tecnobot_core.somewhere", "message": "año 7\nsecond line"}


def test_a_traceback_stays_in_its_json_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # those of pytest would format it before
    with configure_logging(Settings()):
        try:
            raise ValueError("broken")
        except ValueError:
            logger.exception("it failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["error"].endswith("ValueError: broken")


def test_development_logs_information_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    with configure_logging(Settings(environment="development")):
        logger.debug("unseen")
        logger.info("seen")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(" INFO     tecnobot_core.somewhere: seen")


@pytest.mark.parametrize(("level", "seen"), [("debug", "diwe"), ("error", "e"), ("off", "")])
def test_the_level_comes_from_the_settings(level: str, seen: str, capsys: pytest.CaptureFixture[str]) -> None:
    with configure_logging(Settings(environment="development", log_level=level)):
        for name in ("debug", "info", "warning", "error"):
            logger.log(logging.getLevelNamesMapping()[name.upper()], name[0])
    assert "".join(line[-1] for line in capsys.readouterr().err.splitlines()) == seen


def test_libraries_that_print_requests_stay_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with configure_logging(Settings(log_level="debug")):
        logging.getLogger("openai").debug("the question of a person")
        logging.getLogger("asyncio").warning("slow")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "slow"


def test_stopping_leaves_logging_as_it_was() -> None:
    root, foreign = logging.getLogger(), logging.getLogger("openai")
    before = (root.handlers[:], root.level, foreign.level, threading.active_count())
    handle = configure_logging(Settings(log_level="debug"))
    assert (root.handlers[:], root.level, foreign.level, threading.active_count()) != before
    handle.stop()
    handle.stop()
    assert (root.handlers[:], root.level, foreign.level, threading.active_count()) == before


def test_configuring_twice_is_refused_until_the_first_is_stopped() -> None:
    with configure_logging(Settings()), pytest.raises(LifecycleError, match="stop the LogHandle"):
        configure_logging(Settings())
    configure_logging(Settings()).stop()


def test_an_argument_is_logged_as_it_was_when_logged(capsys: pytest.CaptureFixture[str]) -> None:
    items = [1]
    with configure_logging(Settings()):
        logger.warning("%s", items)
        items.append(2)
    assert json.loads(capsys.readouterr().err)["message"] == "[1]"


def test_other_handlers_get_the_record_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    root = logging.getLogger()
    with configure_logging(Settings()):
        root.handlers.reverse()  # ours first
        logger.warning("%s", 7)
    assert [record.args for record in caplog.records] == [(7,)]


def test_a_logger_with_a_level_of_its_own_is_still_held_to_that_of_the_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "level", logging.DEBUG)
    with configure_logging(Settings()):
        logger.info("unseen")
    assert capsys.readouterr().err == ""


def test_text_that_is_no_unicode_is_written_all_the_same(tmp_path: Path) -> None:
    with configure_logging(Settings(log_file=tmp_path / "log")):
        logger.warning("\ud800 after")
    assert json.loads((tmp_path / "log").read_text(encoding="utf-8"))["message"] == "\ud800 after"


def test_a_sink_that_hangs_holds_up_nobody_and_what_is_dropped_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    readable, writable = os.pipe()
    with os.fdopen(writable, "w") as stream, os.fdopen(readable) as reader:
        monkeypatch.setattr(sys, "stderr", stream)
        handle = configure_logging(Settings(), clock=FakeClock())
        log_much()
        lines = [reader.readline()]
        while "dropped" not in lines[-1]:
            lines.append(reader.readline())
        log_much()  # by this clock too soon after the first report for another, until the end
        dropped = handle.dropped
        drain = threading.Thread(target=lambda: lines.extend(reader))
        drain.start()
        handle.stop(timeout_s=20)
        stream.close()
        drain.join(20)
    messages = [json.loads(line)["message"] for line in lines]
    reports = [int(message.split()[0]) for message in messages if "log records were dropped" in message]
    assert (len(reports), sum(reports)) == (2, dropped)
    assert len(messages) - len(reports) == 20_000 - dropped


def log_much() -> None:
    for number in range(10_000):
        logger.warning("%d %s", number, "x" * 100)


def test_a_sink_that_hangs_for_ever_does_not_stop_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    readable, writable = os.pipe()
    with os.fdopen(readable) as reader, os.fdopen(writable, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        handle = configure_logging(Settings())
        for _ in range(5000):
            logger.warning("x" * 100)
        began = time.monotonic()
        handle.stop(timeout_s=0.05)
        assert time.monotonic() - began < 10
        threading.Thread(target=reader.read, daemon=True).start()
        handle.stop(timeout_s=20)


def test_the_file_is_for_its_owner_and_put_away_when_full(tmp_path: Path) -> None:
    path = tmp_path / "made" / "bot.log"
    with configure_logging(Settings(log_file=path, log_max_bytes=1024, log_keep=2)):
        for number in range(60):
            logger.warning("%d", number)
    assert sorted(file.name for file in path.parent.iterdir()) == ["bot.log", "bot.log.1", "bot.log.2"]
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.stat().st_size <= 1024
    assert json.loads(path.read_text().splitlines()[-1])["message"] == "59"


def test_a_file_that_cannot_be_opened_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"LOG_FILE is '.*', which cannot be written: Is a directory"):
        configure_logging(Settings(log_file=tmp_path))


def record(text: str) -> logging.LogRecord:
    return logger.makeRecord(logger.name, logging.WARNING, __file__, 0, text, (), None)


def test_a_full_disk_is_told_once_tried_again_later_and_recovered_from(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    clock, told = FakeClock(), list[logging.LogRecord]()
    file = LogFile(path, max_bytes=10_000, keep=1, tell=told.append, clock=clock)
    for _ in range(1000):
        file.handle(record("lost"))
    clock.now = 0.5
    file.handle(record("lost again, so the next wait is 1 s"))
    assert file.lost == 1001
    assert [note.getMessage() for note in told] == [
        "the log file misses what follows, it cannot be written: [Errno 28] No space left on device"
    ]
    path.unlink()
    clock.now = 1.49
    file.handle(record("too early"))
    assert not path.exists()
    clock.now = 1.5
    file.handle(record("written"))
    file.handle(record("and on"))
    file.close()
    assert path.read_text().splitlines() == [
        "written",
        "1002 log records are missing: this file could not be written",
        "and on",
    ]
    assert capfd.readouterr().err == ""


def test_waits_grow_to_half_a_minute_and_begin_anew_after_a_success(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    clock = FakeClock()
    file = LogFile(path, max_bytes=10_000, keep=1, tell=lambda note: None, clock=clock)
    waits = []
    for _ in range(9):
        file.handle(record("lost"))
        waits.append(file.retry_at - clock.now)
        clock.now = file.retry_at
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    path.unlink()
    file.handle(record("written"))
    path.unlink()
    path.symlink_to("/dev/full")
    file.close()
    file.handle(record("lost"))
    assert file.retry_at - clock.now == 0.5


LIMITED = """
import logging, resource, sys
from pathlib import Path
from tecnobot_core.config import Settings
from tecnobot_core.operations import configure_logging
from tecnobot_core.testing.clock import FakeClock

clock = FakeClock()
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, unlimited[1]))
logger = logging.getLogger("child")
with configure_logging(Settings(log_file=Path(sys.argv[1])), clock=clock):
    for number in range(1000):
        logger.warning("%d", number)
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
with configure_logging(Settings(log_file=Path(sys.argv[1]))):
    logger.warning("after")
"""


def test_a_line_that_the_disk_cut_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log"
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", LIMITED, str(path)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Traceback" not in child.stderr
    assert len(child.stderr.splitlines()) == 1002
    *whole, cut, last = path.read_text().splitlines()
    assert [json.loads(line)["message"] for line in whole] == [str(number) for number in range(len(whole))]
    assert not cut.endswith("}")
    assert json.loads(last)["message"] == "after"


def test_nothing_is_configured_by_importing_and_errors_are_seen_without_configuring() -> None:
    program = """
import logging, sys, threading
from tecnobot_core.operations import configure_logging
assert logging.getLogger().handlers == logging.getLogger("tecnobot_core").handlers == []
assert threading.active_count() == 1
logging.getLogger("tecnobot_core.somewhere").error("seen")
logging.getLogger("tecnobot_core.somewhere").info("unseen")
"""
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert child.stderr == "seen\n"
