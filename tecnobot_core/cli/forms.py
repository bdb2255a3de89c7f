"""``tecnobot forms list``, ``export`` and ``delete``: what people entered into forms."""

import argparse
import asyncio
import sys
from datetime import datetime

from ..adapters.postgres import PostgresForms
from ..errors import ConfigurationError
from .database import open_chatbot
from .output import complain, count, say

BOM = "\ufeff"  # by which spreadsheet programs know UTF-8


def show(arguments: argparse.Namespace) -> int:
    """Name the forms that have records, and say how many."""
    return asyncio.run(_show(arguments))


def export(arguments: argparse.Namespace) -> int:
    """Write the records of a form as CSV."""
    return asyncio.run(_export(arguments))


def delete(arguments: argparse.Namespace) -> int:
    """Delete the records of a form that were submitted before a day."""
    return asyncio.run(_delete(arguments))


async def _show(arguments: argparse.Namespace) -> int:
    async with open_chatbot(arguments.chatbot) as chatbot:
        found = await PostgresForms(chatbot.database, chatbot.id).forms()
    say(*(f"{form}\t{count(number, 'record')}" for form, number in found.items()))
    return 0


async def _export(arguments: argparse.Namespace) -> int:
    async with open_chatbot(arguments.chatbot) as chatbot:
        forms = PostgresForms(chatbot.database, chatbot.id)
        known = await forms.forms()
        if arguments.form not in known:
            there_are = ", ".join(known) or "none"
            raise ConfigurationError(f"form {arguments.form!r} has no records; forms with records: {there_are}")
        if arguments.file == "-":
            await forms.write_csv(arguments.form, sys.stdout)
            return 0
        with open(arguments.file, "w", encoding="utf-8", newline="") as file:  # noqa: ASYNC230  # nothing else runs
            if arguments.spreadsheet:
                file.write(BOM)
            number = await forms.write_csv(arguments.form, file)
    complain(f"{count(number, 'record')} written to {arguments.file}")
    return 0


async def _delete(arguments: argparse.Namespace) -> int:
    try:
        before = datetime.fromisoformat(arguments.before).astimezone()
    except ValueError:
        raise ConfigurationError(f"--before must be a day like 2026-12-31, not {arguments.before!r}") from None
    async with open_chatbot(arguments.chatbot) as chatbot:
        forms = PostgresForms(chatbot.database, chatbot.id)
        number = await forms.delete(arguments.form, before=before.timestamp())
    say(f"{count(number, 'record')} deleted")
    return 0
