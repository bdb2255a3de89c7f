"""A person answers in the bot's place, and the bot is silent."""

from dataclasses import replace

from ..messages import Position

KIND = "handoff"


def is_silent(position: Position | None, now_s: float) -> bool:
    """Whether a person has taken over where the conversation stands, and time is not over."""
    if position is None or position.kind != KIND:
        return False
    return position.expires_at is None or now_s < position.expires_at


def change_of(before: Position | None, after: Position | None) -> str:
    """What became of a handoff between two positions: it "began", it "ended", or nothing."""
    was, is_now = (position is not None and position.kind == KIND for position in (before, after))
    return "" if was == is_now else "began" if is_now else "ended"


def taken_over(position: Position | None, until_s: float | None) -> Position:
    """Where a conversation stands once a person writes in it: the bot is silent until *until_s*, or longer.

    None: until it is released.

    A flow that handed the chat over goes on behind that step afterwards. One that waited for an answer has ended: what
    it asked was answered by a person, or does not matter any more.
    """
    if position is None or position.kind != KIND:
        return Position(flow="", step="", kind=KIND, expires_at=until_s)
    if position.expires_at is None or (until_s is not None and position.expires_at > until_s):
        return position
    return replace(position, expires_at=until_s)
