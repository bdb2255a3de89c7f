"""What only some transports can do: presence, a session that is saved, pairing, asking before dialing."""

import asyncio
from pathlib import Path

import pytest

from tecnobot_core.connection import (
    DisconnectReason,
    FetchesMedia,
    KnowsOutcomes,
    Pairs,
    Reachable,
    SavesSession,
    SendsReceipts,
    ShowsPresence,
    ShowsTyping,
)
from tecnobot_core.errors import LoggedOutError, TransportError
from tecnobot_core.events import (
    Connected,
    Connecting,
    ConnectionFailed,
    Disconnected,
    MessageMissed,
    PairingEnded,
    PairingOffered,
    ReconnectScheduled,
    SessionRestored,
    SessionSaved,
    SessionSaveFailed,
)
from tecnobot_core.messages import ChatId, MediaReference
from tecnobot_core.testing import FakeMessenger, FakeTransport
from tests.connection_scene import ANSWER, Scene, inbound
from tests.virtual_time import virtually


def test_a_transport_is_only_asked_for_what_it_can_do() -> None:
    for companion in (FetchesMedia, KnowsOutcomes, Pairs, Reachable, SavesSession, SendsReceipts, ShowsPresence):
        assert isinstance(FakeMessenger(), companion)
        assert not isinstance(FakeTransport(), companion)
    assert isinstance(FakeTransport(), ShowsTyping)


@virtually
async def test_presence_is_shown_at_once_and_with_every_heartbeat_and_taken_back_at_the_end() -> None:
    messenger = FakeMessenger()
    scene = Scene(messenger)
    async with scene.manager:
        await asyncio.sleep(95)
        assert messenger.presence == [True] * 4
        assert messenger.pings == 3
    assert messenger.presence == [True] * 4 + [False]


@virtually
async def test_what_became_of_a_message_is_told_by_a_transport_that_knows() -> None:
    messenger = FakeMessenger()
    messenger.outcomes["cut"] = "maybe"
    scene = Scene(messenger)
    assert await scene.manager.outcome("k") is None
    async with scene.manager:
        await scene.manager.wait_connected()
        await scene.manager.send(ANSWER)
        assert [await scene.manager.outcome(key) for key in ("k", "cut", "never")] == ["sent", "maybe", None]
        messenger.lose()
        await scene.settle()
        assert await scene.manager.outcome("k") is None
        assert messenger.asked == ["k", "cut", "never"]


@virtually
async def test_a_transport_that_does_not_know_is_not_asked() -> None:
    scene = Scene(FakeTransport())
    async with scene.manager:
        await scene.manager.wait_connected()
        await scene.manager.send(ANSWER)
        assert await scene.manager.outcome("k") is None


@pytest.mark.parametrize("hangs", [True, False])
@virtually
async def test_a_question_that_fails_or_hangs_says_so_in_its_time(hangs: bool) -> None:
    messenger = FakeMessenger()
    messenger.outcome_errors.append(TransportError("the process died"))
    if hangs:
        messenger.hanging.add("outcome")
    scene = Scene(messenger, ping_timeout_s=5)
    async with scene.manager:
        await scene.manager.wait_connected()
        with pytest.raises(TransportError, match="no answer within 5 s" if hangs else "the process died"):
            await scene.manager.outcome("k")
        assert scene.loop.time() == (5 if hangs else 0)


@virtually
async def test_presence_can_be_left_out() -> None:
    messenger = FakeMessenger()
    scene = Scene(messenger, show_presence=False)
    async with scene.manager:
        await asyncio.sleep(95)
    assert (messenger.presence, messenger.pings) == ([], 3)


@virtually
async def test_a_presence_that_cannot_be_shown_stops_no_heartbeat() -> None:
    """As right after pairing, when the account's name is not known yet."""
    messenger = FakeMessenger()
    messenger.presence_errors.append(TransportError("no push name"))
    scene = Scene(messenger)
    async with scene.manager:
        await asyncio.sleep(35)
        messenger.hanging.add("set_presence")
        await asyncio.sleep(60)
        assert messenger.pings == 3
        assert not scene.all(Disconnected)


@virtually
async def test_a_presence_that_hangs_does_not_delay_finding_a_dead_link() -> None:
    messenger = FakeMessenger()
    scene = Scene(messenger)
    async with scene.manager:
        messenger.hanging |= {"ping", "set_presence"}
        await asyncio.sleep(41)
        assert scene.times(Disconnected) == [40]


@virtually
async def test_the_session_is_saved_every_minute_while_connected_and_at_the_end() -> None:
    messenger = FakeMessenger()
    scene = Scene(messenger)
    async with scene.manager:
        await asyncio.sleep(125)
        assert messenger.saves == 2
        assert scene.all(SessionSaved) == [SessionSaved(len(messenger.session), 0)]  # the second found nothing new
        assert scene.manager.status().session_saved_age_s == 5
        messenger.session = b"a step on"
    assert (messenger.saves, messenger._saved) == (3, b"a step on")
    assert scene.times(SessionSaved) == [60, 125]


@virtually
async def test_nothing_is_saved_while_the_link_is_down_but_as_soon_as_it_is_up() -> None:
    messenger = FakeMessenger()
    messenger.open_errors.extend([TransportError("no route")] * 6)  # 63 s
    scene = Scene(messenger)
    async with scene.manager:
        await asyncio.sleep(62)
        assert messenger.saves == 0
        await scene.manager.wait_connected()
        await scene.settle()
        assert messenger.saves == 1


@virtually
async def test_a_session_that_cannot_be_saved_is_told_and_tried_again() -> None:
    messenger = FakeMessenger()
    messenger.save_errors.append(TransportError("the copy is not sound"))
    scene = Scene(messenger)
    async with scene.manager:
        await asyncio.sleep(65)
        assert scene.all(SessionSaveFailed) == [SessionSaveFailed("the copy is not sound")]
        assert scene.manager.status().session_saves_failed == 1
        messenger.hanging.add("save_session")
        await asyncio.sleep(95)  # gives it 30 s, a minute later
        assert len(scene.all(SessionSaveFailed)) == 2
        assert messenger.pings == 5
        messenger.hanging.clear()
        await asyncio.sleep(60)
        assert len(scene.all(SessionSaved)) == 1


@virtually
async def test_a_damaged_session_is_restored_once_and_connected_at_once() -> None:
    messenger = FakeMessenger()
    messenger.copy_age_s = 45.0
    messenger.open_errors.append(TransportError("the file is not a database", reason="store_error", retryable=False))
    scene = Scene(messenger)
    async with scene.manager:
        await scene.manager.wait_connected()
        assert scene.loop.time() == 0
        assert scene.all(SessionRestored) == [SessionRestored(45.0)]
        assert messenger.closes == 1
        messenger.lose(DisconnectReason.STORE_ERROR)
        await scene.until("failed")
        assert messenger.restores == 1
        assert [event.reason for event in scene.all(ConnectionFailed)] == ["store_error"]


@virtually
async def test_without_a_good_copy_a_damaged_session_fails_and_says_so() -> None:
    messenger = FakeMessenger()
    messenger.open_errors.append(TransportError("the file is not a database", reason="store_error"))
    scene = Scene(messenger)
    async with scene.manager:
        await scene.until("failed")
        (failed,) = scene.all(ConnectionFailed)
        assert failed.detail == "the file is not a database; not restored: there is no good copy"
        assert (messenger.opens, messenger.restores) == (1, 1)


@virtually
async def test_a_session_is_not_restored_while_its_link_may_still_use_it() -> None:
    messenger = FakeMessenger()
    messenger.copy_age_s = 45.0
    messenger.hanging.add("close")
    messenger.open_errors.append(TransportError("damaged", reason="store_error"))
    scene = Scene(messenger)
    async with scene.manager:
        await scene.until("failed")
        assert messenger.restores == 0


@pytest.mark.parametrize("reason", [DisconnectReason.LOGGED_OUT, DisconnectReason.REPLACED])
@virtually
async def test_only_a_revoked_session_is_put_aside(reason: DisconnectReason) -> None:
    messenger = FakeMessenger()
    scene = Scene(messenger)
    async with scene.manager:
        await scene.manager.wait_connected()
        messenger.lose(reason)
        await scene.until("failed")
        assert messenger.quarantined == (reason == DisconnectReason.LOGGED_OUT)
        if messenger.quarantined:
            with pytest.raises(LoggedOutError, match="pair it again"):
                await scene.manager.wait_connected()


@virtually
async def test_pairing_takes_the_time_of_a_person_and_then_connects() -> None:
    messenger = FakeMessenger()
    messenger.admits = False
    scene = Scene(messenger)
    offers: list[PairingOffered] = []
    scene.manager.on("pairing", offers.append)
    async with scene.manager:
        await scene.settle()
        messenger.tell(PairingOffered("qr", "first", 60.0))
        await asyncio.sleep(100)  # longer than signing in may take
        assert scene.state == "pairing"
        await messenger.pair_by_code("5511988887777")
        assert offers == [PairingOffered("qr", "first", 60.0), PairingOffered("code", "CODE-7777", 160.0)]
        assert "CODE" not in repr(offers)  # whoever has it can join the account
        messenger.tell(PairingEnded(paired=True))
        await scene.settle()
        assert scene.state == "connecting"
        messenger.lose(DisconnectReason.RESTART_REQUIRED)
        messenger.admits = True
        await scene.settle()
        assert (messenger.opens, scene.state, scene.loop.time()) == (2, "connected", 100)


@pytest.mark.parametrize("told", [True, False])
@virtually
async def test_who_does_not_pair_in_time_is_not_asked_for_ever(told: bool) -> None:
    messenger = FakeMessenger()
    messenger.admits = False
    scene = Scene(messenger)
    async with scene.manager:
        await scene.settle()
        messenger.tell(PairingOffered("qr", "first", 60.0))
        await asyncio.sleep(160)
        if told:
            messenger.tell(PairingEnded(paired=False, detail="nobody scanned it"))
        await scene.until("failed")
        assert scene.loop.time() == pytest.approx(160 if told else 180, abs=0.1)
        (failed,) = scene.all(ConnectionFailed)
        assert failed.reason == "pairing_timeout"
        assert "phone at hand" in failed.advice
        assert messenger.opens == 1


@virtually
async def test_a_server_that_forgets_us_after_pairing_is_tried_again() -> None:
    messenger = FakeMessenger()
    messenger.admits = False
    scene = Scene(messenger)
    async with scene.manager:
        await scene.settle()
        messenger.tell(PairingOffered("qr", "first", 60.0))
        messenger.tell(PairingEnded(paired=True))
        await scene.until("waiting")
        assert scene.loop.time() == pytest.approx(90, abs=0.1)
        assert "after pairing" in scene.manager.status().last_error


@virtually
async def test_an_attempt_that_makes_no_sense_is_not_made() -> None:
    messenger = FakeMessenger()
    messenger.is_reachable = False
    scene = Scene(messenger)
    async with scene.manager:
        await asyncio.sleep(10)
        assert (messenger.opens, scene.state) == (0, "waiting")
        assert [event.delay_s for event in scene.all(ReconnectScheduled)] == [1, 2, 4, 8]
        assert not scene.all(Connecting)
        messenger.is_reachable = True
        await scene.manager.wait_connected()
        assert messenger.opens == 1
        assert len(scene.all(Connected)) == 1


@virtually
async def test_what_the_transport_has_lost_or_restored_itself_is_told() -> None:
    messenger = FakeMessenger()
    scene = Scene(messenger)
    missed, restored = MessageMissed(ChatId("a"), "m7"), SessionRestored(45.0)
    async with scene.manager:
        await scene.settle()
        messenger.tell(restored)
        messenger.tell(missed)
        assert (scene.all(SessionRestored), scene.all(MessageMissed)) == ([restored], [missed])
        assert scene.manager.status().messages_missed == 1


async def test_the_fake_fetches_what_is_there_and_small_enough(tmp_path: Path) -> None:
    messenger = FakeMessenger()
    messenger.media["photo"] = b"1234"
    photo = MediaReference(kind="image", address="photo")
    assert await messenger.fetch_media(photo, tmp_path / "photo", max_bytes=4) == 4
    assert (tmp_path / "photo").read_bytes() == b"1234"
    for media, limit in ((photo, 3), (MediaReference(kind="image", address="gone"), 9)):
        with pytest.raises(TransportError) as caught:
            await messenger.fetch_media(media, tmp_path / "no", max_bytes=limit)
        assert not caught.value.retryable
    await messenger.mark_read([inbound(1)])
    await messenger.log_out()
    assert (messenger.read, messenger.logged_out) == (["m1"], True)
