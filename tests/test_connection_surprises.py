"""What no transport should do, and no parameter; on virtual time."""

import asyncio
import errno
import logging
import os
from collections.abc import Awaitable, Callable

import pytest

from tecnobot_core.connection import DisconnectReason
from tecnobot_core.errors import LoggedOutError, TransportError
from tecnobot_core.events import (
    Connected,
    ConnectionFailed,
    Disconnected,
    ReconnectScheduled,
    SessionRestored,
    SessionSaveFailed,
)
from tecnobot_core.testing import FakeMessenger, FakeTransport
from tests.connection_scene import ANSWER, Scene
from tests.virtual_time import virtually

DIRECTORY = "/data/whatsapp"
SESSION = f"{DIRECTORY}/session"


class Panic(BaseException):
    """As of a library written in Rust: not an Exception."""


def os_error(number: int, path: str | None = DIRECTORY) -> OSError:
    """As the system raises it."""
    return OSError(number, os.strerror(number)) if path is None else OSError(number, os.strerror(number), path)


def returning(works: Callable[..., Awaitable[object]], value: object) -> Callable[..., Awaitable[object]]:
    """As *works*, but with *value*, where nothing is promised."""

    async def call(*arguments: object) -> object:
        await works(*arguments)
        return value

    return call


def raising(transport: FakeTransport, method: str, *errors: BaseException) -> None:
    """Let the next calls of *method* raise *errors*."""
    works, waiting = getattr(transport, method), list(errors)

    async def call(*arguments: object) -> object:
        if waiting:
            raise waiting.pop(0)
        return await works(*arguments)

    setattr(transport, method, call)


@pytest.mark.parametrize("value", [0.01, True, False, "pong"])
@pytest.mark.parametrize("method", ["open", "ping", "close"])
@virtually
async def test_what_a_transport_returns_beyond_its_promise_is_nothing(method: str, value: object) -> None:
    transport = FakeTransport()
    setattr(transport, method, returning(getattr(transport, method), value))
    scene = Scene(transport)
    async with scene.manager:
        await asyncio.sleep(65)
        assert scene.manager.status().proof_of_life_age_s == 5
        transport.lose()
        await scene.until("waiting")
        await scene.manager.wait_connected()
        status = scene.manager.status()
        assert (status.abandoned, status.heartbeats_missed, transport.opens) == (0, 0, 2)
    assert scene.manager.status().abandoned == 0


@virtually
async def test_a_link_is_closed_also_when_closing_returns_something() -> None:
    messenger = FakeMessenger()
    messenger.copy_age_s = 45.0
    messenger.open_errors.append(TransportError("damaged", reason="store_error"))
    messenger.close = returning(messenger.close, True)  # type: ignore[method-assign,assignment]
    scene = Scene(messenger)
    async with scene.manager:
        await scene.manager.wait_connected()
        assert scene.all(SessionRestored) == [SessionRestored(45.0)]  # never while the link may use it


@virtually
async def test_a_panic_while_sending_leaves_open_whether_it_was_sent() -> None:
    transport = FakeTransport()
    scene = Scene(transport)
    async with scene.manager:
        await scene.manager.wait_connected()
        for error in (Panic("surprise"), ZeroDivisionError("surprise"), asyncio.CancelledError()):
            raising(transport, "send", error)
            with pytest.raises(TransportError) as caught:
                await scene.manager.send(ANSWER)
            assert (caught.value.sent, caught.value.retryable) == ("maybe", True)
        raising(transport, "send", TransportError("refused", reason="server_error"))
        with pytest.raises(TransportError, match="refused") as caught:
            await scene.manager.send(ANSWER)
        assert (caught.value.sent, caught.value.reason) == ("no", "server_error")


@virtually
async def test_who_is_cancelled_while_sending_is_cancelled() -> None:
    transport = FakeTransport()
    transport.hanging.add("send")
    scene = Scene(transport)
    async with scene.manager:
        await scene.manager.wait_connected()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await scene.manager.send(ANSWER)


@pytest.mark.parametrize("when", ["waiting", "up"])
@virtually
async def test_a_panic_of_a_parameter_ends_the_link_and_nobody_waits_for_it(when: str) -> None:
    def jitter(delay_s: float) -> float:
        raise Panic("surprise")

    transport = FakeTransport()
    scene = Scene(transport, jitter=jitter)
    if when == "waiting":
        transport.open_errors.append(TransportError("no route"))
    async with scene.manager:
        await scene.settle()
        transport.lose()
        await scene.settle()
        status = scene.manager.status()
        assert (status.state, status.last_error) == ("failed", "unknown: Panic('surprise')")
        assert [event.detail for event in scene.all(ConnectionFailed)] == ["Panic('surprise')"]
        assert len(scene.all(Disconnected)) == len(scene.all(Connected)) == (when == "up")
        for wait in (scene.manager.wait_connected, scene.manager.receive):
            with pytest.raises(TransportError, match="Panic"):
                await wait()
    assert scene.state == "closed"
    assert transport.closes == 1


@virtually
async def test_a_link_whose_task_is_cancelled_by_another_says_that_it_is_gone() -> None:
    """As asyncio.run does with all tasks when the program is interrupted."""
    transport = FakeTransport()
    scene = Scene(transport)
    async with scene.manager:
        await scene.manager.wait_connected()
        (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "connection.run")
        task.cancel()
        await scene.settle()
        assert scene.state == "failed"
        assert len(scene.all(Disconnected)) == 1
        with pytest.raises(TransportError, match="CancelledError"):
            await scene.manager.wait_connected()
    assert transport.closes == 1
    assert len(scene.all(Disconnected)) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@virtually
async def test_what_ends_the_program_ends_it_also_when_a_transport_raises_it(error: type[BaseException]) -> None:
    transport = FakeTransport()
    scene = Scene(transport)
    with pytest.raises(error):
        await scene.manager._calls._answer(_raise(error()), "ping")


@virtually
async def test_the_same_surprise_is_traced_once(caplog: pytest.LogCaptureFixture) -> None:
    transport = FakeTransport()
    raising(transport, "open", *(ZeroDivisionError("surprise") for _ in range(3)), Panic("surprise"))
    scene = Scene(transport)
    async with scene.manager:
        await scene.manager.wait_connected()
    told = [record for record in caplog.records if "surprise" in record.getMessage()]
    assert [record.exc_info is not None for record in told] == [True, False, False, True]


REFUSALS = [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.ENOEXEC]


@pytest.mark.parametrize("number", REFUSALS)
@virtually
async def test_a_directory_or_program_that_cannot_be_used_fails_and_says_which_and_why(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    messenger = FakeMessenger()
    messenger.copy_age_s = 45.0
    raising(messenger, "open", os_error(number))
    scene = Scene(messenger)
    async with scene.manager:
        await scene.until("failed")
        await asyncio.sleep(86_400)
        (failed,) = scene.all(ConnectionFailed)
        assert (failed.reason, failed.detail) == ("store_error", f"{os.strerror(number)}: '{DIRECTORY}'")
        assert "rights" in failed.advice
        assert "free space" in failed.advice
        assert not scene.all(ReconnectScheduled)
        # It is not the session's fault; a copy is older, and what was read since could not be read again.
        assert (messenger.opens, messenger.restores, scene.all(SessionRestored)) == (0, 0, [])
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("path", [DIRECTORY, None])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@virtually
async def test_a_full_disk_is_waited_for_ever_longer_with_advice_and_without_restoring(
    number: int, path: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    messenger = FakeMessenger()
    messenger.copy_age_s = 45.0
    raising(messenger, "open", *(os_error(number, path) for _ in range(7)))
    scene = Scene(messenger)
    async with scene.manager:
        await scene.until("waiting")
        await scene.settle()
        status = scene.manager.status()
        assert status.last_reason == "store_error"
        assert os.strerror(number) in status.last_error
        assert "free space" in status.advice
        await scene.manager.wait_connected()
        assert [event.delay_s for event in scene.all(ReconnectScheduled)] == [1, 2, 4, 8, 16, 32, 60]
        assert messenger.restores == 0
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT, errno.ECONNREFUSED])
@virtually
async def test_what_the_network_refuses_is_tried_again(number: int) -> None:
    transport = FakeTransport()
    raising(transport, "open", os_error(number, None))
    scene = Scene(transport)
    async with scene.manager:
        await scene.manager.wait_connected()
        assert [event.delay_s for event in scene.all(ReconnectScheduled)] == [1]


@virtually
async def test_a_session_that_a_full_disk_keeps_from_being_saved_names_the_file() -> None:
    messenger = FakeMessenger()
    raising(messenger, "save_session", os_error(errno.ENOSPC, SESSION))
    scene = Scene(messenger)
    async with scene.manager:
        await asyncio.sleep(65)
        assert [event.detail for event in scene.all(SessionSaveFailed)] == [f"No space left on device: '{SESSION}'"]
        assert scene.state == "connected"


@virtually
async def test_a_revoked_session_that_cannot_be_put_aside_is_told(caplog: pytest.LogCaptureFixture) -> None:
    messenger = FakeMessenger()
    raising(messenger, "quarantine_session", os_error(errno.EROFS, SESSION))
    messenger.open_errors.append(LoggedOutError("revoked"))
    scene = Scene(messenger)
    with caplog.at_level(logging.WARNING):
        async with scene.manager:
            await scene.until("failed")
            assert scene.manager.status().last_reason == "logged_out"
    assert f"could not be put aside: Read-only file system: '{SESSION}'" in caplog.text


@virtually
async def test_after_closing_the_reason_is_that_it_was_closed() -> None:
    scene = Scene(FakeTransport())
    async with scene.manager:
        await scene.manager.wait_connected()
    with pytest.raises(TransportError, match="was closed") as caught:
        await scene.manager.wait_connected()
    assert (caught.value.reason, caught.value.retryable) == (DisconnectReason.STOPPED, False)
    with pytest.raises(TransportError, match="not connected") as caught:
        await scene.manager.send(ANSWER)
    assert caught.value.reason == DisconnectReason.STOPPED


@virtually
async def test_a_link_that_failed_before_it_was_closed_keeps_its_reason() -> None:
    transport = FakeTransport()
    transport.open_errors.append(LoggedOutError("revoked"))
    scene = Scene(transport)
    async with scene.manager:
        await scene.until("failed")
    with pytest.raises(LoggedOutError, match="revoked"):
        await scene.manager.wait_connected()


@virtually
async def test_a_link_that_is_not_tried_again_has_no_next_attempt() -> None:
    transport = FakeTransport()
    transport.open_errors.append(TransportError("no route"))
    scene = Scene(transport)
    async with scene.manager:
        await scene.until("waiting")
        await scene.settle()
        assert scene.manager.status().next_attempt_in_s == 1
    assert scene.manager.status().next_attempt_in_s is None


async def _raise(error: BaseException) -> None:
    raise error
