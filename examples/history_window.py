"""HistoryWindow alone: what a model sees of a conversation that grows."""

from tecnobot_core import ChatMessage, HistoryWindow

CONVERSATION = [
    ChatMessage("user", "Hola, mi pedido es el 90211", pinned=True),
    ChatMessage("assistant", "¡Hola! Lo busco."),
    ChatMessage("user", "¿Cuándo llega?"),
    ChatMessage("assistant", "El jueves."),
    ChatMessage("user", "¿Y puedo cambiar la dirección?"),
    ChatMessage("assistant", "Sí, ¿a cuál?"),
    ChatMessage("user", "A la calle Mayor 5. " + "Está junto a la farmacia, con una puerta verde. " * 8),
]


def show(title: str, window: HistoryWindow, rows: list[ChatMessage]) -> None:
    """Print what *window* selects."""
    selection = window.select(rows, system="Eres el asistente de una tienda.")
    print(f"{title}: {selection.tokens} tokens, {len(selection.dropped)} dropped, truncated: {selection.truncated}")
    for message in selection.messages:
        print(f"    {message.role:9} {message.content[:70]}")


def main() -> None:
    """A number of messages, a token budget, and a window that moves in steps."""
    show("the last 3, and what is pinned", HistoryWindow(3), CONVERSATION)
    show("at most 60 tokens", HistoryWindow(max_tokens=60), CONVERSATION)
    # With slack the first row stays the same for a while, so that the provider's prompt cache finds it again.
    for length in (3, 5, 7):
        show(f"after {length} messages, slack 2", HistoryWindow(3, slack=2, keep_pinned=0), CONVERSATION[:length])


if __name__ == "__main__":
    main()
