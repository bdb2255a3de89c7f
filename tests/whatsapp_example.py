"""The example over WhatsApp, wrapped for tests: it trusts the project's own server, and writes down what happened.

Run by ``launch.py``: ``tests.whatsapp_example SETTINGS ARGUMENT...``; SETTINGS is JSON, ARGUMENTs are the example's.
"""

import functools
import importlib.util
import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, TextIO

from tecnobot_core.adapters.neonize import requirements
from tecnobot_core.events import Event
from tests.example_process import EXAMPLE


def main() -> int:
    """The example's exit code."""
    settings: dict[str, Any] = json.loads(sys.argv.pop(1))
    if settings["wanted_neonize"]:
        requirements.NEONIZE = settings["wanted_neonize"]
    example = _load()
    example.DEMO = Path(settings["demo"])
    example.HELD_S = settings["held_s"]
    example.SETTLE_S = settings["settle_s"]
    example.WhatsAppTransport = functools.partial(
        example.WhatsAppTransport,
        proxy=settings["proxy"],
        certificates=Path(settings["certificates"]),
        before_connecting=Path(settings["before_connecting"]),
    )
    with open(settings["events"], "a", buffering=1, encoding="utf-8") as file:
        _listen(example, file)
        return int(example.main())


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("tecnobot_app", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    sys.modules["tecnobot_app"] = example
    spec.loader.exec_module(example)
    return example


def _listen(example: Any, file: TextIO) -> None:
    """Write every event into *file*, a line of JSON each."""

    class Told(example.TecnoBot):  # type: ignore[misc]
        async def open(self) -> None:
            self.events.on(Event, lambda event: file.write(json.dumps(_told(event)) + "\n"))
            await super().open()

    example.TecnoBot = Told


def _told(event: Event) -> dict[str, Any]:
    told: dict[str, Any] = {"event": type(event).__name__}
    for field in fields(event):
        value = getattr(event, field.name)
        if field.name == "turn":
            told |= {"inbound": value.inbound, "by": value.answered_by, "keys": [m.key for m in value.outgoing]}
        else:
            told[field.name] = value if isinstance(value, bool | int | float) else str(value)
    return told


if __name__ == "__main__":
    sys.exit(main())
