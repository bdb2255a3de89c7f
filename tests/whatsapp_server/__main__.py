"""Run the server by hand: ``python tests/whatsapp_server/launch.py tests.whatsapp_server DIRECTORY``.

It prints where it listens, takes a command a line, and ends with its standard input. Certificates go to the directory.
"""

import asyncio
import json
import logging
import sys
from pathlib import Path

from tests.whatsapp_server.service import Service


async def serve(directory: Path) -> None:
    service = Service(directory)
    _print(json.dumps(await service.start()))
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        _print(service.command(line.decode()))


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        raise SystemExit(f"usage: {__doc__}")
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    asyncio.run(serve(Path(sys.argv[1])))


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
