"""What a file is, by its first bytes: names and declared types are only what somebody says."""

SNIFF_BYTES = 512

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
# The only text controls; any other control character is a sign of binary data.
_TEXT_CONTROLS = frozenset("\t\n\r\f\x1b")


def image_type(head: bytes) -> str | None:
    """The MIME type of a PNG, JPEG, WebP or GIF that begins with *head*; None for anything else."""
    for signature, mime in _SIGNATURES:
        if head.startswith(signature):
            return mime
    return "image/webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


def is_text(head: bytes) -> bool:
    """Whether what begins with *head* can only be text: a page, a playlist, source code."""
    head = head[:SNIFF_BYTES]
    if head.startswith(b"#!AMR"):  # a recording whose signature is text, and may be all of its first bytes
        return False
    if head.startswith((b"\xff\xfe<", b"\xfe\xff\x00<")):
        return True
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3 or len(head) < SNIFF_BYTES:
            return False
        text = head[: error.start].decode("utf-8")  # cut inside a character
    return all(character >= " " or character in _TEXT_CONTROLS for character in text)
