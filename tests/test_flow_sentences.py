"""Why an answer is not taken, in words."""

from datetime import date
from typing import Any, get_args

import pytest

from tecnobot_core.flows.answers import AnswerRefused, Reason, explain, read_answer
from tecnobot_core.flows.steps import AnswerType, Ask


def ask(type: AnswerType = "text", **limits: object) -> Ask:
    return Ask(text="¿?", into="x", type=type, limits=limits)


def why(question: Ask, text: str, language: str = "es", **fields: Any) -> str:
    with pytest.raises(AnswerRefused) as caught:
        read_answer(question, text, today=date(2026, 5, 4), language=language, **fields)
    return explain(question, caught.value, language)


@pytest.mark.parametrize(
    ("question", "text", "sentence"),
    [
        (ask(), " ", "Tu mensaje llegó sin texto."),
        (ask(min=2), "a", "Tiene que tener al menos 2 caracteres."),
        (ask(max=1), "ab", "Tiene que tener como máximo 1 carácter."),
        (ask("integer", min=18), "x", "Tiene que ser un número."),
        (ask("integer", min=18), "17", "Tiene que ser al menos 18."),
        (ask("integer", min=18.0), "17", "Tiene que ser al menos 18."),
        (ask("integer", max=99), "100", "Tiene que ser como máximo 99."),
        (ask("integer", min=1), "9" * 16, "Es un número demasiado grande."),
        (ask("integer"), "1,5", "Tiene que ser un número entero, sin decimales."),
        (ask("decimal", min="0.5", max=9), "1," + "1" * 17, "Es demasiado largo."),
        (ask("date"), "x", "Tiene que ser una fecha, por ejemplo 31/12/2030."),
        (ask("date", min="2026-12-31"), "1/1/2026", "Tiene que ser el 31/12/2026 o después."),
        (ask("date", min=date(2026, 12, 31)), "1/1/2026", "Tiene que ser el 31/12/2026 o después."),
        (ask("date", max="today"), "1/1/2027", "Tiene que ser hoy o antes."),
        (ask("choice", choices=("S", "M")), "L", "Tiene que ser una de estas opciones: S, M."),
        (ask("choice", choices=["limit"]), "L", "Tiene que ser una de estas opciones: limit."),
        (
            ask("choice", choices=("pan negro", "pan rico")),
            "pan",
            "Puede ser más de una. Escribe entera una de estas opciones: pan negro, pan rico.",
        ),
        (ask("yes_no"), "quizás", "Tiene que ser un sí o un no."),
        (ask("email"), "ana", "Tiene que ser un correo, por ejemplo ana@ejemplo.com."),
        (ask("file"), "ya", "Tienes que mandarme un archivo."),
        (ask("file", kinds=["image"]), "ya", "Tienes que mandarme una imagen."),
        (
            ask("file", kinds=["image", "document", "video"]),
            "",
            "Tienes que mandarme una imagen, un documento o un video.",
        ),
    ],
)
def test_a_refused_answer_is_told_what_is_wanted(question: Ask, text: str, sentence: str) -> None:
    assert why(question, text) == sentence


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("es", "Tiene que ser el 31/12/2026 o después."),
        ("pt", "Precisa ser no dia 31/12/2026 ou depois."),
        ("en", "It must be 12/31/2026 or later."),
        ("fr", "Tiene que ser el 31/12/2026 o después."),
    ],
)
def test_it_is_said_in_the_language_of_the_person(language: str, sentence: str) -> None:
    assert why(ask("date", min="2026-12-31"), "1/1/2026", language) == sentence


def test_a_long_list_of_choices_is_cut() -> None:
    question = ask("choice", choices=tuple(f"opción {n}" for n in range(30)))
    assert why(question, "x").endswith("opción 9, ….")


@pytest.mark.parametrize("language", ["es", "pt", "en"])
@pytest.mark.parametrize("reason", get_args(Reason))
def test_every_reason_has_a_sentence_with_and_without_a_limit(reason: Reason, language: str) -> None:
    questions = [ask(), ask(min=1, max=1), ask(min=2, max=2), ask("date", min="today", max="today")]
    if "choice" in reason:
        questions = [ask("choice", choices=("a", "{reason}"))]
    questions += [ask("file", kinds=["voice", "audio", "sticker"])] if "choice" not in reason else []
    for question in questions:
        sentence = explain(question, AnswerRefused(reason), language)
        assert sentence.endswith(".")
        assert "{limit}" not in sentence
        assert reason not in sentence
