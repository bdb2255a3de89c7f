"""``tecnobot flows import``, ``export`` and ``diff``: flows between files and the database."""

import argparse
import asyncio
from pathlib import Path

from ..adapters.flow_files import write_flows
from ..adapters.flow_files.files import write_text
from .database import StoredFlows, open_chatbot
from .flow_changes import Changes, compare
from .flow_files import Checked, check_files, find_files
from .output import complain, count, say


def export(arguments: argparse.Namespace) -> int:
    """Write the flows of the database to a file, or to the standard output."""
    return asyncio.run(_export(arguments))


def put(arguments: argparse.Namespace) -> int:
    """Put the flows of files into the database: all, or none where something is wrong."""
    return asyncio.run(_put(arguments))


def diff(arguments: argparse.Namespace) -> int:
    """Say what an import would change."""
    return asyncio.run(_diff(arguments))


async def _export(arguments: argparse.Namespace) -> int:
    async with open_chatbot(arguments.chatbot) as chatbot:
        stored = await chatbot.load()
    is_json = arguments.format == "json" or (not arguments.format and arguments.file.lower().endswith(".json"))
    text = write_flows(stored.flows, "json" if is_json else "yaml")
    if arguments.file == "-":
        say(text.removesuffix("\n"))
    else:
        write_text(Path(arguments.file), text)
        complain(f"{count(len(stored.flows), 'flow')} written to {arguments.file}")
    complain(*(f"left out, because it is broken: {error}" for error in stored.broken))
    return 1 if stored.broken else 0


async def _put(arguments: argparse.Namespace) -> int:
    removes: bool = arguments.remove_others
    async with open_chatbot(arguments.chatbot) as chatbot:
        stored = await chatbot.load()
        checked, changes = _compare(arguments.files, stored, removes=removes)
        if checked.problems:
            complain(*map(str, checked.problems), "nothing was written")
            return 1
        complain(*(f"{warning} (warning)" for warning in checked.warnings))
        removed = changes.only_stored if removes else []
        if not arguments.dry_run:
            await chatbot.change(put=changes.to_put, remove=removed, seen_version=stored.version)
    say(*changes.summary(removes=removes))
    return 0


async def _diff(arguments: argparse.Namespace) -> int:
    async with open_chatbot(arguments.chatbot) as chatbot:
        stored = await chatbot.load()
    checked, changes = _compare(arguments.files, stored)
    complain(*map(str, checked.problems))
    say(*changes.differences())
    return 1 if checked.problems or changes else 0


def _compare(paths: list[str], stored: StoredFlows, *, removes: bool = False) -> tuple[Checked, Changes]:
    files = [file for group in find_files(paths) for file in group]
    checked = check_files(files, beside=[] if removes else stored.flows)
    return checked, compare(stored.flows, stored.broken_ids, checked.sound)
