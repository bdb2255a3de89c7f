"""What a message carries: a text, a file that lies beside the export, or one that was left out of it."""

import re
from typing import NamedTuple

from ...messages import MessageKind
from .header import MARKS

_FILE = r"(?P<file>[^/\\<>\n]+\.[0-9A-Za-z]{1,10})"
_ATTACHED = re.compile(rf"{_FILE} \((?:file attached|archivo adjunto|arquivo anexado|ficheiro anexado)\)")
_ATTACHED_TAG = re.compile(rf"<(?:attached|adjunto|anexado|anexo): {_FILE}>")
_PAGES = re.compile(rf"(?P<file>.+) • [{MARKS}]*[0-9]+ \w+")
_EDITED = re.compile(
    rf"[{MARKS}\s]*<(?:This message was edited|Se editó este mensaje|Esta mensagem foi editada|Mensagem editada)\.?>$"
)
_LOCATION = re.compile(r"(?:location|ubicación|localização): https://maps\.\S+", re.IGNORECASE)
_POLL = re.compile(r"(?:POLL|ENCUESTA|ENQUETE|SONDAGEM):")
_MAX_NOTE_CHARS = 60  # longer than any sentence that stands for a file

# How Android says that a file was left out tells nothing about it; iOS names its kind.
_OMITTED: dict[str, MessageKind] = {
    "media omitted": "unknown",
    "multimedia omitido": "unknown",
    "archivo omitido": "unknown",
    "mídia oculta": "unknown",
    "mídia omitida": "unknown",
    "arquivo de mídia oculto": "unknown",
    "ficheiro não revelado": "unknown",
    "image omitted": "image",
    "imagen omitida": "image",
    "imagem omitida": "image",
    "imagem oculta": "image",
    "imagem ocultada": "image",
    "gif omitted": "video",  # WhatsApp keeps a GIF as a film
    "gif omitido": "video",
    "audio omitted": "audio",
    "audio omitido": "audio",
    "áudio omitido": "audio",
    "áudio oculto": "audio",
    "áudio ocultado": "audio",
    "video omitted": "video",
    "video omitido": "video",
    "vídeo omitido": "video",
    "vídeo oculto": "video",
    "vídeo ocultado": "video",
    "video note omitted": "video",
    "nota de video omitida": "video",
    "nota de vídeo omitida": "video",
    "sticker omitted": "sticker",
    "sticker omitido": "sticker",
    "figurinha omitida": "sticker",
    "document omitted": "document",
    "documento omitido": "document",
    "contact card omitted": "contact",
    "tarjeta de contacto omitida": "contact",
    "cartão do contato omitido": "contact",
    "cartão de contato omitido": "contact",
}

_BY_EXTENSION: dict[str, tuple[MessageKind, str]] = {
    "jpg": ("image", "image/jpeg"),
    "jpeg": ("image", "image/jpeg"),
    "png": ("image", "image/png"),
    "webp": ("image", "image/webp"),
    "gif": ("image", "image/gif"),
    "heic": ("image", "image/heic"),
    "mp4": ("video", "video/mp4"),
    "mov": ("video", "video/quicktime"),
    "3gp": ("video", "video/3gpp"),
    "opus": ("voice", "audio/ogg"),  # only WhatsApp's own recorder writes it
    "ogg": ("audio", "audio/ogg"),
    "mp3": ("audio", "audio/mpeg"),
    "m4a": ("audio", "audio/mp4"),
    "aac": ("audio", "audio/aac"),
    "amr": ("audio", "audio/amr"),
    "wav": ("audio", "audio/wav"),
    "vcf": ("contact", "text/vcard"),
    "pdf": ("document", "application/pdf"),
}


class Content(NamedTuple):
    """*text* is the caption where there is a file; *file_name* is empty where the file was left out."""

    kind: MessageKind
    text: str
    file_name: str = ""


def read_content(written: str) -> Content:
    """What the text behind a sender's name means."""
    text = _EDITED.sub("", written) if written.endswith(">") else written
    return _read_attached(text) or _read_omitted(text) or _read_text(text)


def mime_of(file_name: str) -> str:
    """The media type that the name tells; empty when it tells none."""
    return _BY_EXTENSION.get(_extension(file_name), ("document", ""))[1]


def _read_attached(text: str) -> Content | None:
    first, _, caption = text.partition("\n")
    if first.endswith(")") and (match := _ATTACHED.fullmatch(first.strip(MARKS))):
        return Content(_kind_of(match["file"]), caption.strip(MARKS + "\n "), match["file"])
    if text.endswith(">") and (match := _ATTACHED_TAG.search(text, text.rfind("<"))):
        return Content(_kind_of(match["file"]), _caption_before(text[: match.start()], match["file"]), match["file"])
    return None


def _read_omitted(text: str) -> Content | None:
    first, _, below = text.partition("\n")
    if kind := _omitted_kind(first):
        return Content(kind, below.strip(MARKS + "\n "))
    before, mark, last = text.rpartition("\u200e")  # iOS sets the mark before words of its own
    if mark and (kind := _omitted_kind(last)):
        return Content(kind, _caption_before(before))
    return None


def _read_text(text: str) -> Content:
    bare = text.strip(MARKS + " ")
    if _LOCATION.fullmatch(bare):
        return Content("location", bare)
    return Content("unknown" if _POLL.match(bare) else "text", bare)


def _omitted_kind(sentence: str) -> MessageKind | None:
    if len(sentence) > _MAX_NOTE_CHARS:
        return None
    return _OMITTED.get(sentence.strip(MARKS + " <>.").casefold())


def _caption_before(written: str, file_name: str = "") -> str:
    caption = written.strip(MARKS + "\n ")
    # iOS writes "name.pdf • 2 pages" before a document: its words, not the sender's.
    pages = _PAGES.fullmatch(caption)
    return "" if pages and (not file_name or file_name.endswith(pages["file"])) else caption


def _extension(file_name: str) -> str:
    return file_name.rpartition(".")[2].lower()


def _kind_of(file_name: str) -> MessageKind:
    if file_name.startswith("STK-") or "-STICKER-" in file_name:
        return "sticker"
    return _BY_EXTENSION.get(_extension(file_name), ("document", ""))[0]
