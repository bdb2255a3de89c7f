"""What everything that keeps aliases does."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from tecnobot_core.delivery.addresses import AliasStore, MemoryAliases, Sighting
from tecnobot_core.messages import ChatId

ANA, BEN = ChatId("+34600000001"), ChatId("+34600000002")
LID, OTHER_LID, OLD = ChatId("1055@lid"), ChatId("1066@lid"), ChatId("5215512345678@s.whatsapp.net")


@asynccontextmanager
async def postgres_aliases(url: str) -> AsyncIterator[AliasStore]:
    from tecnobot_core.adapters.postgres import Database, ensure_chatbot, migrate
    from tecnobot_core.adapters.postgres.addresses import PostgresAliases

    async with Database(url) as database:
        await migrate(database)
        await ensure_chatbot(database, "shop")
        yield PostgresAliases(database, "shop")


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str | None:
    # Asked for by name, so that what lives in memory is tested where there is no PostgreSQL.
    return request.getfixturevalue("database_url") if request.param == "postgres" else None


@pytest.fixture
async def store(url: str | None) -> AsyncIterator[AliasStore]:
    if url is None:
        yield MemoryAliases()
    else:
        async with postgres_aliases(url) as store:
            yield store


def wrote(alias: ChatId, chat: ChatId | None = None) -> Sighting:
    return Sighting(alias=alias, chat=chat, wrote=True)


def named(alias: ChatId, chat: ChatId | None = None) -> Sighting:
    return Sighting(alias=alias, chat=chat, wrote=False)


async def learn(store: AliasStore, *sightings: Sighting) -> Mapping[ChatId, ChatId]:
    return await store.learn(sightings)


async def test_an_unknown_alias_has_no_chat(store: AliasStore) -> None:
    assert await learn(store, wrote(LID), named(OLD)) == {}
    assert await learn(store, named(LID)) == {}


async def test_what_was_learned_is_told_at_once_and_later(store: AliasStore) -> None:
    assert await learn(store, wrote(LID, ANA), named(OTHER_LID), named(OLD, BEN)) == {LID: ANA, OLD: BEN}
    assert await learn(store, named(OLD), named(LID), wrote(OTHER_LID)) == {LID: ANA, OLD: BEN}


async def test_nothing_is_learned_from_nothing(store: AliasStore) -> None:
    assert await learn(store) == {}


async def test_an_alias_that_is_learned_again_gets_the_new_chat(store: AliasStore) -> None:
    await learn(store, wrote(LID, ANA))
    assert await learn(store, named(LID, BEN)) == {LID: BEN}
    assert await store.last_used(ANA) is None
    assert await store.last_used(BEN) == LID


async def test_the_alias_that_wrote_last_is_told(store: AliasStore) -> None:
    assert await store.last_used(ANA) is None
    for alias in LID, OLD, LID:
        await learn(store, wrote(alias, ANA))
        assert await store.last_used(ANA) == alias
    assert await store.last_used(BEN) is None


async def test_of_one_batch_the_last_that_wrote_is_told(store: AliasStore) -> None:
    await learn(store, wrote(OLD, ANA), wrote(LID, ANA), wrote(OTHER_LID, BEN))
    assert await store.last_used(ANA) == LID


async def test_an_alias_that_was_only_named_did_not_write(store: AliasStore) -> None:
    await learn(store, named(LID, ANA))
    assert await store.last_used(ANA) is None
    await learn(store, wrote(OTHER_LID, ANA))
    await learn(store, wrote(OLD, ANA))
    await learn(store, named(LID, ANA), named(OTHER_LID))
    assert await store.last_used(ANA) == OLD


async def test_an_alias_that_writes_under_nobodys_name_is_still_its_persons(store: AliasStore) -> None:
    await learn(store, named(LID, ANA), wrote(OLD, ANA))
    assert await learn(store, wrote(LID)) == {LID: ANA}
    assert await store.last_used(ANA) == LID


async def test_an_address_may_be_an_alias_of_itself(store: AliasStore) -> None:
    await learn(store, wrote(LID, ANA))
    assert await learn(store, wrote(ANA, ANA)) == {ANA: ANA}
    assert await store.last_used(ANA) == ANA


async def test_who_is_forgotten_has_no_alias(store: AliasStore) -> None:
    await learn(store, wrote(LID, ANA), named(OLD, ANA), wrote(OTHER_LID, BEN))
    await store.forget(ANA)
    assert await learn(store, named(LID), named(OLD), named(OTHER_LID)) == {OTHER_LID: BEN}
    assert await store.last_used(ANA) is None
    await store.forget(ANA)
