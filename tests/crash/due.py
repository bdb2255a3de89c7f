"""Conversations that are due again and again, in a process that is killed: ``python -m tests.crash.due DATABASE``."""

import asyncio
import random
import sys
import time
from dataclasses import replace

import asyncpg

from tecnobot_core.adapters.postgres import Database, PostgresConversations, PostgresDelivery, ensure_chatbot, migrate
from tecnobot_core.delivery import Delivery, TurnContext
from tecnobot_core.events import EventBus
from tecnobot_core.messages import ChatId, ChatMessage, InboundMessage, OutboundMessage, Position, Turn

STAGES = 8
LONGEST_S = 1.0  # between two stages of a conversation


async def fill(dsn: str, chats: int, seed: int) -> None:
    """Let *chats* begin, each to be due within a second."""
    chance = random.Random(seed)
    async with Database(dsn) as database:
        await migrate(database)
        await ensure_chatbot(database, "crash")
        await PostgresConversations(database, "crash").record(
            [
                Turn(
                    chat=ChatId(f"chat-{number}"),
                    inbound=("m",),
                    outcome="answered",
                    answered_by="test",
                    position=Position("stages", "1", expires_at=time.time() + chance.random()),
                )
                for number in range(chats)
            ]
        )


async def check(dsn: str, chats: int) -> None:
    """Every stage of every conversation was done and said once, in order."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT phone_number, string_agg(content, ' ' ORDER BY said.id) AS done"
            " FROM tecnobot.chat_history AS said JOIN tecnobot.chat ON chat.id = chat_id GROUP BY phone_number"
        )
        stages = [str(stage) for stage in range(1, STAGES + 1)]
        assert {row["phone_number"]: row["done"] for row in rows} == {
            f"chat-{number}": " ".join(stages) for number in range(chats)
        }, "a due turn was lost, done twice or out of order"
        keys = await connection.fetch("SELECT split_part(key, '|', 2) AS said, state FROM tecnobot.outbox")
        assert sorted(row["said"] for row in keys) == sorted(
            f"chat-{number} {stage}" for number in range(chats) for stage in stages
        ), "what a due turn says is not in the outbox once"
        assert {row["state"] for row in keys} <= {"sent", "uncertain"}
    finally:
        await connection.close()


async def main(dsn: str) -> None:
    chance = random.Random()
    async with Database(dsn) as database:
        conversations = PostgresConversations(database, "crash")

        async def handle(context: TurnContext) -> Turn:
            message = context.message
            position = (await conversations.load(message.chat, 0)).position
            await asyncio.sleep(chance.random() * 0.02)
            turn = Turn(chat=message.chat, inbound=(message.id,), outcome="skipped", answered_by="test")
            now_s = max(time.time(), message.sent_at)
            if position is None or position.due_at is None or now_s < position.due_at:
                return turn
            stage = int(position.step)
            key = f"{message.id}|{message.chat.reveal()} {stage}"
            after = replace(position, step=str(stage + 1), expires_at=now_s + chance.random() * LONGEST_S)
            return replace(
                turn,
                outcome="answered",
                history=(ChatMessage("assistant", position.step),),
                position=after if stage < STAGES else None,
                outgoing=(OutboundMessage(chat=message.chat, key=key, text="¿sigues?"),),
            )

        async def send(message: OutboundMessage) -> None:
            await asyncio.sleep(chance.random() * 0.01)

        async def ready() -> None:
            """The link is always there."""

        async with Delivery(
            PostgresDelivery(database, "crash"),
            handle=handle,
            fail=_fail,
            send=send,
            wait_ready=ready,
            events=EventBus(),
        ) as delivery:
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            while await database.fetchval("SELECT EXISTS (SELECT FROM tecnobot.conversation)"):
                await asyncio.sleep(0.02)
            assert await delivery.drain(30)


def _fail(message: InboundMessage, error: Exception) -> Turn:
    return Turn(chat=message.chat, inbound=(message.id,), outcome="failed", answered_by="error")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
