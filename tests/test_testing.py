"""The fakes and the report that users test their bots with are honest themselves."""

from tecnobot_core.events import DuplicateIgnored, EventBus, MessageAccepted, MessageSent, TurnCommitted
from tecnobot_core.messages import ChatId, OutboundMessage, Turn
from tecnobot_core.tasks import Tasks
from tecnobot_core.testing import FakeClock, ReplayReport

ANA, BETO = ChatId("ana"), ChatId("beto")


class Replay:
    """A report, and the events of a bot that the test makes up."""

    def __init__(self) -> None:
        self.events = EventBus()
        self.turns: list[Turn] = []
        self.report = ReplayReport(self.events, on_turn=self.turns.append)

    def accept(self, chat: ChatId, *ids: str) -> None:
        for id in ids:
            self.events.publish(MessageAccepted(chat, id))

    def commit(self, chat: ChatId, *ids: str, by: str = "flow", took_s: float = 0.001) -> None:
        answer = OutboundMessage(chat=chat, key=f"{ids[0]}/0", text="answer")
        turn = Turn(chat=chat, inbound=ids, outcome="answered", answered_by=by, outgoing=(answer,))
        self.events.publish(TurnCommitted(turn, took_s))

    def send(self, chat: ChatId, id: str) -> None:
        self.events.publish(MessageSent(chat, f"{id}/0"))


def test_a_report_sees_what_is_lost_and_what_was_not_sent() -> None:
    replay = Replay()
    replay.accept(ANA, "a1", "a2")
    replay.accept(BETO, "b1")
    replay.events.publish(DuplicateIgnored(ANA, "a1"))
    replay.commit(ANA, "a1")
    replay.commit(BETO, "b1", by="knowledge")
    replay.send(ANA, "a1")
    found = replay.report.summary()
    assert (found.messages, found.chats, found.duplicates, found.lost) == (3, 2, 1, 1)
    assert (found.by, found.sent, found.unsent) == ({"flow": 1, "knowledge": 1}, 1, 1)
    assert len(replay.turns) == 2


def test_a_report_sees_what_was_answered_out_of_order() -> None:
    replay = Replay()
    replay.accept(ANA, "a1", "a2", "a3", "a4")
    replay.accept(BETO, "b1")
    for ids in (("a2",), ("a1",), ("a3", "a4")):
        replay.commit(ANA, *ids)
    replay.commit(BETO, "b1")
    assert (replay.report.summary().out_of_order, replay.report.summary().lost) == (1, 0)


def test_a_report_leaves_out_what_was_accepted_before_it_began() -> None:
    replay = Replay()
    replay.commit(ANA, "from an earlier process")
    assert (replay.report.summary().chats, replay.report.summary().out_of_order, replay.turns) == (0, 0, [])


def test_a_report_knows_the_usual_and_the_slow() -> None:
    replay = Replay()
    for number in range(100):
        replay.accept(ANA, str(number))
        replay.commit(ANA, str(number), took_s=1.0 if number == 7 else 0.002)
    found = replay.report.summary()
    assert (round(found.p50_ms), round(found.p99_ms)) == (2, 1000)


async def test_a_clock_wakes_sleepers_in_the_order_of_their_times() -> None:
    clock, woken = FakeClock(100.0), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock()))
        if seconds == 1:
            await clock.sleep(1)
            woken.append((2, clock()))

    async with Tasks("test") as tasks:
        for seconds in (3, 1, 9):
            tasks.start(sleeper(seconds), "sleeper")
        await clock.advance(5)
        assert woken == [(1, 101.0), (2, 102.0), (3, 103.0)]
        assert clock() == 105.0
