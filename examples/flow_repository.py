"""FlowRepository alone: what the owner wrote, found by what people type."""

import asyncio

from tecnobot_core import Flow, FlowRepository
from tecnobot_core.flows import MemoryFlowStore

FLOWS = [
    Flow("greeting", event="welcome").on("hola", "buenas", "👋").say("¡Hola! ¿En qué te ayudo?", "Precios", "Horario"),
    Flow("hours").on("horario", "a qué hora abren").say("Abrimos de lunes a viernes, de 9 a 20 horas."),
    Flow("shipping").on("envío", "gastos de envío", "mandan a domicilio").say("El envío cuesta 5 €."),
    Flow("yes").on("sí", "vale", kind="exact").say("Perfecto."),
]


async def main() -> None:
    """Load, match, change."""
    # With a database: PostgresFlowStore(database), from tecnobot_core.adapters.postgres.
    repository = FlowRepository(MemoryFlowStore(FLOWS), "shop")
    await repository.load()
    await repository.add(Flow("warranty").on("garantía").say("Todo tiene tres años de garantía."))

    for text in ("HOLAAA!!", "¿Cuáles son los gastos de envio?", "Si", "sí, pero ¿y la GARANTIA?", "👋🏽", "jirafas"):
        match = repository.match(text)
        print(f"{text:35}", f"{match.flow.id} (by {match.matched!r})" if match else "nothing fits")


if __name__ == "__main__":
    asyncio.run(main())
