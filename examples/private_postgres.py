"""A PostgreSQL without a database server: a folder is enough, and holds what was written until the next run.

python examples/private_postgres.py [FOLDER]
"""

import asyncio
import sys
from pathlib import Path

import asyncpg

from tecnobot_core.adapters.embedded_postgres import EmbeddedPostgres


async def main(folder: Path) -> None:
    async with EmbeddedPostgres(folder) as server, asyncpg.create_pool(server.dsn, min_size=2) as pool:
        await pool.execute("CREATE TABLE IF NOT EXISTS visit (at timestamptz NOT NULL DEFAULT now())")
        await pool.execute("INSERT INTO visit DEFAULT VALUES")
        version = await pool.fetchval("SHOW server_version")
        visits = await pool.fetchval("SELECT count(*) FROM visit")
        print(f"PostgreSQL {version} in {folder}: visit {visits}")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else "data/private_postgres")))
