"""What WhatsApp's "Export chat" writes is read as it was meant, and replayed as it was written."""

import asyncio
import runpy
import tempfile
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tecnobot_core.adapters.chat_export import (
    ChatExport,
    DateOrder,
    ExportedMessage,
    Form,
    ReplayTransport,
    Report,
)
from tecnobot_core.adapters.chat_export.content import read_content
from tecnobot_core.adapters.chat_export.header import MARKS, read_header
from tecnobot_core.adapters.chat_export.notices import is_signed_notice
from tecnobot_core.adapters.chat_export.parser import MAX_MESSAGE_CHARS
from tecnobot_core.connection.ports import DisconnectReason, Lost, Opened, TransportEvent
from tecnobot_core.errors import ConfigurationError, TransportError
from tecnobot_core.messages import ChatId, InboundMessage, OutboundMessage

EXAMPLES = Path(__file__).parent.parent / "examples" / "data"
LRM = "\u200e"


@dataclass(frozen=True)
class Read:
    """A file, opened and read to its end."""

    export: ChatExport
    messages: list[ExportedMessage]

    @property
    def report(self) -> Report:
        return self.export.report

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(message.sender, message.text) for message in self.messages]

    @property
    def times(self) -> list[str]:
        return [datetime.fromtimestamp(m.sent_at, UTC).strftime("%Y-%m-%d %H:%M:%S") for m in self.messages]


def read(content: str | bytes, *, me: str | None = None, tz: ZoneInfo | None = None) -> Read:
    data = content.encode() if isinstance(content, str) else content
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chat.txt"
        path.write_bytes(data)
        export = ChatExport.open(path, me=me, tz=tz or UTC)
        return Read(export, list(export.messages()))


def android(*rests: str) -> str:
    return "".join(f"31/12/2024, 21:05 - {rest}\n" for rest in rests)


def ios(*rests: str) -> str:
    return "".join(f"[31/12/24, 21:05:07] {rest}\n" for rest in rests)


# Forms, clocks and dates


@pytest.mark.parametrize(
    "header",
    [
        "31/12/2024, 21:05 - ",
        "31/12/24, 21:05 - ",
        "31/12/2024 21:05 - ",
        "31-12-2024, 21:05 - ",
        "31.12.24, 21:05 - ",
        "31.12.2024, 21.05 - ",
        "12/31/24, 9:05 PM - ",
        "12/31/24, 9:05\u202fPM - ",
        "31/12/2024, 9:05 pm - ",
        "31/12/2024, 9:05 p.m. - ",
        "31/12/2024, 9:05 p. m. - ",
        "31/12/2024, 9:05\u202fp.\u00a0m. - ",
        "31/12/2024, 9:05\u00a0p.\u00a0m. - ",
        "2024/12/31, 21:05 - ",
        "2024-12-31, 9:05 p.m. - ",
        "\u200e31/12/2024, 21:05 - ",
    ],
)
def test_every_android_header_is_read(header: str) -> None:
    chat = read(header + "Ana: hola\n")
    assert (chat.export.form, chat.times, chat.said) == (Form.ANDROID, ["2024-12-31 21:05:00"], [("Ana", "hola")])


@pytest.mark.parametrize(
    "header",
    [
        "[31/12/24, 21:05:07] ",
        "[31/12/2024 21:05:07] ",
        "[31.12.24, 21:05:07] ",
        "[31-12-24, 9:05:07 p. m.] ",
        "[31/12/24, 9:05:07\u202fp.\u00a0m.] ",
        "[12/31/24, 9:05:07\u202fPM] ",
        "[12/31/24, 9:05:07 PM] ",
        "[2024-12-31, 9:05:07 PM] ",
        "[2024/12/31, 21:05:07] ",
        "\u200e[31/12/24, 21:05:07] ",
        "\u200f\u202a[31/12/24, 21:05:07] ",
    ],
)
def test_every_ios_header_is_read(header: str) -> None:
    chat = read(header + "Ana: hola\n")
    assert (chat.export.form, chat.times, chat.said) == (Form.IOS, ["2024-12-31 21:05:07"], [("Ana", "hola")])


@pytest.mark.parametrize(
    ("written", "hour"),
    [("12:05 a. m.", 0), ("12:05 p. m.", 12), ("1:05 AM", 1), ("11:05 pm", 23), ("0:05", 0), ("0:05 a. m.", 0)],
)
def test_midnight_and_noon_are_told_apart(written: str, hour: int) -> None:
    assert read(f"31/12/24, {written} - Ana: hola").times == [f"2024-12-31 {hour:02}:05:00"]


def dated(*dates: str) -> str:
    return "".join(f"{date}, 10:00 - Ana: hola\n" for date in dates)


@pytest.mark.parametrize(
    ("dates", "order", "first"),
    [
        (["3/4/24", "5/4/24", "13/4/24"], DateOrder.DAY_FIRST, "2024-04-03"),
        (["3/4/24", "3/5/24", "3/13/24"], DateOrder.MONTH_FIRST, "2024-03-04"),
        (["2024-03-04", "2024-03-05"], DateOrder.YEAR_FIRST, "2024-03-04"),
    ],
)
def test_one_clear_date_decides_for_the_whole_file(dates: list[str], order: DateOrder, first: str) -> None:
    chat = read(dated(*dates))
    assert (chat.export.date_order, chat.times[0][:10], chat.report.notes) == (order, first, [])


@pytest.mark.parametrize(
    ("dates", "order"),
    [
        (["11/2/24", "12/2/24", "1/3/24"], DateOrder.DAY_FIRST),
        (["2/11/24", "2/12/24", "3/1/24"], DateOrder.MONTH_FIRST),
    ],
)
def test_without_a_clear_date_the_order_of_the_messages_decides_and_is_noted(
    dates: list[str], order: DateOrder
) -> None:
    chat = read(dated(*dates))
    assert chat.export.date_order == order
    assert chat.report.notes == [
        f"dates were read {order}: no date tells, but read "
        f"{'month-first' if order is DateOrder.DAY_FIRST else 'day-first'} the messages would not be in order"
    ]


def test_an_ambiguous_file_is_read_day_first_and_says_so() -> None:
    chat = read(dated("1/2/24", "2/2/24"))
    assert chat.times == ["2024-02-01 10:00:00", "2024-02-02 10:00:00"]
    assert chat.report.notes == [
        "dates were read day-first: nothing in the file tells whether they are day-first or month-first"
    ]


def test_a_year_of_two_digits_never_comes_first() -> None:
    assert read(dated("24-01-31", "24-02-01")).times == ["2031-01-24 10:00:00", "2001-02-24 10:00:00"]


def test_dates_that_mean_the_same_either_way_need_no_note() -> None:
    assert read(dated("1/1/24", "2/2/24")).report.notes == []


def test_an_impossible_date_or_time_makes_a_line_unreadable_not_a_guess() -> None:
    chat = read(
        "31/12/24, 10:00 - Ana: a\n31/31/24, 10:00 - Ana: b\n30/12/24, 25:00 - Ana: c\n"
        "31/12/24, 13:00 p. m. - Ana: d\n31/12/1850, 10:00 - Ana: e\nbelongs to none of them\n"
    )
    assert chat.said == [("Ana", "a")]
    assert [number for number, _ in chat.report.unreadable] == [2, 3, 4, 5, 6]


def test_the_clock_stands_in_the_given_zone_and_else_in_utc() -> None:
    line = "31/12/2024, 21:05 - Ana: hola"
    assert read(line).times == ["2024-12-31 21:05:00"]
    assert read(line, tz=ZoneInfo("America/Bogota")).times == ["2025-01-01 02:05:00"]


# Messages and names


def test_a_message_goes_on_until_the_next_header() -> None:
    chat = read(android("Ana: uno\n\ndos\n  tres", "Ana: cuatro"))
    assert chat.said == [("Ana", "uno\n\ndos\n  tres"), ("Ana", "cuatro")]
    assert [message.line for message in chat.messages] == [1, 5]


@pytest.mark.parametrize("name", ["Ana - Taller", "Ana-María", "- Ana -", "31/12 - Ana", "O'Higgins, Ana [ventas]"])
def test_a_name_may_hold_dashes_and_brackets(name: str) -> None:
    assert read(android(f"{name}: a - b")).said == [(name, "a - b")]
    assert read(ios(f"{name}: a - b")).said == [(name, "a - b")]


def test_a_colon_in_a_text_is_no_name() -> None:
    chat = read(android("Ana: nota: comprar", "Ana: otra: vender", "Ana: listo"))
    assert chat.said == [("Ana", "nota: comprar"), ("Ana", "otra: vender"), ("Ana", "listo")]


def test_one_message_without_the_colon_shows_that_it_is_not_in_the_name() -> None:
    texts = ["nota: a", "nota: b", "nota: c", "hola"]
    assert read(android(*(f"Ana: {text}" for text in texts))).said == [("Ana", text) for text in texts]


def test_a_colon_in_a_name_is_told_by_all_its_messages_beginning_so() -> None:
    texts = ["hola", "precio: ¿cuánto?", "gracias"]
    chat = read(android(*(f"Taller: {who}: {text}" for text in texts for who in ("Ana", "Luis"))), me="Taller: Ana")
    assert chat.said == [(f"Taller: {who}", text) for text in texts for who in ("Ana", "Luis")]
    assert chat.report.notes == ["'Taller: Luis' is taken for a name: all its messages begin so, colon included"]


def test_the_name_given_as_me_needs_no_evidence_for_its_colon() -> None:
    chat = read(android("Sol: ventas: hola", "Ana: hola", "Sol: ventas:10"), me="Sol: ventas")
    assert [(m.sender, m.text, m.from_me) for m in chat.messages] == [
        ("Sol: ventas", "hola", True),
        ("Ana", "hola", False),
        ("Sol", "ventas:10", False),
    ]


def test_too_many_different_beginnings_are_text() -> None:
    texts = [f"artículo {i}: {n} piezas" for i in range(9) for n in range(3)]
    assert read(android(*(f"Ana: {text}" for text in texts))).said == [("Ana", text) for text in texts]


def test_marks_around_names_and_texts_are_dropped_and_those_inside_a_text_kept() -> None:
    assert read(ios("\u202a+00\u00a0000\u202c: hola", "~\u202fAna: hola"), me="~ Ana").said == [
        ("+00 000", "hola"),
        ("~ Ana", "hola"),
    ]
    assert read(android("\u202a+00\u00a0000\u202c: hola \u2068@Ana\u2069 sí\u200e")).said == [
        ("+00 000", "hola \u2068@Ana\u2069 sí")
    ]


def test_an_empty_message_is_a_message() -> None:
    assert read(android("Ana: ", "Ana:")).said == [("Ana", ""), ("Ana", "")]


@pytest.mark.parametrize(
    "mark", [" <Se editó este mensaje.>", " \u200e<This message was edited>", "<Esta mensagem foi editada>"]
)
def test_the_note_that_a_message_was_edited_is_not_its_text(mark: str) -> None:
    assert read(android(f"Ana: hola{mark}")).said == [("Ana", "hola")]


# What WhatsApp writes itself

UNSIGNED_NOTICES = [
    "Messages and calls are end-to-end encrypted. Only people in this chat can read, listen to, or share them.",
    "Los mensajes y las llamadas están cifrados de extremo a extremo. Toca para obtener más información.",
    "As mensagens e ligações são protegidas com a criptografia de ponta a ponta.",
    'Ana created group "Ventas"',
    'Ana creó el grupo "Ventas"',
    'Ana criou o grupo "Vendas"',
    "You created this group",
    "Ana added Luis",
    "Ana añadió a Luis",
    "Ana agregó a Luis",
    "Ana adicionou Luis",
    "Se te añadió",
    "You were added",
    "Ana left",
    "Ana salió del grupo",
    "Ana salió",
    "Ana saiu",
    "Ana removed Luis",
    "Ana eliminó a Luis",
    "Ana removeu Luis",
    "Ana joined using this group's invite link",
    "Te uniste mediante el enlace de invitación de este grupo.",
    "Ana entrou usando o link de convite deste grupo",
    "Ana changed their phone number to a new number. Tap to message or add the new number.",
    "Ana cambió su número de teléfono a un número nuevo.",
    "Ana mudou seu número de telefone para um novo número.",
    "Your security code with Ana changed. Tap to learn more.",
    "Cambió tu código de seguridad con Ana.",
    "Seu código de segurança com Ana mudou.",
    "Missed voice call",
    "Missed video call at 10:15",
    "Llamada de voz perdida",
    "Videollamada perdida",
    "Chamada de voz perdida",
    "Ligação de vídeo perdida",
    'Ana changed the subject from "Uno" to "Dos"',
    'Ana cambió el asunto de "Uno: a" a "Dos: b"',
    'Ana changed the subject to "Ventas: norte"',
    "Ana changed this group's icon",
    "Ana cambió el ícono de este grupo",
    "Ana mudou a imagem deste grupo",
    "Ana turned on disappearing messages.",
    "Ana activó los mensajes temporales.",
    "You're now an admin",
    "Ahora eres admin. del grupo",
    "Agora você não é mais admin",
    "This chat is with a business account. Tap to learn more.",
    "Este chat es con una cuenta de empresa.",
    "Ana is a contact",
    "Bloqueaste a este contacto.",
]


@pytest.mark.parametrize("notice", UNSIGNED_NOTICES)
def test_a_notice_is_counted_and_nobody_says_it(notice: str) -> None:
    for write in (android, ios):
        chat = read(write("Luis: hola", notice, "Luis: adiós"))
        assert chat.said == [("Luis", "hola"), ("Luis", "adiós")]
        assert (chat.report.system_lines, chat.report.unreadable_lines) == (1, 0)


SIGNED_NOTICES = [
    "This message was deleted",
    "You deleted this message",
    "Se eliminó este mensaje.",
    "Eliminaste este mensaje.",
    "Mensagem apagada",
    "Esta mensagem foi apagada",
    "Você apagou esta mensagem",
    "Missed voice call",
    "Llamada de voz perdida a las 10:15",
    "Videollamada perdida",
    "Chamada de vídeo perdida",
    "Waiting for this message. This may take a while.",
    "Esperando este mensaje. Esto puede tomar tiempo.",
    "Aguardando mensagem. Essa ação pode levar alguns instantes.",
    "Messages and calls are end-to-end encrypted. Only people in this chat can read them.",
    "Los mensajes y las llamadas están cifrados de extremo a extremo.",
    "As mensagens e as ligações são protegidas com a criptografia de ponta a ponta.",
    "Ana cambió el asunto",
]


@pytest.mark.parametrize("notice", SIGNED_NOTICES)
def test_a_notice_under_somebodys_name_is_not_what_they_said(notice: str) -> None:
    for write in (android, ios):
        chat = read(write("Luis: hola", f"Ana: {notice}"))
        assert chat.said == [("Luis", "hola")]
        assert chat.report.system_lines == 1


def test_ios_marks_what_nobody_typed_in_any_language() -> None:
    chat = read(ios(f"Ventas: {LRM}Nachrichten sind Ende-zu-Ende-verschlüsselt", "Ana: hola"))
    assert (chat.said, chat.report.system_lines) == ([("Ana", "hola")], 1)


def test_android_sets_no_such_mark_so_there_it_is_somebodys() -> None:
    assert read(android(f"Ana: {LRM}hola")).said == [("Ana", "hola")]


@pytest.mark.parametrize(
    "words",
    [
        "perdí una llamada de voz perdida en el menú",
        "¿los mensajes están cifrados de extremo a extremo?",
        "esperando el mensaje de confirmación",
        "este mensaje fue eliminado por error, ¿me lo reenvían?",
        "Luis salió del grupo",
        "cambió el precio",
        "missed call from you",
    ],
)
def test_what_a_person_says_about_such_things_is_kept(words: str) -> None:
    for write in (android, ios):
        assert read(write(f"Ana: {words}")).said == [("Ana", words)]


def test_a_line_without_a_sender_that_is_no_known_notice_is_shown() -> None:
    chat = read(android("Ana: hola", "texto sin remitente", "Ana: adiós") + "más\n")
    assert chat.said == [("Ana", "hola"), ("Ana", "adiós\nmás")]
    assert chat.report.unreadable == [(2, "31/12/2024, 21:05 - texto sin remitente")]


def test_what_goes_on_below_a_notice_belongs_to_the_notice() -> None:
    chat = read(android("Ana: hola", "Los mensajes están cifrados de extremo a extremo.\nToca aquí"))
    assert (chat.said, chat.report.unreadable_lines) == ([("Ana", "hola")], 0)


def test_what_goes_on_below_an_unreadable_line_is_unreadable_too() -> None:
    chat = read(android("Ana salió", "texto sin remitente\ny más", "Ana: hola"))
    assert [number for number, _ in chat.report.unreadable] == [2, 3]


# Files and places


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("<Media omitted>", "unknown"),
        ("<Multimedia omitido>", "unknown"),
        ("<Mídia oculta>", "unknown"),
        ("<Arquivo de mídia oculto>", "unknown"),
        (f"{LRM}image omitted", "image"),
        (f"{LRM}imagen omitida", "image"),
        (f"{LRM}imagem ocultada", "image"),
        ("imagen omitida", "image"),
        ("<imagen omitida>", "image"),
        (f"{LRM}audio omitted", "audio"),
        (f"{LRM}audio omitido", "audio"),
        (f"{LRM}áudio ocultado", "audio"),
        (f"{LRM}Video omitido", "video"),
        (f"{LRM}vídeo omitido", "video"),
        (f"{LRM}GIF omitido", "video"),
        (f"{LRM}sticker omitido", "sticker"),
        (f"{LRM}figurinha omitida", "sticker"),
        (f"{LRM}document omitted", "document"),
        (f"Precios.pdf • {LRM}2 páginas {LRM}documento omitido", "document"),
        (f"{LRM}Contact card omitted", "contact"),
    ],
)
def test_media_that_was_left_out_is_a_message_of_its_kind(written: str, kind: str) -> None:
    for write in (android, ios):
        (message,) = read(write(f"Ana: {written}")).messages
        assert (message.kind, message.text, message.file_name) == (kind, "", "")


@pytest.mark.parametrize(
    ("written", "kind", "file_name", "caption"),
    [
        ("IMG-20241231-WA0001.jpg (file attached)", "image", "IMG-20241231-WA0001.jpg", ""),
        ("IMG-1 (1).jpg (archivo adjunto)\n¿tienen\neste?", "image", "IMG-1 (1).jpg", "¿tienen\neste?"),
        (f"{LRM}PTT-20241231-WA0002.opus (arquivo anexado)", "voice", "PTT-20241231-WA0002.opus", ""),
        ("VID-20241231-WA0003.mp4 (ficheiro anexado)", "video", "VID-20241231-WA0003.mp4", ""),
        ("STK-20241231-WA0004.webp (archivo adjunto)", "sticker", "STK-20241231-WA0004.webp", ""),
        ("AUD-20241231-WA0005.m4a (archivo adjunto)", "audio", "AUD-20241231-WA0005.m4a", ""),
        ("Lista de precios.pdf (archivo adjunto)", "document", "Lista de precios.pdf", ""),
        ("Ana.vcf (file attached)", "contact", "Ana.vcf", ""),
        (f"{LRM}<attached: 00000012-AUDIO-2024-12-31.opus>", "voice", "00000012-AUDIO-2024-12-31.opus", ""),
        (f"{LRM}<adjunto: 00000013-PHOTO-2024-12-31.jpg>", "image", "00000013-PHOTO-2024-12-31.jpg", ""),
        (f"mira\nesto {LRM}<anexado: 00000014-VIDEO-2024.mp4>", "video", "00000014-VIDEO-2024.mp4", "mira\nesto"),
        (f"Precios.pdf • {LRM}2 páginas {LRM}<adjunto: 00000015-Precios.pdf>", "document", "00000015-Precios.pdf", ""),
        (f"{LRM}<attached: 00000016-STICKER-2024.webp>", "sticker", "00000016-STICKER-2024.webp", ""),
        ("plano.xyz (archivo adjunto)", "document", "plano.xyz", ""),
    ],
)  # fmt: skip
def test_an_attached_file_is_named_and_its_caption_is_the_text(
    written: str, kind: str, file_name: str, caption: str
) -> None:
    for write in (android, ios):
        (message,) = read(write(f"Ana: {written}")).messages
        assert (message.kind, message.file_name, message.text) == (kind, file_name, caption)


@pytest.mark.parametrize(
    "written", ["../../clave.txt (archivo adjunto)", "<adjunto: /etc/clave.conf>", r"a\b.jpg (file attached)"]
)
def test_a_file_outside_the_folder_of_the_export_is_only_text(written: str) -> None:
    (message,) = read(android(f"Ana: {written}")).messages
    assert (message.kind, message.file_name, message.text) == ("text", "", written)


@pytest.mark.parametrize("word", ["location", "ubicación", "Localização", f"{LRM}Ubicación"])
def test_a_place_is_a_place_and_never_part_of_a_name(word: str) -> None:
    for write in (android, ios):
        chat = read(write(*(f"Ana: {word}: https://maps.google.com/?q={n},0" for n in range(4))))
        assert {(m.sender, m.kind) for m in chat.messages} == {("Ana", "location")}


# Files as they come


@pytest.mark.parametrize("encode", [str.encode, lambda text: b"\xef\xbb\xbf" + text.encode()])
def test_a_byte_order_mark_and_windows_line_ends_change_nothing(encode: Callable[[str], bytes]) -> None:
    chat = read(encode("31/12/24, 10:00 - José: año\r\nñandú\r\n"))
    assert chat.said == [("José", "año\nñandú")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_with_what_to_do(encoding: str) -> None:
    with pytest.raises(ConfigurationError, match="save it as UTF-8"):
        read(android("Ana: hola").encode(encoding))


def test_a_zip_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="unpack it"):
        read(b"PK\x03\x04" + bytes(100))


def test_a_line_that_is_not_utf_8_is_shown_and_the_others_are_read() -> None:
    chat = read(android("Ana: hola").encode() + "31/12/2024, 21:06 - José: año\n".encode("latin-1") + b"m\xe1s\n")
    assert chat.said == [("Ana", "hola")]
    assert chat.report.unreadable == [(2, "31/12/2024, 21:06 - Jos�: a�o"), (3, "m�s")]


def test_a_file_may_start_in_the_middle_of_a_message() -> None:
    chat = read("y eso es todo\n\nsaludos\n" + android("Ana: hola"))
    assert chat.said == [("Ana", "hola")]
    assert chat.report.unreadable == [(1, "y eso es todo"), (3, "saludos")]


def test_only_the_first_unreadable_lines_are_kept_and_all_are_counted() -> None:
    chat = read("\x1b[31mx\n" * 500 + android("Ana: hola"))
    assert (chat.report.unreadable_lines, len(chat.report.unreadable)) == (500, 20)
    assert chat.report.unreadable[0] == (1, "�[31mx")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            ChatExport.open(path)


def test_a_file_that_vanishes_after_opening_is_refused_clearly(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_text(android("Ana: hola"), encoding="utf-8")
    export = ChatExport.open(path)
    path.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        list(export.messages())


def test_an_empty_file_holds_no_message() -> None:
    assert read("").messages == []
    assert read("\n\n \n").messages == []


@pytest.mark.parametrize("separator", ["", "\n"])
def test_a_huge_message_is_cut_and_the_rest_counted(separator: str) -> None:
    part = "ñ" * 1000
    n_parts = 700
    chat = read(android("Ana: " + separator.join([part] * n_parts), "Ana: fin"))
    kept = sum(message.text.count("ñ") for message in chat.messages)
    assert kept + chat.report.cut_chars == 1000 * n_parts
    assert MAX_MESSAGE_CHARS - 1000 <= len(chat.messages[0].text) <= MAX_MESSAGE_CHARS


def test_a_long_line_is_cut_between_characters() -> None:
    for shift in range(4):
        chat = read("x" * shift + "😀" * 150_000)
        assert chat.messages[0].text == ("x" * shift + "😀" * 150_000)[:MAX_MESSAGE_CHARS]
        assert chat.report.cut_chars == 50_000 + shift


def count_and_measure(path: Path) -> tuple[int, int]:
    """The number of messages, and the most bytes that reading them took."""
    tracemalloc.start()
    try:
        export = ChatExport.open(path, me="Cliente 0")
        n_messages = sum(1 for _ in export.messages())
        return n_messages, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    with path.open("w", encoding="utf-8") as file:
        for n in range(4_000):
            file.write(f"31/12/2024, 21:05 - Cliente {n % 50}: mensaje {n}: ¿cuánto cuesta?\n{'segunda línea ' * 50}\n")
        file.write(f"{'sin fin ' * 100}\n" * 5_000)
    n_messages, peak_bytes = count_and_measure(path)
    assert n_messages == 4_000
    assert peak_bytes < 2**20 < path.stat().st_size / 5


def test_memory_does_not_grow_with_what_goes_beyond_the_longest_message(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    peaks = []
    for n_lines in (0, 50_000):
        path.write_text(android("Cliente 0: " + "x" * MAX_MESSAGE_CHARS) + "\n" * n_lines, encoding="utf-8")
        peaks.append(count_and_measure(path)[1])
    assert peaks[1] - peaks[0] < 100_000


# Who is the business


def test_several_senders_need_a_me_and_are_listed() -> None:
    with pytest.raises(ConfigurationError, match=r"--me.*'Ana', 'Sol'"):
        read(android("Ana: hola", "Sol: hola"))


def test_a_me_who_wrote_nothing_is_refused_with_the_senders() -> None:
    with pytest.raises(ConfigurationError, match=r"no message of 'Luna'.*'Ana', 'Sol'"):
        read(android("Ana: hola", "Sol: hola"), me="Luna")


def test_a_single_sender_is_a_customer() -> None:
    chat = read(android("Ana: hola"))
    assert (chat.messages[0].from_me, chat.report.messages, chat.report.own) == (False, 1, 0)


def test_the_report_counts_everybody() -> None:
    chat = read(android("Sol: hola", "Ana: hola", "Ana: precio", "Ana salió", "Luis: hola"), me="Sol")
    assert chat.report.senders == {"Sol": 1, "Ana": 2, "Luis": 1}
    assert chat.export.senders == ("Sol", "Ana", "Luis")
    assert (chat.report.messages, chat.report.own, chat.report.system_lines, chat.report.lines) == (3, 1, 1, 5)


# Plain text


def test_a_text_without_dates_is_one_message_a_line() -> None:
    chat = read("hola\n\n  ¿precio: laptop?  \ngracias")
    assert (chat.export.form, chat.export.date_order) == (Form.PLAIN, None)
    assert chat.said == [("customer", "hola"), ("customer", "¿precio: laptop?"), ("customer", "gracias")]
    assert chat.times == ["2024-01-01 10:00:00", "2024-01-01 10:00:03", "2024-01-01 10:00:06"]
    assert [message.line for message in chat.messages] == [1, 3, 4]
    assert "no line begins with a date" in chat.report.notes[0]


def test_a_plain_text_has_no_business() -> None:
    with pytest.raises(ConfigurationError, match="leave out --me"):
        read("hola", me="Sol")


# Properties

NAMES = ["Ana", "Electrónica Sol", "Don José - Taller", "+00 000", "王小明", "Camila 🌻", "- x -"]
CLOCKS: list[Callable[[datetime], str]] = [
    lambda t: f"{t:%H:%M}",
    lambda t: f"{t.hour}:{t:%M:%S}",
    lambda t: f"{t:%H.%M.%S}",
    *(
        lambda t, a=am, p=pm: f"{(t.hour + 11) % 12 + 1}:{t:%M:%S}{a if t.hour < 12 else p}"
        for am, pm in [
            (" AM", " PM"),
            ("\u202fAM", "\u202fPM"),
            (" am", " pm"),
            (" a.m.", " p.m."),
            (" a. m.", " p. m."),
            ("\u202fa.\u00a0m.", "\u202fp.\u00a0m."),
        ]
    ),
]


@dataclass(frozen=True)
class Style:
    """How one phone writes an export."""

    form: Form
    order: DateOrder
    separator: str
    short_year: bool
    padded: bool
    comma: str
    clock: int
    line_end: str

    def date(self, t: datetime) -> str:
        day, month = (f"{t:%d}", f"{t:%m}") if self.padded else (str(t.day), str(t.month))
        year = f"{t:%y}" if self.short_year and self.order is not DateOrder.YEAR_FIRST else f"{t:%Y}"
        parts = {
            DateOrder.DAY_FIRST: (day, month, year),
            DateOrder.MONTH_FIRST: (month, day, year),
            DateOrder.YEAR_FIRST: (year, month, day),
        }
        return self.separator.join(parts[self.order])

    def write(self, messages: Iterable[tuple[datetime, str, str]]) -> str:
        begin, end = ("[", "] ") if self.form is Form.IOS else ("", " - ")
        lines = (
            f"{begin}{self.date(t)}{self.comma}{CLOCKS[self.clock](t)}{end}{name}: {text}\n"
            for t, name, text in messages
        )
        return "".join(lines).replace("\n", self.line_end)


styles = st.builds(
    Style,
    form=st.sampled_from([Form.ANDROID, Form.IOS]),
    order=st.sampled_from(DateOrder),
    separator=st.sampled_from("/.-"),
    short_year=st.booleans(),
    padded=st.booleans(),
    comma=st.sampled_from([", ", " ", ",\u202f"]),
    clock=st.integers(0, len(CLOCKS) - 1),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
# Control characters end lines, colons make names; both have tests of their own.
texts = st.text(
    st.one_of(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=":"), st.just("\n")), max_size=60
).filter(lambda text: text == text.strip().strip(MARKS + " "))
LAST = datetime(2041, 1, 31, tzinfo=UTC)
times = st.integers(1_262_304_000, int(LAST.timestamp())).map(lambda s: datetime.fromtimestamp(s, UTC))
spoken = st.lists(st.tuples(times, st.sampled_from(NAMES), texts), min_size=1, max_size=20)


@settings(deadline=None)
@given(styles, spoken)
def test_what_is_written_in_any_form_is_read_back(style: Style, messages: list[tuple[datetime, str, str]]) -> None:
    if style.clock == 0:
        messages = [(t.replace(second=0), name, text) for t, name, text in messages]
    messages = sorted(messages, key=lambda message: message[0])
    messages.append((LAST, "Ana", "una fecha clara"))
    for _, name, text in messages:
        assume(not any(read_header(style.form, line) for line in text.split("\n")))
        assume(read_content(text) == ("text", text, "") and not is_signed_notice(name, text))
    chat = read(style.write(messages), me="Ana")
    assert (chat.export.form, chat.export.date_order) == (style.form, style.order)
    expected = [(t.timestamp(), name, text) for t, name, text in messages]
    assert [(m.sent_at, m.sender, m.text) for m in chat.messages] == expected
    assert chat.report.unreadable_lines == 0


fragments = st.sampled_from(
    [
        "31/12/24, 10:00 - ", "[31/12/24, 10:00:00] ", "12/31/24, 9:05 p. m. - ", "2024-1-1 1:1", "99/99/99, 99:99 - ",
        "Ana: ", "Sol: ventas: ", ": ", ":", " - ", "[", "]", "\n", "\r\n", "\r", "\x00", "\x85", "\u2028", "\ufeff",
        LRM, "\u202f", "<Multimedia omitido>", "a.jpg (archivo adjunto)", "<adjunto: ", ">", "Ana salió", "0000000",
    ]
)  # fmt: skip


assembled = st.lists(st.one_of(fragments, st.text(max_size=5))).map(
    lambda parts: "".join(parts).encode(errors="replace")
)


@settings(deadline=None)
@given(st.one_of(st.binary(), assembled), st.sampled_from([None, "Ana", "Sol", "Sol: ventas"]))
def test_no_file_raises_anything_but_the_documented_error(data: bytes, me: str | None) -> None:
    try:
        chat = read(data, me=me)
    except ConfigurationError:
        return
    assert len(chat.messages) == chat.report.messages + chat.report.own
    lines = [message.line for message in chat.messages]
    assert lines == sorted(set(lines))
    assert all(message.sender for message in chat.messages)


# Replay


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await yield_to_others(1)


async def yield_to_others(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., ChatExport]:
    def make(*rests: str, me: str | None = None) -> ChatExport:
        path = tmp_path / "chat.txt"
        path.write_text(android(*rests), encoding="utf-8")
        return ChatExport.open(path, me=me)

    return make


def inbound(events: Iterable[TransportEvent]) -> list[InboundMessage]:
    return [event for event in events if isinstance(event, InboundMessage)]


ENDED = Lost(DisconnectReason.ENDED, "end of file", retryable=False)


async def test_the_customers_messages_come_in_order_and_the_business_is_silent(
    make: Callable[..., ChatExport],
) -> None:
    replay = ReplayTransport(
        make("Ana: hola", "Sol: hola", "Luis: PTT-1.opus (archivo adjunto)", me="Sol"), prefix="x:"
    )
    events: list[TransportEvent] = []
    await replay.open(events.append)
    await until(lambda: len(events) == 3)
    assert events[0] == Opened()
    first, second = inbound(events)
    assert (first.id, first.chat, first.text, first.sender_name) == ("line-1", ChatId("x:Ana"), "hola", "Ana")
    assert first.sent_at == datetime(2024, 12, 31, 21, 5, tzinfo=UTC).timestamp()
    assert second.media is not None
    assert (second.id, second.kind, second.media.address, second.media.mime) == (
        "line-3", "voice", "PTT-1.opus", "audio/ogg",
    )  # fmt: skip
    assert (replay.delivered, replay.total) == (2, 2)
    await replay.close()


async def test_omitted_media_has_its_kind_and_no_reference(make: Callable[..., ChatExport]) -> None:
    replay = ReplayTransport(make("Ana: imagen omitida"))
    events: list[TransportEvent] = []
    await replay.open(events.append)
    await until(lambda: len(events) == 2)
    assert [(message.kind, message.media) for message in inbound(events)] == [("image", None)]
    await replay.close()


async def test_the_end_comes_after_the_last_acknowledgement(make: Callable[..., ChatExport]) -> None:
    replay = ReplayTransport(make("Ana: hola", "Ana: adiós"))
    events: list[TransportEvent] = []
    await replay.open(events.append)
    await until(lambda: len(events) == 3)
    await replay.acknowledge(["line-1", "unknown"])
    await yield_to_others(100)
    assert ENDED not in events
    await replay.acknowledge(["line-2"])
    await until(lambda: events[-1] == ENDED)
    await replay.send(OutboundMessage(chat=ChatId("export:Ana"), key="1", text="hasta luego"))
    await replay.close()


async def test_no_more_than_the_bound_is_ahead_of_acknowledgement(make: Callable[..., ChatExport]) -> None:
    replay = ReplayTransport(make(*(f"Ana: {n}" for n in range(100))), max_unacknowledged=7)
    events: list[TransportEvent] = []
    n_acknowledged = most = 0
    await replay.open(events.append)
    while ENDED not in events:
        await yield_to_others(50)
        arrived = [message.id for message in inbound(events)]
        most = max(most, len(arrived) - n_acknowledged)
        await replay.acknowledge(arrived[n_acknowledged : n_acknowledged + 3])
        n_acknowledged = min(n_acknowledged + 3, len(arrived))
    assert most == 7
    assert [message.text for message in inbound(events)] == [str(n) for n in range(100)]
    await replay.close()


async def test_what_was_not_acknowledged_comes_again_after_the_next_open(make: Callable[..., ChatExport]) -> None:
    replay = ReplayTransport(make(*(f"Ana: {n}" for n in range(10))), max_unacknowledged=4)
    first: list[TransportEvent] = []
    await replay.open(first.append)
    await until(lambda: len(first) == 5)
    await replay.acknowledge(["line-1", "line-3"])
    await replay.close()
    second: list[TransportEvent] = []
    await replay.open(second.append)
    await until(lambda: len(second) == 5)
    assert second[0] == Opened()
    assert [message.id for message in inbound(second)] == ["line-2", "line-4", "line-5", "line-6"]
    assert replay.delivered == 6
    await replay.close()


async def test_nothing_comes_after_close(make: Callable[..., ChatExport]) -> None:
    replay = ReplayTransport(make(*(f"Ana: {n}" for n in range(10))), max_unacknowledged=1)
    events: list[TransportEvent] = []
    await replay.open(events.append)
    await until(lambda: len(events) == 2)
    await replay.close()
    await replay.close()
    await replay.acknowledge(["line-1"])
    await yield_to_others(100)
    assert len(events) == 2


async def test_answers_are_heard_and_counted_while_open_and_refused_otherwise(
    make: Callable[..., ChatExport],
) -> None:
    answers: list[OutboundMessage] = []
    replay = ReplayTransport(make("Ana: hola"), on_answer=answers.append)
    answer = OutboundMessage(chat=ChatId("export:Ana"), key="1", text="hola")
    with pytest.raises(TransportError) as caught:
        await replay.send(answer)
    assert caught.value.sent == "no"
    with pytest.raises(TransportError):
        await replay.ping()
    await replay.open(lambda event: None)
    await replay.ping()
    await replay.send(answer)
    assert (answers, replay.sent) == ([answer], 1)
    await replay.close()


async def test_a_file_that_vanishes_ends_the_replay_with_a_reason(
    make: Callable[..., ChatExport], tmp_path: Path
) -> None:
    replay = ReplayTransport(make("Ana: hola"))
    (tmp_path / "chat.txt").unlink()
    events: list[TransportEvent] = []
    await replay.open(events.append)
    await until(lambda: len(events) == 2)
    (lost,) = [event for event in events if isinstance(event, Lost)]
    assert (lost.reason, lost.retryable) == (DisconnectReason.UNKNOWN, False)
    assert "cannot be read" in lost.detail
    await replay.close()


async def test_others_run_while_a_long_stretch_without_messages_is_read(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_text("sin dueño\n" * 20_000 + android("Ana: hola"), encoding="utf-8")
    replay = ReplayTransport(ChatExport.open(path))
    events: list[TransportEvent] = []
    await replay.open(events.append)
    turns = 0
    while len(events) < 2:
        await yield_to_others(1)
        turns += 1
    assert turns >= 40
    await replay.close()


# The example


def test_the_example_is_what_its_script_writes() -> None:
    script = runpy.run_path(str(EXAMPLES / "make_chat_export.py"))
    written = (EXAMPLES / "chat_export_es.txt").read_bytes().decode()
    assert written == "".join(script["export_lines"]())


def test_the_example_holds_two_days_of_six_customers_and_a_burst() -> None:
    export = ChatExport.open(EXAMPLES / "chat_export_es.txt", me="Electrónica Sol")
    messages = [message for message in export.messages() if not message.from_me]
    assert len({message.sender for message in messages}) == 6
    assert messages[-1].sent_at - messages[0].sent_at > timedelta(days=1).total_seconds()
    minutes = [(message.sender, message.sent_at // 60) for message in messages]
    assert max(map(minutes.count, minutes)) == 35
    assert (export.report.unreadable_lines, export.report.system_lines) == (1, 4)
    assert {"voice", "image", "unknown", "location"} <= {message.kind for message in messages}
