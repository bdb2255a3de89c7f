"""``tecnobot flows schema``."""

import argparse

from ..flows.document_schema import document_schema_text
from .output import say


def show(arguments: argparse.Namespace) -> int:
    """Print the JSON Schema of a file of flows: what the package ships as ``flows/flow.schema.json``."""
    say(document_schema_text().removesuffix("\n"))
    return 0
