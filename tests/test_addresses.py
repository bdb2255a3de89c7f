"""One person has one address, whichever way it is written, and is answered where the transport knows the person."""

from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core.delivery.addresses import AddressBook, MemoryAliases, Sighting, canonical
from tecnobot_core.delivery.addresses.book import RENEW_S
from tecnobot_core.errors import StoreError
from tecnobot_core.messages import ChatId, InboundMessage

LID, PHONE = ChatId("105511988887777@lid"), ChatId("+34600000001")
FROM_PHONE = ChatId("34600000001@s.whatsapp.net")
NEW_MEXICO, OLD_MEXICO = ChatId("525512345678@s.whatsapp.net"), ChatId("5215512345678@s.whatsapp.net")
MEXICO = ChatId("+525512345678")

SAME = [
    ("+525512345678", "525512345678", "5215512345678", "+5215512345678", "5215512345678:12@s.whatsapp.net"),
    ("+5491123456789", "541123456789", "+541123456789", "5491123456789@c.us", "541123456789@s.whatsapp.net"),
    ("+5492966123456", "542966123456", "5492966123456:3@s.whatsapp.net"),
    ("+5511987654321", "551187654321", "551187654321@s.whatsapp.net", "+5511987654321"),
    ("+5531961234567", "553161234567@c.us"),
    ("+34600000001", "34600000001", "34600000001@s.whatsapp.net", "34600000001:7@s.whatsapp.net"),
    ("105511988887777@lid", "105511988887777:3@lid"),
]


@pytest.mark.parametrize("addresses", SAME, ids=lambda addresses: addresses[0])
def test_one_person_has_one_address(addresses: tuple[str, ...]) -> None:
    assert {canonical(ChatId(address)) for address in addresses} == {addresses[0]}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("551132345678", "5511932345678"),  # Brazil: a fixed line; a mobile number whose 9 is not the added one
        ("551162345678", "5511862345678"),  # Brazil: neither has the 9
        ("5215512345678", "5215512345679"),
        ("521512345678", "52512345678"),  # too short for Mexico
        ("5211512345678", "521512345678"),  # no Mexican number begins with 1
        ("5411234567890", "54911234567890"),  # too long for Argentina
        ("548001234567", "5498001234567"),  # Argentina: free of charge, not a mobile number
        ("541115234567", "5411234567"),  # Argentina: a 15 is not looked for
        ("+1521234567890", "+152234567890"),
        ("105511988887777@lid", "105511988887777"),
        ("105511988887777@lid", "105511988887777@s.whatsapp.net"),
    ],
)
def test_two_people_stay_two(one: str, other: str) -> None:
    assert canonical(ChatId(one)) != canonical(ChatId(other))


@pytest.mark.parametrize(
    "address",
    [
        "",
        "console",
        "web:5215512345678",
        "replay:Ana",
        "5215512345678-1400000000@g.us",
        "120363025246125486@g.us",
        "status@broadcast",
        "5215512345678@broadcast",
        "120363025246125486@newsletter",
        "05215512345678",
        "5215512345678:12",
        "1234567",
        "1234567890123456",
        "٥٢١٥٥١٢٣٤٥٦٧٨",
        "5215512345678 ",
        "5215512345678\n",
        "@lid",
        "ana:3@lid",
    ],
)
def test_what_is_no_phone_is_left_as_it_is(address: str) -> None:
    assert canonical(ChatId(address)) == address


def like(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(pattern, fullmatch=True)


# Ways to write each country's numbers; those of one row are one person's.
COUNTRIES: Mapping[str, tuple[st.SearchStrategy[str], Sequence[Callable[[str], str]]]] = {
    "mexico": (like("[2-9][0-9]{9}"), [lambda n: "52" + n, lambda n: "521" + n]),
    "argentina": (like("(11|[23][0-9])[0-9]{8}"), [lambda n: "549" + n, lambda n: "54" + n]),
    "brazil, mobile": (
        like("[1-9]{2}[6-9][0-9]{7}"),
        [lambda n: f"55{n[:2]}9{n[2:]}", lambda n: "55" + n],
    ),
    "brazil, newer mobile": (
        like("[1-9]{2}9[1-5][0-9]{7}"),
        [lambda n: "55" + n],
    ),
    "brazil, fixed": (like("[1-9]{2}[2-5][0-9]{7}"), [lambda n: "55" + n]),
    "elsewhere": (
        like("[1-9][0-9]{7,14}").filter(lambda n: n[:2] not in ("52", "54", "55")),
        [lambda n: n],
    ),
}
DRESSES: Sequence[Callable[[str], str]] = [
    lambda n: n,
    lambda n: "+" + n,
    lambda n: n + "@s.whatsapp.net",
    lambda n: n + ":12@s.whatsapp.net",
    lambda n: n + "@c.us",
]


@st.composite
def people(draw: st.DrawFn) -> tuple[tuple[str, str], list[ChatId]]:
    """Somebody, and all ways to write the person's number."""
    country = draw(st.sampled_from(sorted(COUNTRIES)))
    numbers, forms = COUNTRIES[country]
    number = draw(numbers)
    return (country, number), [ChatId(dress(form(number))) for form in forms for dress in DRESSES]


@given(people())
def test_every_way_to_write_a_number_is_one_address(person: tuple[tuple[str, str], list[ChatId]]) -> None:
    _, addresses = person
    found = {canonical(address) for address in addresses}
    assert len(found) == 1
    assert found <= set(addresses)


@given(people(), people())
def test_two_numbers_are_never_one_address(
    one: tuple[tuple[str, str], list[ChatId]], other: tuple[tuple[str, str], list[ChatId]]
) -> None:
    if one[0] != other[0]:
        assert canonical(one[1][0]) != canonical(other[1][0])


@given(st.text() | people().map(lambda person: person[1][-1].reveal()))
def test_an_address_that_is_canonical_stays(text: str) -> None:
    once = canonical(ChatId(text))
    assert canonical(once) == once
    assert type(once) is ChatId


class CountingAliases(MemoryAliases):
    """Keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.learned: list[list[Sighting]] = []
        self.asked: list[ChatId] = []

    async def learn(self, sightings: Sequence[Sighting]) -> Mapping[ChatId, ChatId]:
        self.learned.append(list(sightings))
        return await super().learn(sightings)

    async def last_used(self, chat: ChatId) -> ChatId | None:
        self.asked.append(chat)
        return await super().last_used(chat)


class BrokenAliases(MemoryAliases):
    async def learn(self, sightings: Sequence[Sighting]) -> Mapping[ChatId, ChatId]:
        raise StoreError("away", retryable=True)

    async def last_used(self, chat: ChatId) -> ChatId | None:
        raise StoreError("away", retryable=True)


def inbound(chat: ChatId, *aliases: ChatId, at: float = 0.0) -> InboundMessage:
    return InboundMessage(id="m", chat=chat, sent_at=at, aliases=aliases)


def idle(chat: ChatId) -> bool:
    return False


def busy(*chats: ChatId) -> Callable[[ChatId], bool]:
    return lambda chat: chat in chats


async def chats(book: AddressBook, *messages: InboundMessage, is_busy: Callable[[ChatId], bool] = idle) -> list[ChatId]:
    return [message.chat for message in await book.resolve(messages, is_busy)]


@pytest.fixture
def store() -> CountingAliases:
    return CountingAliases()


@pytest.fixture
def book(store: CountingAliases) -> AddressBook:
    return AddressBook(store)


@pytest.mark.parametrize(
    "address", ["web:ana", "1-2@g.us", "status@broadcast", "+34600000001", "34600000001:2@s.whatsapp.net"]
)
async def test_who_has_one_address_costs_no_call_of_the_store(
    book: AddressBook, store: CountingAliases, address: str
) -> None:
    message = inbound(ChatId(address))
    for _ in range(3):
        assert await chats(book, message) == [canonical(message.chat)]
        assert await book.dial(canonical(message.chat)) == address.replace(":2@", "@")
    assert (store.learned, store.asked) == ([], [])


async def test_a_resolved_message_is_what_it_was_otherwise(book: AddressBook) -> None:
    message = InboundMessage(id="m", chat=LID, sent_at=7.0, text="hola", sender_name="Ana", aliases=(FROM_PHONE,))
    expected = InboundMessage(id="m", chat=PHONE, sent_at=7.0, text="hola", sender_name="Ana")
    assert await book.resolve([message], idle) == [expected]


async def test_a_phone_is_answered_in_the_form_in_which_it_wrote_last(book: AddressBook) -> None:
    assert await chats(book, inbound(OLD_MEXICO)) == [MEXICO]
    assert await book.dial(MEXICO) == OLD_MEXICO
    assert await chats(book, inbound(NEW_MEXICO)) == [MEXICO]
    assert await book.dial(MEXICO) == NEW_MEXICO


async def test_the_form_in_which_a_phone_wrote_outlives_the_process(store: CountingAliases) -> None:
    await chats(AddressBook(store), inbound(OLD_MEXICO))
    later = AddressBook(store)
    assert [await later.dial(MEXICO) for _ in range(3)] == [OLD_MEXICO] * 3
    assert store.asked == [MEXICO]


async def test_who_never_wrote_is_dialled_under_the_own_address(book: AddressBook, store: CountingAliases) -> None:
    assert [await book.dial(MEXICO) for _ in range(3)] == [MEXICO] * 3
    assert store.asked == [MEXICO]
    assert await book.dial(ChatId("web:ana")) == "web:ana"
    assert store.asked == [MEXICO]


async def test_who_alternates_between_two_forms_is_written_down_once_an_hour(
    book: AddressBook, store: CountingAliases
) -> None:
    for minute in range(180):
        await chats(book, inbound((OLD_MEXICO, NEW_MEXICO)[minute % 2], at=minute * 60))
    assert len(store.learned) == 180 * 60 / RENEW_S
    assert await book.dial(MEXICO) == NEW_MEXICO


async def test_who_changed_the_form_is_soon_written_down_with_the_new_one(
    book: AddressBook, store: CountingAliases
) -> None:
    await chats(book, inbound(OLD_MEXICO))
    for minute in range(90):
        await chats(book, inbound(NEW_MEXICO, at=minute * 60))
    assert len(store.learned) == 2
    assert await AddressBook(store).dial(MEXICO) == NEW_MEXICO


async def test_a_lid_whose_phone_is_told_is_the_phone(book: AddressBook) -> None:
    assert await chats(book, inbound(LID, FROM_PHONE), inbound(LID)) == [PHONE, PHONE]
    assert await book.dial(PHONE) == LID


async def test_a_phone_whose_lid_is_told_is_the_phone(book: AddressBook) -> None:
    assert await chats(book, inbound(FROM_PHONE, LID)) == [PHONE]
    assert await book.dial(PHONE) == FROM_PHONE
    assert await chats(book, inbound(LID)) == [PHONE]
    assert await book.dial(PHONE) == LID


async def test_a_phone_that_named_its_lid_is_dialled_where_it_wrote_from_after_a_restart(
    store: CountingAliases,
) -> None:
    await chats(AddressBook(store), inbound(OLD_MEXICO, LID))
    assert await AddressBook(store).dial(MEXICO) == OLD_MEXICO


async def test_of_one_batch_the_last_form_is_written_down(store: CountingAliases) -> None:
    await chats(AddressBook(store), inbound(LID, OLD_MEXICO), inbound(OLD_MEXICO), inbound(LID))
    assert await AddressBook(store).dial(MEXICO) == LID


async def test_devices_of_a_lid_are_one_person(book: AddressBook) -> None:
    messages = inbound(ChatId("105511988887777:3@lid"), ChatId("34600000001:3@s.whatsapp.net")), inbound(LID)
    assert await chats(book, *messages) == [PHONE, PHONE]
    assert await book.dial(PHONE) == LID


async def test_a_lid_whose_phone_nobody_told_is_itself_and_is_asked_for_once(
    book: AddressBook, store: CountingAliases
) -> None:
    for _ in range(3):
        assert await chats(book, inbound(LID), inbound(LID)) == [LID, LID]
    assert len(store.learned) == 1
    assert await book.dial(LID) == LID


async def test_a_link_is_learned_once(book: AddressBook, store: CountingAliases) -> None:
    for _ in range(3):
        await chats(book, inbound(LID, FROM_PHONE))
    assert len(store.learned) == 1


async def test_a_link_outlives_the_process(store: CountingAliases) -> None:
    await chats(AddressBook(store), inbound(LID, FROM_PHONE))
    assert await chats(AddressBook(store), inbound(LID)) == [PHONE]


async def test_a_whole_batch_is_one_call_of_the_store(book: AddressBook, store: CountingAliases) -> None:
    lids = [ChatId(f"{number}@lid") for number in range(100, 150)]
    batch = [inbound(lid) if n % 2 else inbound(lid, ChatId(f"+346000000{n:02}")) for n, lid in enumerate(lids)]
    found = await chats(book, *batch, *batch, inbound(OLD_MEXICO), inbound(PHONE, LID))
    assert found[:2] == ["+34600000000", lids[1]]
    assert len(store.learned) == 1
    assert len({seen.alias for seen in store.learned[0]}) == len(store.learned[0]) == 52


async def test_a_link_that_is_told_late_in_a_batch_counts_for_all_of_it(book: AddressBook) -> None:
    assert await chats(book, inbound(LID), inbound(FROM_PHONE, LID)) == [PHONE, PHONE]


async def test_a_lid_that_is_busy_is_linked_by_a_later_message(book: AddressBook, store: CountingAliases) -> None:
    assert await chats(book, inbound(LID)) == [LID]
    for message in inbound(LID, FROM_PHONE), inbound(FROM_PHONE, LID):
        assert await chats(book, message, is_busy=busy(LID)) == [LID]
    assert await book.canonical(LID) == LID
    assert await chats(book, inbound(LID, FROM_PHONE)) == [PHONE]


async def test_what_waits_under_the_phone_is_not_overtaken_either(book: AddressBook) -> None:
    both = busy(LID, PHONE)
    assert await chats(book, inbound(FROM_PHONE, LID), is_busy=both) == [PHONE]
    assert await chats(book, inbound(LID, FROM_PHONE), is_busy=both) == [LID]


async def test_a_lid_that_is_busy_is_not_looked_up(store: CountingAliases) -> None:
    await store.learn([Sighting(alias=LID, chat=PHONE, wrote=True)])
    assert await chats(AddressBook(store), inbound(LID), is_busy=busy(LID)) == [LID]


async def test_a_lid_that_got_another_phone_leaves_the_earlier_one(book: AddressBook) -> None:
    await chats(book, inbound(LID, FROM_PHONE))
    assert await chats(book, inbound(LID, OLD_MEXICO)) == [MEXICO]
    assert await book.dial(MEXICO) == LID
    assert await book.dial(PHONE) == PHONE


async def test_who_links_is_told_whose_things_to_move(book: AddressBook) -> None:
    moved: list[tuple[ChatId, ChatId]] = []
    for is_busy in busy(LID), idle, idle:
        await book.resolve([inbound(LID, FROM_PHONE), inbound(OLD_MEXICO)], is_busy, lambda *pair: moved.append(pair))
    assert moved == [(LID, PHONE)]


@pytest.mark.parametrize("group", ["120363025246125486@g.us", "status@broadcast", "web:ana"])
async def test_what_is_no_person_is_never_linked(book: AddressBook, store: CountingAliases, group: str) -> None:
    assert await chats(book, inbound(ChatId(group), LID, FROM_PHONE)) == [group]
    assert await chats(book, inbound(FROM_PHONE, ChatId(group)), inbound(LID, ChatId(group))) == [PHONE, LID]
    assert await book.dial(ChatId(group)) == group


async def test_two_phones_are_never_linked(book: AddressBook, store: CountingAliases) -> None:
    assert await chats(book, inbound(FROM_PHONE, ChatId("+34600000002"))) == [PHONE]
    assert await chats(book, inbound(ChatId("+34600000002"))) == ["+34600000002"]
    assert store.learned == []


async def test_the_application_may_write_an_address_in_any_way(book: AddressBook, store: CountingAliases) -> None:
    assert await book.canonical(OLD_MEXICO) == MEXICO
    assert await book.canonical(ChatId("web:ana")) == "web:ana"
    assert store.learned == []
    assert [await book.canonical(LID) for _ in range(3)] == [LID] * 3
    assert len(store.learned) == 1
    await chats(book, inbound(LID, FROM_PHONE))
    assert await book.canonical(ChatId("105511988887777:3@lid")) == PHONE


async def test_asking_for_a_lid_is_not_taken_for_a_message_from_it(store: CountingAliases) -> None:
    await chats(AddressBook(store), inbound(OLD_MEXICO, LID))
    assert await AddressBook(store).canonical(LID) == MEXICO
    assert await AddressBook(store).dial(MEXICO) == OLD_MEXICO


async def test_who_is_forgotten_is_unknown(book: AddressBook, store: CountingAliases) -> None:
    await chats(book, inbound(LID, FROM_PHONE))
    await book.forget(PHONE)
    assert await chats(book, inbound(LID)) == [LID]
    assert await book.dial(PHONE) == PHONE


async def test_what_is_remembered_is_bounded(store: CountingAliases) -> None:
    book = AddressBook(store, max_known=10)
    lids = [ChatId(f"{number}@lid") for number in range(100, 140)]
    batch = [inbound(lid, ChatId(f"+346000000{n:02}")) for n, lid in enumerate(lids)]
    assert len(set(await chats(book, *batch))) == 40  # more than are remembered
    assert len(book._chats) == len(book._people) == 10
    assert await chats(book, inbound(lids[0])) == ["+34600000000"]


async def test_a_store_that_fails_is_not_hidden_and_leaves_nothing_half_known() -> None:
    book = AddressBook(BrokenAliases())
    for _ in range(2):
        with pytest.raises(StoreError, match="away"):
            await chats(book, inbound(LID, FROM_PHONE))
        with pytest.raises(StoreError, match="away"):
            await book.dial(PHONE)
    assert await chats(book, inbound(FROM_PHONE)) == [PHONE]
