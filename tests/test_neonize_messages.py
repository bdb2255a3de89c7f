"""What the library hands over, read into frames; its own message definitions, without its binary."""

import json
import subprocess
import sys
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from tecnobot_core.adapters.neonize.child import link_events
from tecnobot_core.adapters.neonize.child.binding import (
    Definitions,
    Library,
    UnusableError,
    binary_name,
    package_folder,
)
from tecnobot_core.adapters.neonize.child.failures import link_failure, send_failure, without_credentials
from tecnobot_core.adapters.neonize.child.frames import MAX_FRAME_BYTES, encode
from tecnobot_core.adapters.neonize.child.media import _only_field
from tecnobot_core.adapters.neonize.child.messages import Reader
from tecnobot_core.adapters.neonize.child.missed import arriving_message, dropped_message
from tecnobot_core.adapters.neonize.child.sending import jid_bytes


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return Definitions(package_folder())


def jid(definitions: Definitions, text: str) -> Any:
    return definitions.events.JID.FromString(jid_bytes(definitions.events, text))


def inbound(definitions: Definitions, content: dict[str, Any], chat: str = "1055@lid", **source: Any) -> Any:
    """The library's event for a message with *content*, in protobuf's JSON."""
    event = definitions.events.Message()
    ParseDict(content, event.Message)
    event.Info.ID, event.Info.Timestamp, event.Info.Pushname = "3EB0", 1_700_000_000_500, "Ana"
    where = event.Info.MessageSource
    where.Chat.CopyFrom(jid(definitions, chat))
    where.IsFromMe, where.IsGroup = source.get("from_me", False), chat.endswith("g.us")
    where.SenderAlt.CopyFrom(jid(definitions, source.get("sender_alt", "@")))
    where.RecipientAlt.CopyFrom(jid(definitions, source.get("recipient_alt", "@")))
    return event


def read(definitions: Definitions, content: dict[str, Any]) -> dict[str, Any]:
    frame = Reader(definitions).read(inbound(definitions, content))
    assert frame is not None
    return frame


def test_a_text_comes_with_all_that_is_known_of_its_sender(definitions: Definitions) -> None:
    event = inbound(definitions, {"conversation": "hola"}, sender_alt="5215550000001:3@s.whatsapp.net")
    assert Reader(definitions).read(event) == {
        "type": "message",
        "id": "3EB0",
        "chat": "1055@lid",
        "aliases": ["5215550000001@s.whatsapp.net"],
        "sent_at": 1_700_000_000.5,
        "sender_name": "Ana",
        "from_me": False,
        "reply_to": None,
        "text": "hola",
        "kind": "text",
        "media": None,
    }


def test_what_is_longer_than_whatsapp_allows_is_cut(definitions: Definitions) -> None:
    frame = read(definitions, {"conversation": "\x01" * 700_000})
    assert len(frame["text"]) == 65_536
    assert len(encode(frame)) < MAX_FRAME_BYTES


def test_what_the_owner_writes_names_the_customer(definitions: Definitions) -> None:
    event = inbound(definitions, {"conversation": "ya"}, from_me=True, recipient_alt="521@s.whatsapp.net")
    frame = Reader(definitions).read(event)
    assert frame is not None
    assert (frame["chat"], frame["aliases"], frame["from_me"]) == ("1055@lid", ["521@s.whatsapp.net"], True)


IMAGE = {
    "mimetype": "image/jpeg",
    "caption": "mira",
    "fileSHA256": "AQI=",
    "fileEncSHA256": "AwQ=",
    "fileLength": "17",
    "mediaKey": "BQY=",
    "directPath": "/v/t62",
}


@pytest.mark.parametrize(
    ("content", "kind", "text", "reply_to"),
    [
        ({"extendedTextMessage": {"text": "sí", "contextInfo": {"stanzaID": "Q"}}}, "text", "sí", "Q"),
        ({"imageMessage": IMAGE}, "image", "mira", None),
        ({"videoMessage": {"caption": "v"}}, "video", "v", None),
        ({"audioMessage": {"PTT": True}}, "voice", "", None),
        ({"audioMessage": {}}, "audio", "", None),
        ({"stickerMessage": {}}, "sticker", "", None),
        ({"documentWithCaptionMessage": {"message": {"documentMessage": {"caption": "d"}}}}, "document", "d", None),
        ({"ephemeralMessage": {"message": {"conversation": "breve"}}}, "text", "breve", None),
        ({"viewOnceMessageV2": {"message": {"imageMessage": IMAGE}}}, "image", "mira", None),
        ({"viewOnceMessageV2Extension": {"message": {"audioMessage": {"PTT": True}}}}, "voice", "", None),
        (
            {"ephemeralMessage": {"message": {"viewOnceMessage": {"message": {"imageMessage": IMAGE}}}}},
            "image",
            "mira",
            None,
        ),
        ({"deviceSentMessage": {"message": {"conversation": "del teléfono"}}}, "text", "del teléfono", None),
        (
            {"protocolMessage": {"type": 14, "key": {"ID": "OLD"}, "editedMessage": {"conversation": "mejor"}}},
            "text",
            "mejor",
            "OLD",
        ),
        ({"reactionMessage": {"text": "👍", "key": {"ID": "R"}}}, "reaction", "👍", "R"),
        ({"contactMessage": {"displayName": "Luis"}}, "contact", "Luis", None),
        ({"contactsArrayMessage": {"contacts": [{"displayName": "L"}, {"displayName": "M"}]}}, "contact", "L, M", None),
        ({"buttonsResponseMessage": {"selectedDisplayText": "Sí"}}, "text", "Sí", None),
        ({"listResponseMessage": {"title": "Uno"}}, "text", "Uno", None),
        ({"pollCreationMessage": {"name": "¿?"}}, "unknown", "", None),
        ({"conversation": "a", "messageContextInfo": {}}, "text", "a", None),
        (
            {"locationMessage": {"degreesLatitude": 19.4326077, "degreesLongitude": -99.1, "name": "Zócalo"}},
            "location",
            "Zócalo\nhttps://maps.google.com/?q=19.432608,-99.100000",
            None,
        ),
    ],
)
def test_every_kind_of_message_is_read(
    definitions: Definitions, content: dict[str, Any], kind: str, text: str, reply_to: str | None
) -> None:
    frame = read(definitions, content)
    assert (frame["kind"], frame["text"], frame["reply_to"]) == (kind, text, reply_to)


def test_an_attachment_is_told_by_what_is_needed_to_fetch_it(definitions: Definitions) -> None:
    assert read(definitions, {"imageMessage": IMAGE})["media"] == {
        "address": "/v/t62#AwQ=",
        "mime": "image/jpeg",
        "size_bytes": 17,
        "sha256": "0102",
        "file_name": "",
        "duration_s": None,
        "key": "BQY=",
    }


@pytest.mark.parametrize(
    "content",
    [
        {"protocolMessage": {"type": "REVOKE", "key": {"ID": "X"}}},
        {"senderKeyDistributionMessage": {"groupID": "g"}},
        {"messageContextInfo": {}},
        {"pollUpdateMessage": {}},
        {},
    ],
)
def test_what_says_nothing_to_the_bot_is_left_out(definitions: Definitions, content: dict[str, Any]) -> None:
    assert Reader(definitions).read(inbound(definitions, content)) is None


@pytest.mark.parametrize(
    ("chat", "taken", "with_groups"),
    [
        ("120363@g.us", False, True),
        ("status@broadcast", False, False),
        ("1203@newsletter", False, False),
        ("521@s.whatsapp.net", True, True),
        ("10521@lid", True, True),
    ],
)
def test_groups_are_left_out_unless_they_are_wanted(
    definitions: Definitions, chat: str, taken: bool, with_groups: bool
) -> None:
    event = inbound(definitions, {"conversation": "hola"}, chat)
    assert (Reader(definitions).read(event) is not None) == taken
    assert (Reader(definitions, take_groups=True).read(event) is not None) == with_groups


def test_wrappings_without_end_are_given_up(definitions: Definitions) -> None:
    content: dict[str, Any] = {"conversation": "x"}
    for _ in range(20):
        content = {"ephemeralMessage": {"message": content}}
    assert read(definitions, content)["kind"] == "unknown"


def test_what_ends_a_link_is_told_with_its_reason(definitions: Definitions) -> None:
    events = definitions.events

    def lost(code: int, event: Any) -> tuple[Any, ...]:
        (frame,) = link_events.read(definitions.events, code, event.SerializePartialToString())
        return frame["reason"], frame["retryable"], frame.get("retry_after_s")

    assert lost(6, events.LoggedOut(OnConnect=True, Reason="LOGGED_OUT")) == ("logged_out", False, None)
    assert lost(7, events.StreamReplaced()) == ("replaced", False, None)
    assert lost(8, events.TemporaryBan(Code=1, Expire=3600)) == ("banned", False, 3600.0)
    assert lost(9, events.ConnectFailure(Reason="EXPERIMENTAL", Message="", Raw={})) == ("server_error", True, None)
    assert lost(9, events.ConnectFailure(Reason="CLIENT_OUTDATED", Message="", Raw={})) == ("outdated", False, None)
    assert lost(10, events.ClientOutdated()) == ("outdated", False, None)
    (frame,) = link_events.read(events, 12, b"")
    assert (frame["reason"], frame["heals"]) == ("network", True)
    assert [frame["type"] for frame in link_events.login_status("timeout")] == ["paired", "lost"]
    assert list(link_events.login_status("success")) == []


def test_a_link_that_was_cut_during_pairing_is_no_end_of_the_pairing() -> None:
    (frame,) = link_events.login_status("timeout", code_lasts_s=12.0)
    assert (frame["type"], frame["reason"], frame["retryable"]) == ("lost", "network", True)
    assert [frame["type"] for frame in link_events.login_status("timeout", code_lasts_s=-0.1)] == ["paired", "lost"]
    _, frame = link_events.login_status("err-client-outdated", code_lasts_s=12.0)
    assert (frame["reason"], frame["retryable"]) == ("outdated", False)


def test_events_that_matter_to_nobody_make_no_frames(definitions: Definitions) -> None:
    events = definitions.events
    assert list(link_events.read(events, 25, b"")) == []


@pytest.mark.parametrize(
    ("text", "sent", "retryable"),
    [
        ("failed to send message node: websocket not connected", "no", True),
        ("websocket disconnected before message send returned response", "maybe", False),
        ("timed out waiting for message send response", "maybe", False),
        ("no LID found for 521@s.whatsapp.net from server", "no", False),
        ("server returned error 479", "no", False),
        ("failed to get device list: usync query timed out", "no", True),
        ("client is nil", "no", True),
        ("something new", "maybe", False),
    ],
)
def test_a_failed_send_tells_whether_it_may_have_gone_out(text: str, sent: str, retryable: bool) -> None:
    assert send_failure(text)[:2] == (sent, retryable)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("failed to dial whatsapp web websocket: dial tcp: lookup web.whatsapp.com: no such host", "network"),
        ("failed to upgrade database: file is not a database", "store_error"),
        ("failed to upgrade database: database is locked", "unknown"),
        (
            "failed to upgrade database: failed to connect: dial tcp 10.0.0.1:5432: connect: connection refused",
            "network",
        ),
        ("failed to upgrade database: FATAL: the database system is starting up (SQLSTATE 57P03)", "network"),
        ("failed to upgrade database: FATAL: sorry, too many clients already (SQLSTATE 53300)", "network"),
        ("failed to get device: timeout: context deadline exceeded", "timeout"),
        ("proto: required field defproto.TemporaryBan.Code not set", "pump_dead"),
        ("context deadline exceeded", "timeout"),
        ("something new", "network"),
    ],
)
def test_a_failed_connection_tells_why(text: str, reason: str) -> None:
    assert link_failure(text) == (reason, reason != "store_error")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            'parse "postgresql://u:s3%cret@10.0.0.1:1/x": invalid URL escape',
            'parse "postgresql://…@10.0.0.1:1/x": invalid URL escape',
        ),
        ("dial postgres://u:p@ss:w/rd@host/x: refused", "dial postgres://…@host/x: refused"),
        ("dial tcp 10.0.0.1:5432: refused; see https://a/b", "dial tcp 10.0.0.1:5432: refused; see https://a/b"),
    ],
)
def test_no_password_is_told(text: str, told: str) -> None:
    assert without_credentials(text) == told


OLD_COUNTER = b"failed to decrypt normal message: received message with old counter (current 5, got 4)"


@pytest.mark.parametrize(
    ("source", "from_me"),
    [
        (b"10551@lid", False),  # a customer on the phone
        (b"10551:3@lid in 10551@lid", False),  # on a linked device
        (b"10551:3@lid in 10551:3@lid", False),
        (b"10559@lid in 10551@lid", True),  # the owner, on the phone
        (b"10559:7@lid in 10551@lid", True),
    ],
)
def test_a_message_that_the_library_drops_is_found_in_its_log(source: bytes, from_me: bool) -> None:
    dropped = dropped_message(b"Ignoring message 3EB0AA from " + source + b": " + OLD_COUNTER)
    assert dropped == ("3EB0AA", "10551@lid", from_me)


def test_a_message_that_is_ignored_for_another_reason_is_not_lost() -> None:
    assert dropped_message(b"Ignoring message 3EB0AA from 10551@lid: something else") is None


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b'<message from="1055:3@lid" id="3EB0AA" type="text"><enc/></message>', ("3EB0AA", "1055@lid")),
        (b'\n\x80<message id="3EB0AA" notify="Ana" from="52@s.whatsapp.net">', ("3EB0AA", "52@s.whatsapp.net")),
        (b'<message from="1055@lid" id="A" category="peer">', None),
        (b'<message from="1055@lid" id="A" recipient="2@lid">', None),
        (b'<message from="1@g.us" participant="1055@lid" id="A">', None),
        (b'<message from="status@broadcast" id="A">', None),
        (b'<receipt from="1055@lid" id="A">', None),
    ],
)
def test_the_arrival_of_a_direct_message_is_seen_in_the_log(line: bytes, found: tuple[str, str] | None) -> None:
    assert (None if (named := arriving_message(line)) is None else named[:2]) == found


@pytest.mark.parametrize("length", [0, 1, 127, 128, 70_000])
def test_an_answer_is_cut_open_without_a_copy(definitions: Definitions, length: int) -> None:
    answer = definitions.events.DownloadReturnFunction(Binary=b"x" * length).SerializeToString()
    number, content = _only_field(memoryview(answer))
    assert (number, bytes(content)) == (1, b"x" * length)


def test_an_address_is_read_in_every_form(definitions: Definitions) -> None:
    assert jid(definitions, "+5215550000001").User == "5215550000001"
    assert jid(definitions, "5215550000001").Server == "s.whatsapp.net"
    assert (jid(definitions, "10:7@lid").Device, jid(definitions, "10:7@lid").Server) == (7, "lid")


COMPARE = """
import ctypes, json, sys
sys.path.insert(0, sys.argv[1])
import neonize._binder as theirs
import importlib.util
spec = importlib.util.spec_from_file_location("binding", sys.argv[2])
ours = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ours)

def shape(kind):
    if kind is None or kind in (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_bool):
        return str(kind)
    if hasattr(kind, "_flags_"):
        return [shape(kind._restype_), *map(shape, kind._argtypes_)]
    return [str(field) for field in kind._type_._fields_]

differences = []
for name, (result, arguments) in ours.FUNCTIONS.items():
    function = getattr(theirs.gocode, name)
    declared = [shape(kind) for kind in (function.restype, *function.argtypes)]
    if name == "Disconnect":
        declared[0] = shape(None)  # it returns nothing, and neonize does not look
    if declared != [shape(kind) for kind in (result, *arguments)]:
        differences.append(name)
print(json.dumps(differences))
"""


def test_the_librarys_functions_are_declared_as_neonize_declares_them() -> None:
    import tecnobot_core.adapters.neonize.child.binding as ours

    command = [sys.executable, "-c", COMPARE, str(package_folder().parent), str(ours.__file__)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_the_librarys_file_is_where_neonize_puts_it() -> None:
    assert (package_folder() / binary_name()).exists()


def test_a_machine_without_the_library_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "sparc")
    with pytest.raises(UnusableError, match=r"has no neonize-linux-sparc\.so for this machine"):
        Library()
