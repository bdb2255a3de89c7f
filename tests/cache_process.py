"""A process that writes one record after another behind, and tells each in a line of JSON, until it is killed."""

import asyncio
import json
import sys
from itertools import count

from tecnobot_core.adapters.postgres import Database
from tecnobot_core.adapters.postgres.cache import PostgresTier
from tecnobot_core.cache.guarded import GuardedTier
from tecnobot_core.cache.ports import Record


async def main(url: str) -> None:
    async with Database(url) as database, GuardedTier(PostgresTier(database)) as tier:
        for number in count():
            now = tier.now()
            await tier.put_many([Record(b"%d" % number, b"x" * 1000, now, now + 60)])
            print(json.dumps({"number": number, "at": now}), flush=True)  # noqa: T201
            await asyncio.sleep(0.002)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
