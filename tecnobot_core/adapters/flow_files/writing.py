"""Flows as files: written so that they read as they were, and so that people like to edit them."""

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

from ...errors import StoreError
from ...flows.model import Flow
from ...flows.steps import AnyStep
from ...flows.stored import STEPS, Form, ListOf, Nullable, OneOf, Record
from ...flows.stored.records import KINDS as STEP_KINDS
from ...flows.stored_flow import FIELDS, KINDS
from .yaml_writing import write_yaml

FileFormat: TypeAlias = Literal["yaml", "json"]

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# Alone among the steps these words would look like steps.
_STEPS = frozenset({"steps", "then", "otherwise", "flows"})
_RESERVED = frozenset(STEP_KINDS[kind][0] for kind in get_args(AnyStep))


def write_flows(flows: Sequence[Flow], format: FileFormat, *, as_list: bool = True, schema: str = "") -> str:
    """The text of a file of *flows*; not *as_list*: of the only one. It names its *schema* where there is one."""
    documents = [flow_document(flow) for flow in flows]
    naming = {"$schema": schema} if schema else {}
    return write_document(naming | ({"flows": documents} if as_list else documents[0]), format)


def write_flow(flow: Flow, format: FileFormat = "yaml") -> str:
    """The text of a file of one flow."""
    return write_flows([flow], format, as_list=False)


def flow_document(flow: Flow) -> dict[str, Any]:
    """A flow as it stands in a file, in the order in which its fields are written; without what has its default.

    Its keywords come by their kinds; in which order they were given among other kinds is not kept.
    """
    response = flow.response()
    kinds: dict[str, Any] = {kind: response.pop(kind) for kind in KINDS if kind in response}
    response["steps"] = _bare(response["steps"], STEPS)
    document = {"id": flow.id, **_keywords(flow, kinds), "priority": flow.priority, **response}
    if not flow.priority:
        del document["priority"]
    if not flow.interrupts:
        document.pop("interrupts", None)
    return {name: document[name] for name in FIELDS if name in document}


def _bare(value: Any, form: Form) -> Any:
    """The stored *value* with nothing in the place of each empty text that only names the kind of a step: "end:"."""
    while isinstance(form, Nullable):
        form = form.form
    if isinstance(form, ListOf):
        return [_bare(item, form.item) for item in value]
    if isinstance(form, OneOf) and isinstance(value, dict):
        form = next(record for lead, record in form.records.items() if lead in value)
    if not isinstance(form, Record):
        return value
    fields = form.fields
    bare = {name: _bare(item, fields[name].form) for name, item in value.items()}
    if bare.get(form.lead) == "" and isinstance(fields[form.lead].form, Nullable):
        bare[form.lead] = None
    return bare


def _keywords(flow: Flow, kinds: dict[str, Any]) -> dict[str, object]:
    """Plain words under "keywords", others only under their kinds."""
    named = {text for texts in kinds.values() for text in texts}
    words = [text for text in dict.fromkeys(keyword.text for keyword in flow.keywords) if text not in named]
    return ({"keywords": words} if words else {}) | kinds


def write_document(document: object, format: FileFormat) -> str:
    """The text of a file that holds *document*. Raises StoreError for what JSON has no form for."""
    storable = _storable(document)
    try:
        if format == "json":
            return json.dumps(storable, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
        return write_yaml(storable, steps=_STEPS, reserved=_RESERVED)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"a flow cannot be written: {error}", retryable=False) from error


def _storable(value: Any) -> Any:
    """*value* with U+FFFD for what has no place in a file of text: NUL, and half of a surrogate pair."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_storable(name): _storable(item) for name, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list | tuple) else value
