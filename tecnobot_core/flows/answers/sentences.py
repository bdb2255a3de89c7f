"""Why an answer is not taken, as a sentence for the person who gave it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from ..steps import Ask
from ..templates import render
from . import limits as bounds
from .refusals import AnswerRefused, Reason

MAX_SHOWN_CHOICES = 10

_Sentences: TypeAlias = Mapping[str, str]

# By reason. "reason.limit" is said instead where the question has that limit, which stands in the place {limit};
# "too_short.1" and "too_early.today" where the limit is just that.
_SPANISH: _Sentences = {
    "empty": "Tu mensaje llegó sin texto.",
    "not_text": "Necesito que me lo escribas.",
    "too_short": "Es demasiado corto.",
    "too_short.limit": "Tiene que tener al menos {limit} caracteres.",
    "too_short.1": "Tiene que tener al menos 1 carácter.",
    "too_long": "Es demasiado largo.",
    "too_long.limit": "Tiene que tener como máximo {limit} caracteres.",
    "too_long.1": "Tiene que tener como máximo 1 carácter.",
    "not_a_number": "Tiene que ser un número.",
    "not_an_integer": "Tiene que ser un número entero, sin decimales.",
    "too_small": "Es un número demasiado pequeño.",
    "too_small.limit": "Tiene que ser al menos {limit}.",
    "too_large": "Es un número demasiado grande.",
    "too_large.limit": "Tiene que ser como máximo {limit}.",
    "not_a_date": "Tiene que ser una fecha, por ejemplo 31/12/2030.",
    "too_early": "Es una fecha demasiado temprana.",
    "too_early.limit": "Tiene que ser el {limit} o después.",
    "too_early.today": "Tiene que ser hoy o después.",
    "too_late": "Es una fecha demasiado tardía.",
    "too_late.limit": "Tiene que ser el {limit} o antes.",
    "too_late.today": "Tiene que ser hoy o antes.",
    "not_an_email": "Tiene que ser un correo, por ejemplo ana@ejemplo.com.",
    "not_a_phone": "Tiene que ser un número de teléfono, con el código de su país, por ejemplo +52 55 1234 5678.",
    "not_a_choice": "Tiene que ser una de las opciones.",
    "not_a_choice.limit": "Tiene que ser una de estas opciones: {limit}.",
    "ambiguous_choice": "Puede ser más de una de las opciones.",
    "ambiguous_choice.limit": "Puede ser más de una. Escribe entera una de estas opciones: {limit}.",
    "not_yes_or_no": "Tiene que ser un sí o un no.",
    "not_a_file": "Tienes que mandarme un archivo.",
    "not_a_file.limit": "Tienes que mandarme {limit}.",
    "wrong_kind": "No puedo usar ese tipo de archivo.",
    "wrong_kind.limit": "Tienes que mandarme {limit}.",
    "or": " o ",
    "voice": "una nota de voz",
    "audio": "un audio",
    "image": "una imagen",
    "video": "un video",
    "document": "un documento",
    "sticker": "un sticker",
}
_PORTUGUESE: _Sentences = {
    "empty": "Sua mensagem chegou sem texto.",
    "not_text": "Preciso que você escreva.",
    "too_short": "É curto demais.",
    "too_short.limit": "Precisa ter pelo menos {limit} caracteres.",
    "too_short.1": "Precisa ter pelo menos 1 caractere.",
    "too_long": "É longo demais.",
    "too_long.limit": "Precisa ter no máximo {limit} caracteres.",
    "too_long.1": "Precisa ter no máximo 1 caractere.",
    "not_a_number": "Precisa ser um número.",
    "not_an_integer": "Precisa ser um número inteiro, sem decimais.",
    "too_small": "É um número pequeno demais.",
    "too_small.limit": "Precisa ser pelo menos {limit}.",
    "too_large": "É um número grande demais.",
    "too_large.limit": "Precisa ser no máximo {limit}.",
    "not_a_date": "Precisa ser uma data, por exemplo 31/12/2030.",
    "too_early": "É uma data cedo demais.",
    "too_early.limit": "Precisa ser no dia {limit} ou depois.",
    "too_early.today": "Precisa ser hoje ou depois.",
    "too_late": "É uma data tarde demais.",
    "too_late.limit": "Precisa ser no dia {limit} ou antes.",
    "too_late.today": "Precisa ser hoje ou antes.",
    "not_an_email": "Precisa ser um e-mail, por exemplo ana@exemplo.com.",
    "not_a_phone": "Precisa ser um número de telefone, com o código do país, por exemplo +55 11 91234-5678.",
    "not_a_choice": "Precisa ser uma das opções.",
    "not_a_choice.limit": "Precisa ser uma destas opções: {limit}.",
    "ambiguous_choice": "Pode ser mais de uma das opções.",
    "ambiguous_choice.limit": "Pode ser mais de uma. Escreva por inteiro uma destas opções: {limit}.",
    "not_yes_or_no": "Precisa ser um sim ou um não.",
    "not_a_file": "Você precisa me mandar um arquivo.",
    "not_a_file.limit": "Você precisa me mandar {limit}.",
    "wrong_kind": "Não consigo usar esse tipo de arquivo.",
    "wrong_kind.limit": "Você precisa me mandar {limit}.",
    "or": " ou ",
    "voice": "uma nota de voz",
    "audio": "um áudio",
    "image": "uma imagem",
    "video": "um vídeo",
    "document": "um documento",
    "sticker": "uma figurinha",
}
_ENGLISH: _Sentences = {
    "empty": "Your message came without any text.",
    "not_text": "I need it in writing.",
    "too_short": "It is too short.",
    "too_short.limit": "It must have at least {limit} characters.",
    "too_short.1": "It must have at least 1 character.",
    "too_long": "It is too long.",
    "too_long.limit": "It must have at most {limit} characters.",
    "too_long.1": "It must have at most 1 character.",
    "not_a_number": "It must be a number.",
    "not_an_integer": "It must be a whole number, without decimals.",
    "too_small": "The number is too small.",
    "too_small.limit": "It must be at least {limit}.",
    "too_large": "The number is too large.",
    "too_large.limit": "It must be at most {limit}.",
    "not_a_date": "It must be a date, for example 12/31/2030.",
    "too_early": "The date is too early.",
    "too_early.limit": "It must be {limit} or later.",
    "too_early.today": "It must be today or later.",
    "too_late": "The date is too late.",
    "too_late.limit": "It must be {limit} or earlier.",
    "too_late.today": "It must be today or earlier.",
    "not_an_email": "It must be an e-mail address, for example ana@example.com.",
    "not_a_phone": "It must be a telephone number with the code of its country, for example +44 20 7946 0000.",
    "not_a_choice": "It must be one of the choices.",
    "not_a_choice.limit": "It must be one of these: {limit}.",
    "ambiguous_choice": "It could be more than one of the choices.",
    "ambiguous_choice.limit": "It could be more than one. Write one of these in full: {limit}.",
    "not_yes_or_no": "It must be a yes or a no.",
    "not_a_file": "You have to send me a file.",
    "not_a_file.limit": "You have to send me {limit}.",
    "wrong_kind": "I cannot use that kind of file.",
    "wrong_kind.limit": "You have to send me {limit}.",
    "or": " or ",
    "voice": "a voice note",
    "audio": "an audio file",
    "image": "an image",
    "video": "a video",
    "document": "a document",
    "sticker": "a sticker",
}
_LANGUAGES: Mapping[str, _Sentences] = {"es": _SPANISH, "pt": _PORTUGUESE, "en": _ENGLISH}


def explain(ask: Ask, refusal: AnswerRefused, language: str = "es") -> str:
    """Why the answer to *ask* is not taken and what is wanted, in "es", "pt" or "en"; in Spanish for any other.

    Numbers and dates are shown as *language* writes them. It never holds the answer.
    """
    sentences = _LANGUAGES.get(language, _SPANISH)
    reason = refusal.reason
    limit = _LIMITS[reason](ask, sentences, language) if reason in _LIMITS else ""
    # Of decimals only digits are counted, and they have no such limit.
    if not limit or (reason == "too_long" and ask.type != "text"):
        return sentences[reason]
    exact = sentences.get(f"{reason}.{limit}") if limit in ("1", bounds.TODAY) else None
    return exact or sentences[f"{reason}.limit"].replace("{limit}", limit)


def _bound(name: str) -> Callable[[Ask, _Sentences, str], str]:
    return lambda ask, sentences, language: _shown(ask.limits.get(name), language)


def _shown(limit: object, language: str) -> str:
    return render("{limit}", {"limit": limit}, language=language)


def _choices(ask: Ask, sentences: _Sentences, language: str) -> str:
    labels = bounds.labels(ask.limits)
    more = ["…"] if len(labels) > MAX_SHOWN_CHOICES else []
    return ", ".join([*labels[:MAX_SHOWN_CHOICES], *more])


def _kinds(ask: Ask, sentences: _Sentences, language: str) -> str:
    if ask.limits.get("kinds") is None:
        return ""
    return _joined([sentences[kind] for kind in bounds.kinds(ask.limits)], sentences["or"])


def _joined(parts: Sequence[str], last: str) -> str:
    return last.join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


_LIMITS: Mapping[Reason, Callable[[Ask, _Sentences, str], str]] = {
    "too_short": _bound("min"),
    "too_small": _bound("min"),
    "too_early": _bound("min"),
    "too_long": _bound("max"),
    "too_large": _bound("max"),
    "too_late": _bound("max"),
    "not_a_choice": _choices,
    "ambiguous_choice": _choices,
    "not_a_file": _kinds,
    "wrong_kind": _kinds,
}
