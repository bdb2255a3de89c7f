"""Promises about the values that travel."""

import dataclasses
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core import ChatId, InboundMessage, MediaReference
from tecnobot_core.messages import print_chat_ids_with

PHONE = "5215512345678@s.whatsapp.net"


def test_a_chat_id_prints_hashed_in_every_way_of_printing(caplog: pytest.LogCaptureFixture) -> None:
    chat = ChatId(PHONE)
    logging.getLogger("test").warning("chat %s %r", chat, chat)
    printed = [
        str(chat),
        repr(chat),
        f"{chat}",
        f"{chat:>40}",
        f"{chat}",
        "%s" % chat,  # noqa: UP031
        repr({chat}),
        caplog.text,
    ]
    assert not [text for text in printed if "5215512345678" in text]


def test_a_chat_id_is_the_text_it_is() -> None:
    assert ChatId(PHONE) == PHONE
    assert {ChatId(PHONE): 1}[PHONE] == 1  # type: ignore[index]
    assert ChatId(PHONE).reveal() == PHONE
    assert type(ChatId(PHONE).reveal()) is str


def test_a_print_key_makes_hashes_comparable() -> None:
    print_chat_ids_with(b"k" * 16)
    first = str(ChatId(PHONE))
    print_chat_ids_with(b"other")
    assert str(ChatId(PHONE)) != first
    print_chat_ids_with(b"k" * 16)
    assert str(ChatId(PHONE)) == first
    with pytest.raises(ValueError, match="1 to 32 bytes"):
        print_chat_ids_with(b"")


@given(st.text())
def test_any_text_can_be_a_chat_id(text: str) -> None:
    assert str(ChatId(text)).startswith("chat:")


def test_nothing_that_a_person_wrote_prints() -> None:
    media = MediaReference(kind="document", address="https://media/1", key=b"secret-key", file_name="Acta de Eva.pdf")
    message = InboundMessage(id="m1", chat=ChatId(PHONE), sent_at=0.0, text="me duele", sender_name="Ana", media=media)
    assert not [word for word in ("duele", "Ana", "Eva", "secret-key", "5512345678") if word in repr(message)]


def test_values_are_frozen() -> None:
    message = InboundMessage(id="m1", chat=ChatId(PHONE), sent_at=0.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        message.text = "other"  # type: ignore[misc]
