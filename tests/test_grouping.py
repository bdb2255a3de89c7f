"""Which messages are one turn: fragments, a backlog after an outage, and what is too old."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from tecnobot_core.delivery import Delivery, MemoryConversations, MemoryDelivery, TurnContext, TurnPolicy
from tecnobot_core.events import EventBus
from tecnobot_core.messages import ChatId, ChatMessage, InboundMessage, MediaReference, OutboundMessage, Turn
from tecnobot_core.testing import FakeClock

NOW = 1_800_000_000.0  # some time in 2027
ANA, BEN = ChatId("ana"), ChatId("ben")


class Shop:
    """A Delivery whose turns are noted: id, text, and what was said before it."""

    def __init__(self, policy: TurnPolicy, *, store: MemoryDelivery | None = None, max_loaded: int = 1000) -> None:
        self.clock = FakeClock()
        self.turns: list[tuple[str, str, tuple[str, ...]]] = []
        self.sent: list[str] = []
        self.open_door = asyncio.Event()
        self.open_door.set()
        self.conversations = MemoryConversations()
        self.store = store or MemoryDelivery(self.conversations)
        self.delivery = Delivery(
            self.store,
            handle=self._handle,
            fail=_never,
            send=self._send,
            wait_ready=_ready,
            events=EventBus(),
            policy=policy,
            max_loaded=max_loaded,
            clock=self.clock,
            sleep=self.clock.sleep,
            wall_clock=lambda: NOW + self.clock.now,
        )

    async def says(self, *texts: str, chat: ChatId = ANA, age_s: float = 0.0, every_s: float = 0.0) -> None:
        """*chat* writes *texts* now, with *every_s* between them; they were sent *age_s* ago."""
        for text in texts:
            sent_at = NOW + self.clock.now - age_s
            await self.delivery.accept([InboundMessage(id=text, chat=chat, sent_at=sent_at, text=text)])
            await self.clock.advance(every_s)

    @property
    def asked(self) -> list[str]:
        return [text for _, text, _ in self.turns]

    async def _handle(self, context: TurnContext) -> Turn:
        await self.open_door.wait()
        message = context.message
        self.turns.append((context.idempotency_key, message.text, tuple(m.text for m in context.earlier)))
        return Turn(
            chat=message.chat,
            inbound=(message.id,),
            outcome="answered",
            answered_by="test",
            history=(ChatMessage("user", message.text),),
            outgoing=(OutboundMessage(chat=message.chat, key=f"{message.id}/0", text=message.text),),
        )

    async def _send(self, message: OutboundMessage) -> None:
        self.sent.append(message.key)


def _never(message: InboundMessage, error: Exception) -> Turn:
    raise error


async def _ready() -> None:
    """The link is always there."""


@asynccontextmanager
async def shop(policy: TurnPolicy, **options: object) -> AsyncIterator[Shop]:
    shop = Shop(policy, **options)  # type: ignore[arg-type]
    async with shop.delivery:
        yield shop


FRAGMENTS = TurnPolicy(quiet_s=2, max_wait_s=5)


async def test_fragments_become_one_turn_with_the_id_of_the_first() -> None:
    async with shop(FRAGMENTS) as found:
        await found.says("hola", "una pregunta", "¿abren hoy?", every_s=1)
        assert found.turns == []
        await found.clock.advance(1)
        assert found.turns == [("hola", "hola\nuna pregunta\n¿abren hoy?", ())]
        assert found.delivery.statistics().committed == 3
        assert list(await found.store.pending(0, 9)) == []


async def test_a_pause_ends_a_turn() -> None:
    async with shop(FRAGMENTS) as found:
        await found.says("uno", "dos", every_s=2)
        await found.clock.advance(2)
        assert found.asked == ["uno", "dos"]


async def test_who_never_pauses_is_answered_after_the_longest_wait() -> None:
    async with shop(FRAGMENTS) as found:
        await found.says(*"abcdefgh", every_s=1)
        assert found.asked == ["a\nb\nc\nd\ne"]
        await found.clock.advance(2)
        assert found.asked == ["a\nb\nc\nd\ne", "f\ng\nh"]


async def test_chats_wait_apart() -> None:
    async with shop(FRAGMENTS) as found:
        await found.says("uno", every_s=1)
        await found.says("eins", chat=BEN, every_s=1)
        assert found.asked == ["uno"]
        await found.clock.advance(1)
        assert found.asked == ["uno", "eins"]


async def test_what_is_not_typed_waits_for_nobody() -> None:
    async with shop(FRAGMENTS) as found:
        photo = MediaReference(kind="image", address="x")
        await found.says("mira")
        await found.delivery.accept([InboundMessage(id="p", chat=ANA, sent_at=NOW, kind="image", media=photo)])
        await found.clock.settle()
        assert [id for id, _, _ in found.turns] == ["mira", "p"]


async def test_stopping_waits_for_no_fragments() -> None:
    async with shop(FRAGMENTS) as found:
        await found.says("hola")
        assert await found.delivery.drain(5)
        assert found.asked == ["hola"]


async def test_without_a_policy_for_fragments_every_message_is_a_turn() -> None:
    async with shop(TurnPolicy()) as found:
        await found.says("uno", "dos", "tres")
        await found.says("antes", age_s=60)
        assert await found.delivery.drain(5)
        assert found.asked == ["uno", "dos", "tres", "antes"]


async def test_what_was_sent_long_before_the_last_is_no_fragment_of_it() -> None:
    async with shop(FRAGMENTS) as found:
        await found.says("uno")
        await found.says("antes", age_s=60)
        await found.says("después", age_s=59)
        await found.clock.advance(2)
        assert found.asked == ["uno", "antes\ndespués"]


async def waiting_shop(found: Shop, *messages: tuple[str, float], chat: ChatId = ANA) -> None:
    """*messages*, (text, age), come while the chat's handler is busy with another one."""
    found.open_door.clear()
    await found.says("first", chat=chat)
    await found.clock.advance(2)
    for text, age_s in messages:
        await found.says(text, chat=chat, age_s=age_s)
    found.open_door.set()
    assert await found.delivery.drain(5)


async def test_an_old_backlog_is_answered_once_with_the_older_ones_before_it() -> None:
    async with shop(TurnPolicy()) as found:
        await waiting_shop(found, ("¿abren?", 901), ("¿hola?", 500), ("¿a qué hora?", 1))
        assert found.turns[1:] == [("¿a qué hora?", "¿a qué hora?", ("¿abren?", "¿hola?"))]
        assert found.sent == ["first/0", "¿a qué hora?/0"]
        statistics = found.delivery.statistics()
        assert (statistics.accepted, statistics.committed, statistics.collapsed) == (4, 4, 2)


async def test_a_backlog_that_is_not_old_is_answered_message_by_message() -> None:
    async with shop(TurnPolicy()) as found:
        await waiting_shop(found, ("uno", 899), ("dos", 1))
        assert found.asked == ["first", "uno", "dos"]


async def test_collapsing_can_be_turned_off() -> None:
    async with shop(TurnPolicy(collapse_after_s=0)) as found:
        await waiting_shop(found, ("uno", 99_999), ("dos", 1))
        assert found.asked == ["first", "uno", "dos"]


async def test_of_a_backlog_the_newest_with_words_is_answered() -> None:
    async with shop(TurnPolicy()) as found:
        found.open_door.clear()
        await found.says("first")
        await found.clock.settle()
        await found.says("¿cuánto cuesta?", "¿hola?", age_s=1000)
        await found.delivery.accept([InboundMessage(id="s", chat=ANA, sent_at=NOW, kind="sticker")])
        found.open_door.set()
        assert await found.delivery.drain(5)
        assert found.turns[1:] == [("s", "¿hola?", ("¿cuánto cuesta?", ""))]


async def test_what_the_owner_answered_in_person_is_not_answered_again() -> None:
    async with shop(TurnPolicy()) as found:
        found.open_door.clear()
        await found.says("first")
        await found.clock.settle()
        await found.says("¿abren?", age_s=1000)
        await found.delivery.accept(
            [InboundMessage(id="o", chat=ANA, sent_at=NOW, text="sí, hasta las 8", from_me=True)]
        )
        found.open_door.set()
        assert await found.delivery.drain(5)
        assert found.turns[1:] == [("o", "sí, hasta las 8", ("¿abren?",))]


async def test_fragments_at_the_end_of_a_backlog_are_one_message() -> None:
    async with shop(TurnPolicy(quiet_s=2)) as found:
        await waiting_shop(found, ("¿abren?", 1000), ("oye", 10), ("¿abren?!", 9))
        assert found.turns[1:] == [("¿abren?!", "oye\n¿abren?!", ("¿abren?",))]


async def test_what_is_too_old_ends_in_silence_and_is_counted_apart() -> None:
    async with shop(TurnPolicy(collapse_after_s=0, expire_after_s=3600)) as found:
        await found.says("ayer", age_s=3601)
        await found.says("hace poco", age_s=3599)
        assert await found.delivery.drain(5)
        assert found.asked == ["hace poco"]
        statistics = found.delivery.statistics()
        assert (statistics.committed, statistics.expired_turns, statistics.sent) == (2, 1, 1)


async def test_a_clock_that_jumps_by_an_hour_loses_and_doubles_nothing() -> None:
    async with shop(TurnPolicy(quiet_s=2)) as found:
        await found.says("uno")
        await found.clock.advance(3600)
        await found.says("dos", age_s=-7200)  # the sender's clock is ahead
        await found.says("tres", age_s=7200)
        await found.clock.advance(3600)
        said = [line for _, text, earlier in found.turns for line in (*earlier, *text.split("\n"))]
        assert said == ["uno", "dos", "tres"]
        assert found.delivery.statistics().committed == 3


async def test_a_clock_that_is_set_right_in_the_middle_makes_no_message_of_a_backlog() -> None:
    async with shop(TurnPolicy()) as found:
        looks = iter([3600.0])  # an hour ahead when the backlog is taken, right when it is split
        found.open_door.clear()
        await found.says("first")
        await found.clock.settle()
        await found.says("uno", "dos", "tres")
        found.delivery._grouping._wall_clock = lambda: NOW + next(looks, 0.0)
        found.open_door.set()
        assert await found.delivery.drain(5)
        assert found.turns[1:] == [("tres", "tres", ("uno", "dos"))]


# Signals: turns of their own, in their place


async def signal(found: Shop, text: str = "due", *, age_s: float = 0.0) -> None:
    sent_at = NOW + found.clock.now - age_s
    await found.delivery.accept([InboundMessage(id=text, chat=ANA, sent_at=sent_at, text=text, kind="signal")])


async def test_a_signal_is_no_fragment_and_waits_for_none() -> None:
    async with shop(FRAGMENTS) as found:
        await found.says("hola")
        await signal(found)
        await found.says("una pregunta", "¿abren hoy?")
        await found.clock.settle()
        assert found.asked == ["hola", "due"]
        await found.clock.advance(2)
        assert found.asked == ["hola", "due", "una pregunta\n¿abren hoy?"]


async def test_a_signal_is_not_a_part_of_a_backlog_and_keeps_its_place_in_it() -> None:
    async with shop(TurnPolicy()) as found:
        found.open_door.clear()
        await found.says("first")
        await found.says("uno", "dos", age_s=3600)
        await signal(found, age_s=3600)
        await signal(found, "release", age_s=3600)
        await found.says("tres", "cuatro", age_s=3600)
        found.open_door.set()
        assert await found.delivery.drain(5)
        assert found.turns[1:] == [
            ("dos", "dos", ("uno",)),
            ("due", "due", ()),
            ("release", "release", ()),
            ("cuatro", "cuatro", ("tres",)),
        ]


async def test_a_signal_is_never_too_late() -> None:
    two_days_s = 2 * 86_400.0
    async with shop(TurnPolicy(expire_after_s=3600)) as found:
        await found.says("hola", age_s=two_days_s)
        await signal(found, age_s=two_days_s)
        assert await found.delivery.drain(5)
        assert found.asked == ["due"]


async def test_what_a_signal_is_a_turn_of_needs_no_record() -> None:
    class Counting(MemoryDelivery):
        recorded = 0

        async def record_groups(self, groups: Mapping[str, Sequence[str]]) -> None:
            self.recorded += 1
            await super().record_groups(groups)

    store = Counting(MemoryConversations())
    async with shop(FRAGMENTS, store=store) as found:
        await signal(found)
        await found.says("hola")
        assert await found.delivery.drain(5)
        assert (found.asked, store.recorded) == (["due", "hola"], 1)


async def recorded(store: MemoryDelivery, group: Sequence[str], *others: str) -> None:
    texts = [*group, *others]
    await store.accept([InboundMessage(id=text, chat=ANA, sent_at=NOW, text=text) for text in texts])
    await store.record_groups({group[0]: group})


async def test_a_recorded_group_is_neither_split_nor_joined_by_a_later_process() -> None:
    store = MemoryDelivery(MemoryConversations())
    await recorded(store, ["a", "b"], "c")
    async with shop(TurnPolicy(quiet_s=2), store=store) as found:
        assert await found.delivery.drain(5)
        assert found.turns == [("a", "a\nb", ()), ("c", "c", ())]


@pytest.mark.parametrize("max_loaded", [1, 2, 3, 4])
async def test_a_recorded_group_is_whole_however_little_is_loaded(max_loaded: int) -> None:
    store = MemoryDelivery(MemoryConversations())
    await store.accept([InboundMessage(id=f"b{n}", chat=BEN, sent_at=NOW, text=f"b{n}") for n in range(5)])
    await recorded(store, ["a"], "b", "c")
    async with shop(TurnPolicy(), store=store, max_loaded=max_loaded) as found:
        assert await found.delivery.drain(5)
        assert sorted(found.asked) == sorted([*(f"b{n}" for n in range(5)), "a", "b", "c"])


async def test_what_is_said_now_is_said_before_the_turn_and_once() -> None:
    async with shop(TurnPolicy()) as found:
        tries: list[bool] = []

        async def handle(context: TurnContext) -> Turn:
            tries.append(await context.send_now("un momento…", key="wait"))
            tries.append(await context.send_now("un momento…", key="wait"))
            await found.clock.settle()
            assert found.sent == ["hola!wait"]
            return await Shop._handle(found, context)

        found.delivery._maker._handle = handle
        await found.says("hola")
        assert await found.delivery.drain(5)
        assert tries == [True, False]
        assert found.sent == ["hola!wait", "hola/0"]


@pytest.mark.parametrize(
    "wrong", [{"quiet_s": -1}, {"collapse_after_s": float("nan")}, {"quiet_s": 11}, {"expire_after_s": float("inf")}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TurnPolicy(**wrong)
