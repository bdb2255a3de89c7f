"""What flows say where their owner wrote no words: around forms, and to remind."""

from collections.abc import Mapping
from dataclasses import dataclass

from .answers.choices import NO_PHRASES, YES_PHRASES
from .steps import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """The sentences and choices of one language.

    ``agree`` and ``refuse`` answer the consent of a form. Under its ``summary`` stand ``confirm``, ``correct`` and
    ``cancel``; ``which`` asks what is to be corrected, and ``back`` is nothing. ``unknown`` is said to what is none of
    these, ``discarded`` when a form is left without a record, ``reminder`` before a question that is asked again.
    """

    agree: Choice
    refuse: Choice
    summary: str
    confirm: Choice
    correct: Choice
    cancel: Choice
    which: str
    back: Choice
    unknown: str
    discarded: str
    reminder: str


SPANISH = Phrases(
    agree=Choice(label="Sí", keywords=(*YES_PHRASES, "sí, acepto", "sí acepto", "claro", "claro que sí")),
    refuse=Choice(label="No", keywords=(*NO_PHRASES, "no acepto", "no, gracias")),
    summary="Estos son tus datos. ¿Están bien?",
    confirm=Choice(
        label="Confirmar", keywords=(*YES_PHRASES, "confirmado", "todo bien", "están bien", "sí, están bien")
    ),
    correct=Choice(label="Corregir", keywords=("corregir algo", "cambiar", "editar", "modificar", *NO_PHRASES)),
    cancel=Choice(label="Cancelar", keywords=("cancela", "cancelado", "salir", "déjalo")),
    which="¿Qué quieres corregir?",
    back=Choice(label="Nada", keywords=("volver", "atrás", "ninguno", "ninguna", *NO_PHRASES)),
    unknown="Elige una de las opciones, por favor.",
    discarded="De acuerdo. No guardé ningún dato.",
    reminder="¿Sigues ahí? Nos quedamos en esta pregunta:",
)

PORTUGUESE = Phrases(
    agree=Choice(label="Sim", keywords=(*YES_PHRASES, "sim, aceito", "aceito", "concordo", "claro", "claro que sim")),
    refuse=Choice(label="Não", keywords=(*NO_PHRASES, "não aceito", "não, obrigado", "não, obrigada")),
    summary="Estes são os seus dados. Estão corretos?",
    confirm=Choice(label="Confirmar", keywords=(*YES_PHRASES, "correto", "confirmado", "tudo certo", "estão corretos")),
    correct=Choice(label="Corrigir", keywords=("corrigir algo", "mudar", "alterar", "editar", *NO_PHRASES)),
    cancel=Choice(label="Cancelar", keywords=("cancela", "cancelado", "sair", "deixa para lá")),
    which="O que você quer corrigir?",
    back=Choice(label="Nada", keywords=("voltar", "nenhum", "nenhuma", *NO_PHRASES)),
    unknown="Escolha uma das opções, por favor.",
    discarded="Tudo bem. Não guardei nenhum dado.",
    reminder="Você ainda está aí? Paramos nesta pergunta:",
)

ENGLISH = Phrases(
    agree=Choice(label="Yes", keywords=(*YES_PHRASES, "yes, I agree", "I agree", "agreed", "y")),
    refuse=Choice(label="No", keywords=(*NO_PHRASES, "I don't agree", "I do not agree", "no thanks", "no, thank you")),
    summary="This is what you told me. Is it right?",
    confirm=Choice(label="Confirm", keywords=(*YES_PHRASES, "correct", "right", "that's right", "it is right")),
    correct=Choice(label="Change", keywords=("change something", "correct it", "edit", "fix", *NO_PHRASES)),
    cancel=Choice(label="Cancel", keywords=("cancelled", "canceled", "quit", "stop")),
    which="What would you like to change?",
    back=Choice(label="Nothing", keywords=("back", "go back", "none", *NO_PHRASES)),
    unknown="Please choose one of these.",
    discarded="All right. I kept nothing.",
    reminder="Are you still there? We stopped at this question:",
)

_LANGUAGES: Mapping[str, Phrases] = {"es": SPANISH, "pt": PORTUGUESE, "en": ENGLISH}


def phrases_in(language: str) -> Phrases:
    """Those of "es", "pt" or "en"; Spanish for any other language, as numbers and dates are shown."""
    return _LANGUAGES.get(language, SPANISH)
