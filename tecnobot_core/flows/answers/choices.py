"""One of several answers: a label of a list, or yes and no."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from ..folding import fold, fold_words
from . import limits as bounds
from .refusals import AnswerRefused

MIN_BEGINNING_CHARS = 3  # of a word that is not whole: "no" is no beginning of "Nogal"

_NUMBER = re.compile(r"0*([0-9]{1,3})(?:o|a|ro|ra|do|da|er|to|ta|st|nd|rd|th)?")
_COUNTED = (
    "uno um one primero primera primer primeiro primeira first",
    "dos dois duas two segundo segunda second",
    "tres three tercero tercera tercer terceiro terceira third",
    "cuatro quatro four cuarto cuarta quarto quarta fourth",
    "cinco five quinto quinta fifth",
    "seis six sexto sexta sixth",
    "siete sete seven septimo septima setimo setima seventh",
    "ocho oito eight octavo octava oitavo oitava eighth",
    "nueve nove nine noveno novena nono nona ninth",
    "diez dez ten decimo decima tenth",
)
_COUNTS = {word: number for number, words in enumerate(_COUNTED, 1) for word in words.split()}
# Neither "no" nor plurals: "no quiero pizza" is no pizza, and "las dos" is both.
_AROUND = frozenset(
    {"el", "la", "lo", "o", "a", "the", "opcion", "opcao", "option", "numero", "number", "quiero", "quero", "prefiero"}
    | {"por", "favor", "porfa", "please", "gracias", "obrigado", "obrigada", "thanks"}
)
_KEYCAP = "\u20e3"


def read_choice(text: str, limits: Mapping[str, object]) -> str:
    """The label that is meant: by itself, by its number from 1 in figures or words, or by its only beginning.

    A beginning is whole words, or at least 3 letters. Where number and beginning mean different labels it is refused.
    """
    labels = bounds.labels(limits)
    words = fold_words(text.replace(_KEYCAP, ""))
    if (exact := _same(" ".join(words), labels)) is not None:
        return exact
    bare = _without(words, _AROUND)
    if (exact := _same(" ".join(bare), labels)) is not None:
        return exact
    meant = _beginning(" ".join(words), labels) | _beginning(" ".join(bare), labels)
    if (number := _count(bare)) is not None and 1 <= number <= len(labels):
        meant.add(labels[number - 1])
    if len(meant) != 1:
        raise AnswerRefused("ambiguous_choice" if meant else "not_a_choice")
    return meant.pop()


def _same(folded: str, labels: Sequence[str]) -> str | None:
    return next((label for label in labels if fold(label) == folded), None)


def _beginning(folded: str, labels: Sequence[str]) -> set[str]:
    """The labels that begin so."""
    enough = len(folded) >= MIN_BEGINNING_CHARS
    return {label for label in labels if f"{fold(label)} ".startswith(folded if enough else f"{folded} ")}


def _count(words: Sequence[str]) -> int | None:
    if len(words) != 1:
        return None
    match = _NUMBER.fullmatch(words[0])
    return int(match[1]) if match else _COUNTS.get(words[0])


def _without(words: Sequence[str], around: frozenset[str]) -> Sequence[str]:
    """*words* from the first to the last that is not *around* them."""
    kept = [place for place, word in enumerate(words) if word not in around]
    return words[kept[0] : kept[-1] + 1] if kept else words


_Mood = Literal["yes", "no", "stress", "polite"]
_PHRASES: Mapping[_Mood, str] = {
    "yes": "si/s/sip/sipi/simon/ok/okay/okey/oki/okis/vale/dale/bueno/listo/perfecto/correcto/exacto/afirmativo/acepto/"
    "confirmo/de acuerdo/esta bien/como no/sin problema/sim/isso/com certeza/pode ser/yes/yep/yup/yeah/sure/of course/"
    "👍/👌/✅/✔/☑/🆗",
    "no": "no/n/nop/nope/nel/nah/nones/nunca/jamas/negativo/para nada/de ninguna manera/de ningun modo/en absoluto/"
    "tampoco/nao/never/no way/👎/❌/✖/🚫",
    "stress": "claro/por supuesto/desde luego/obvio/seguro/ya/definitivamente/que/pues/creo/eso/mejor",
    "polite": "por favor/porfa/porfavor/gracias/muchas gracias/senor/senora/senorita/amigo/amiga/quiero/please/thanks/"
    "thank you/obrigado/obrigada/hoy/por ahora/por el momento",
}
YES_PHRASES = tuple(_PHRASES["yes"].split("/"))
NO_PHRASES = tuple(_PHRASES["no"].split("/"))
_MOODS = {phrase: mood for mood, phrases in _PHRASES.items() for phrase in phrases.split("/")}
_STRESS_ALONE = frozenset({"claro", "por supuesto", "desde luego", "obvio", "seguro"})
_LONGEST_PHRASE = 3
_DOUBLED = re.compile(r"(.)\1+")


def read_yes_no(text: str, language: str) -> bool:
    """Whether it is a yes, in Spanish, Portuguese or English; refused when it says both, neither or anything more."""
    words = fold_words(text)
    if words == ["y"] and language == "en":
        return True
    phrases = list(_phrases(words))
    moods = {_MOODS.get(phrase, "") for phrase in phrases}
    if "" in moods or {"yes", "no"} <= moods:
        raise AnswerRefused("not_yes_or_no")
    if "no" in moods:
        return False
    if "yes" in moods or _STRESS_ALONE.intersection(phrases):
        return True
    raise AnswerRefused("not_yes_or_no")


def _phrases(words: Sequence[str]) -> list[str]:
    """*words*, those that belong together as one."""
    phrases = []
    place = 0
    while place < len(words):
        runs = (words[place : place + length] for length in range(_LONGEST_PHRASE, 0, -1))
        run = next((run for run in runs if " ".join(run) in _MOODS), words[place : place + 1])
        phrase = " ".join(run)
        phrases.append(phrase if phrase in _MOODS else _DOUBLED.sub(r"\1", phrase))
        place += len(run)
    return phrases
