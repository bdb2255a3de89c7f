"""Forms: asked field by field, shown, corrected, confirmed; nothing is left of one that was not."""

from dataclasses import replace
from typing import Any

import pytest

from tecnobot_core.errors import FlowError
from tecnobot_core.flows.context import FlowContext, Outcome
from tecnobot_core.flows.expressions import Expression
from tecnobot_core.flows.phrases import ENGLISH, PORTUGUESE, SPANISH, Phrases
from tecnobot_core.flows.program import Program
from tecnobot_core.flows.steps import (
    AnyStep,
    Ask,
    Call,
    Do,
    End,
    Finish,
    Form,
    FormField,
    Goto,
    Jump,
    Repeat,
    Send,
)
from tecnobot_core.flows.templates import render
from tecnobot_core.messages import FormRecord
from tests.flow_chat import Chat

NAME = Ask(text="¿Tu nombre?", into="name", label="Nombre")
AGE = Ask(text="¿Tu edad?", into="age", label="Edad", type="integer", retry="Eso no: {reason}")
CITY = Ask(text="¿Tu ciudad?", into="city")
CONSENT = "¿Guardamos tus datos?"
THANKS = Send(id="thanks", text="Gracias, {name}")


def form(*asks: Ask | FormField, **fields: Any) -> Form:
    items = tuple(FormField(ask) if isinstance(ask, Ask) else ask for ask in asks)
    return Form(name="registro", fields=items, **fields)


def chat(*steps: AnyStep, **options: Any) -> Chat:
    options = {"holds": lambda text, variables: Expression(text).holds(variables), "render": render, **options}
    return Chat(**options).flow("f", *steps)


async def tell(a_chat: Chat, *texts: str) -> list[str]:
    """Say *texts*; what is said to the last."""
    says: list[str] = []
    for text in texts:
        says = await a_chat.say(text)
    return says


SUMMARY = f"{SPANISH.summary}\nNombre: Ana\nEdad: 7"


async def test_a_form_asks_its_fields_and_keeps_what_was_confirmed() -> None:
    talk = chat(form(NAME, AGE), THANKS)
    assert await talk.start() == ["¿Tu nombre?"]
    assert await talk.say("Ana") == ["¿Tu edad?"]
    assert await talk.say("siete") == ["Eso no: un número, por favor"]
    assert await talk.say("7") == [SUMMARY]
    assert talk.last.says[0].buttons == ("Confirmar", "Corregir", "Cancelar")
    assert talk.position is not None
    assert (talk.position.kind, talk.position.step) == ("menu", "registro/summary")
    talk.clock.now = 2000.0
    assert await talk.say("1") == ["Gracias, Ana"]
    assert talk.records == [FormRecord(form="registro", values={"name": "Ana", "age": 7}, submitted_at=2000.0)]


async def test_the_record_holds_the_fields_only() -> None:
    talk = chat(form(NAME), Ask(text="¿Más?", into="more"))
    await talk.start(secret="x", more="before")
    assert await tell(talk, "Ana", "ok") == ["¿Más?"]
    assert [dict(record.values) for record in talk.records] == [{"name": "Ana"}]
    assert talk.variables == {"secret": "x", "more": "before", "name": "Ana"}


async def test_the_words_that_a_person_agreed_to_are_kept_with_the_record() -> None:
    talk = chat(form(NAME, consent="{who}: ¿guardamos tus datos?"), THANKS)
    assert await talk.start(who="Ana") == ["Ana: ¿guardamos tus datos?"]
    assert talk.last.says[0].buttons == ("Sí", "No")
    assert await talk.say("quizás") == [SPANISH.unknown]
    assert await talk.say("de acuerdo") == ["¿Tu nombre?"]
    await tell(talk, "Eva", "sí")
    assert [record.consent for record in talk.records] == ["Ana: ¿guardamos tus datos?"]


@pytest.mark.parametrize(
    ("on_refusal", "said"),
    [
        (End(), [SPANISH.discarded]),
        (End("Sin permiso no puedo, {who}"), ["Sin permiso no puedo, Ana"]),
        (Goto(step="thanks"), ["Gracias, "]),
    ],
)
async def test_without_consent_nothing_is_asked_or_kept(on_refusal: Goto | End, said: list[str]) -> None:
    talk = chat(form(NAME, consent=CONSENT, on_refusal=on_refusal), Finish(), THANKS)
    await talk.start(who="Ana", name="de antes")
    assert await talk.say("no, gracias") == said
    assert (talk.records, talk.position) == ([], None)


async def test_nothing_is_left_of_a_form_that_was_cancelled_or_refused() -> None:
    last = Ask(id="last", text="¿Algo más?", into="more")
    talk = chat(form(NAME, AGE, consent=CONSENT, on_cancel=Goto(step="last"), on_refusal=Goto(step="last")), last)
    await talk.start(who="Ana")
    assert await tell(talk, "sí", "Ana", "7", "cancelar") == ["¿Algo más?"]
    assert talk.variables == {"who": "Ana"}
    await talk.start(who="Ana", name="de antes")
    await talk.say("no")
    assert talk.variables == {"who": "Ana"}
    assert talk.records == []


async def test_a_cancelled_form_says_that_nothing_was_kept() -> None:
    talk = chat(form(NAME), THANKS)
    await talk.start()
    assert await tell(talk, "Ana", "3") == [SPANISH.discarded]
    assert (talk.records, talk.position) == ([], None)


@pytest.mark.parametrize("choose", ["Edad", "edad", "2"])
async def test_one_field_is_corrected_and_the_others_stay(choose: str) -> None:
    talk = chat(form(NAME, AGE, CITY), THANKS)
    await talk.start()
    await tell(talk, "Ana", "8", "Lima")
    assert await talk.say("corregir") == [SPANISH.which]
    assert talk.last.says[0].buttons == ("Nombre", "Edad", "city", "Nada")
    assert await talk.say("¿qué?") == [SPANISH.unknown]
    assert await talk.say(choose) == ["¿Tu edad?"]
    assert await talk.say("x") == ["Eso no: un número, por favor"]
    assert await talk.say("7") == [f"{SUMMARY}\ncity: Lima"]
    await talk.say("confirmar")
    assert [dict(record.values) for record in talk.records] == [{"name": "Ana", "age": 7, "city": "Lima"}]


async def test_who_says_no_to_the_summary_corrects_and_loses_nothing() -> None:
    talk = chat(form(NAME))
    await talk.start()
    assert await tell(talk, "Ana", "no") == [SPANISH.which]
    assert (await tell(talk, "nada"))[0].endswith("Nombre: Ana")


async def test_an_answer_that_looks_like_a_template_is_shown_as_it_was_written() -> None:
    talk = chat(form(NAME, CITY, confirm="¿Bien, {name}?"))
    await talk.start(secret="1234")
    assert await tell(talk, "{secret} {{x}}", "a\nb") == [
        "¿Bien, {secret} {{x}}?\nNombre: {secret} {{x}}\ncity: a b",
    ]


async def test_a_file_is_shown_as_given() -> None:
    talk = chat(form(replace(CITY, type="file")), read_answer=lambda ask, answer: {"kind": "image", "name": ""})
    await talk.start()
    assert await talk.say("") == [f"{SPANISH.summary}\ncity: ✔"]


async def test_a_summary_of_long_answers_can_be_sent() -> None:
    asks = [replace(NAME, into=f"v{n}", label="x" * 50) for n in range(50)]
    talk = chat(form(*asks))
    await talk.start()
    says = await tell(talk, *["y" * 5_000] * 50)
    assert len(says[0]) <= 4_096
    assert says[0].count("x: y") == 50


async def test_without_a_confirmation_the_last_answer_is_enough() -> None:
    talk = chat(form(NAME, confirm=False), THANKS)
    await talk.start()
    assert await talk.say("Ana") == ["Gracias, Ana"]
    assert len(talk.records) == 1


async def test_a_field_is_asked_only_where_its_condition_holds() -> None:
    company = FormField(replace(CITY, text="¿Empresa?", into="company"), when="age >= 18")
    talk = chat(form(NAME, AGE, company))
    await talk.start(company="de antes")
    assert await tell(talk, "Ana", "7") == [SUMMARY]
    assert await tell(talk, "corregir", "edad", "20") == ["¿Empresa?"]
    assert (await tell(talk, "Acme"))[0].endswith("Edad: 20\ncompany: Acme")
    assert await tell(talk, "corregir", "edad", "7") == [SUMMARY]
    assert "company" not in talk.variables
    await talk.say("sí")
    assert [dict(record.values) for record in talk.records] == [{"name": "Ana", "age": 7}]


async def test_a_condition_sees_the_fields_before_it_only() -> None:
    first = FormField(NAME, when="city is empty")
    second = FormField(CITY, when="name is empty")
    talk = chat(form(first, second))
    await talk.start()
    assert await talk.say("Ana") == [f"{SPANISH.summary}\nNombre: Ana"]
    talk = chat(form(first, CITY))
    await talk.start()
    assert await tell(talk, "Ana", "Lima") == [f"{SPANISH.summary}\nNombre: Ana\ncity: Lima"]


async def test_what_is_known_is_asked_again_unless_it_may_be_skipped() -> None:
    talk = chat(form(NAME, AGE))
    assert await talk.start(name="Ana", age=7) == ["¿Tu nombre?"]
    talk = chat(form(NAME, AGE, CITY, skip_known=True))
    assert await talk.start(name="Ana", city="") == ["¿Tu edad?"]
    assert await talk.say("7") == ["¿Tu ciudad?"]
    assert await talk.say("Lima") == [f"{SUMMARY}\ncity: Lima"]
    assert await talk.start(name="Ana", age=7, city="Lima") == [f"{SUMMARY}\ncity: Lima"]


async def test_a_question_of_a_form_keeps_all_that_a_question_has() -> None:
    talk = chat(form(replace(AGE, max_retries=1, on_failure=End("Lo dejamos")), THANKS_ASK), THANKS)
    await talk.start()
    assert await tell(talk, "x", "y") == ["Lo dejamos"]
    assert talk.records == []


THANKS_ASK = Ask(text="¿Gracias?", into="thanks")


async def test_the_times_of_a_form_are_those_of_every_question_that_has_none() -> None:
    own = replace(AGE, timeout_s=5.0, remind_s=1.0, reminder="¿Edad?", on_timeout=End("tarde, {name}"))
    talk = chat(
        form(
            NAME,
            own,
            consent=CONSENT,
            remind_s=30.0,
            reminder="¿Seguimos?",
            timeout_s=60.0,
            on_timeout=End("Otro día"),
        )
    )
    for said in ([], ["sí"], ["sí", "Ana", "7"], ["sí", "Ana", "7", "corregir"]):
        await talk.start()
        await tell(talk, *said)
        assert talk.position is not None
        assert (talk.position.remind_at, talk.position.expires_at) == (talk.clock() + 30, talk.clock() + 60)
        assert await talk.remind() == ["¿Seguimos?"]
        assert await talk.time_out() == ["Otro día"]
    await talk.start()
    await tell(talk, "sí", "Ana")
    assert talk.position is not None
    assert talk.position.expires_at == talk.clock() + 5
    assert await talk.remind() == ["¿Edad?"]
    assert await talk.time_out() == ["tarde, Ana"]


async def test_a_form_that_was_half_done_is_gone_with_its_time() -> None:
    talk = chat(form(NAME, AGE, timeout_s=60.0))
    await talk.start()
    await talk.say("Ana")
    await talk.time_out()
    assert (talk.records, talk.position) == ([], None)


# Addresses, versions


def test_the_steps_of_a_form_have_stable_addresses() -> None:
    company = FormField(replace(CITY, into="company"), when="age >= 18")
    named = Program("f", 1, (form(NAME, replace(AGE, id="edad"), company, consent=CONSENT), THANKS))
    for address in ("registro", "registro.name", "edad", "registro.company", "registro/summary", "thanks"):
        assert named.has(address), address
    moved = Program("f", 1, (THANKS, replace(form(company, NAME), id="alta")))
    assert moved.has("alta.name")
    assert not moved.has("registro.name")


def test_two_forms_of_one_name_need_an_id() -> None:
    with pytest.raises(FlowError, match="two steps have the address 'registro'; give one another id"):
        Program("f", 1, (form(NAME), form(AGE)))
    Program("f", 1, (form(NAME), replace(form(NAME), id="otra-vez")))


async def test_a_form_goes_on_at_the_same_field_of_a_changed_version() -> None:
    talk = chat(form(NAME, AGE), THANKS)
    await talk.start()
    await talk.say("Ana")
    talk.flow("f", Send(text="new"), form(CITY, replace(NAME, text="new"), AGE), THANKS, version=2).forget("f", 1)
    assert await talk.say("7") == ["¿Tu ciudad?"]  # which the old form did not have
    assert await talk.say("Lima") == [f"{SPANISH.summary}\ncity: Lima\nNombre: Ana\nEdad: 7"]


async def test_a_field_that_was_added_while_the_summary_waited_is_asked_before_anything_is_kept() -> None:
    talk = chat(form(NAME))
    await talk.start()
    await talk.say("Ana")
    talk.flow("f", form(NAME, AGE), version=2).forget("f", 1)
    assert await talk.say("confirmar") == ["¿Tu edad?"]
    assert talk.records == []
    assert await tell(talk, "7") == [SUMMARY]


async def test_consent_that_a_new_version_wants_is_asked_for_and_an_old_one_is_kept_in_its_words() -> None:
    talk = chat(form(NAME))
    await talk.start()
    talk.flow("f", form(NAME, consent=CONSENT), version=2).forget("f", 1)
    assert await talk.say("Ana") == [CONSENT]
    talk.flow("f", form(NAME, consent="otras palabras"), version=3).forget("f", 2)
    await tell(talk, "sí", "sí")
    await talk.start()
    await tell(talk, "sí", "Ana")
    talk.flow("f", form(NAME, consent="más palabras"), version=4).forget("f", 3)
    await talk.say("sí")
    assert [record.consent for record in talk.records] == ["otras palabras", "otras palabras"]


async def test_who_comes_into_the_middle_of_a_form_agrees_before_anything_is_kept() -> None:
    talk = chat(Jump(to=Goto(step="registro.age")), form(NAME, AGE, consent=CONSENT))
    assert await talk.start() == ["¿Tu edad?"]
    assert await talk.say("7") == [CONSENT]
    assert await talk.say("sí") == ["¿Tu nombre?"]
    assert await talk.say("Ana") == [SUMMARY]


async def test_a_form_is_filled_in_in_a_called_flow() -> None:
    talk = chat(Call(flow="sub"), THANKS).flow("sub", form(NAME))
    await talk.start()
    assert await tell(talk, "Ana", "ok") == ["Gracias, Ana"]
    assert len(talk.records) == 1


# Functions behind a form


async def test_a_function_that_asks_again_takes_the_record_back() -> None:
    results: list[object] = [Repeat("No se pudo guardar. ¿Otra vez?"), None]
    talk = chat(form(NAME), Do(function="save"), THANKS, functions={"save": lambda context: results.pop(0)})
    await talk.start()
    assert await tell(talk, "Ana", "confirmar") == ["No se pudo guardar. ¿Otra vez?"]
    assert talk.records == []
    assert await talk.say("confirmar") == ["Gracias, Ana"]
    assert len(talk.records) == 1


async def test_functions_see_the_answers_and_nothing_else() -> None:
    seen: list[dict[str, Any]] = []

    def save(context: FlowContext) -> None:
        seen.append(dict(context.variables))
        context.variables["saved"] = True

    talk = chat(form(NAME, consent=CONSENT), Do(function="save"), Finish(text="{saved}"), functions={"save": save})
    await talk.start()
    assert await tell(talk, "sí", "Ana", "sí") == ["sí"]
    assert seen == [{"name": "Ana"}]


async def test_a_function_that_raises_leaves_the_form_unconfirmed() -> None:
    def broken(context: FlowContext) -> None:
        raise ConnectionError

    talk = chat(form(NAME), Do(function="save"), functions={"save": broken})
    await talk.start()
    await talk.say("Ana")
    with pytest.raises(ConnectionError):
        await talk.say("confirmar")
    assert talk.records == []
    assert talk.position is not None
    assert talk.position.step == "registro/summary"


# Words


@pytest.mark.parametrize(
    ("language", "phrases"), [("es", SPANISH), ("pt", PORTUGUESE), ("en", ENGLISH), ("fr", SPANISH)]
)
async def test_a_form_speaks_the_language_of_the_bot(language: str, phrases: Phrases) -> None:
    talk = chat(form(NAME, consent=CONSENT), language=language)
    await talk.start()
    assert talk.last.says[0].buttons == (phrases.agree.label, phrases.refuse.label)
    assert await tell(talk, "ok", "Ana") == [f"{phrases.summary}\nNombre: Ana"]
    assert await talk.say(phrases.correct.label) == [phrases.which]
    assert await talk.say(phrases.back.label) == [f"{phrases.summary}\nNombre: Ana"]
    assert await talk.say(phrases.cancel.label) == [phrases.discarded]


@pytest.mark.parametrize("phrases", [SPANISH, PORTUGUESE, ENGLISH])
def test_no_word_of_a_form_chooses_two_things(phrases: Phrases) -> None:
    for menu in (
        (phrases.agree, phrases.refuse),
        (phrases.confirm, phrases.correct, phrases.cancel),
    ):
        words = [{choice.label.casefold(), *map(str.casefold, choice.keywords)} for choice in menu]
        assert sum(map(len, words)) == len(set().union(*words))


@pytest.mark.parametrize(
    ("text", "branch"),
    [("Sí, acepto", "yes"), ("acepto", "yes"), ("👍", "yes"), ("claro que sí", "yes"), ("2", "no"), ("NO!", "no")],
)
async def test_consent_is_given_as_people_say_it(text: str, branch: str) -> None:
    talk = chat(form(NAME, consent=CONSENT))
    await talk.start()
    assert await talk.say(text) == (["¿Tu nombre?"] if branch == "yes" else [SPANISH.discarded])


async def test_the_records_of_a_message_are_told_with_its_outcome_only() -> None:
    talk = chat(form(NAME), Ask(text="¿Más?", into="more"))
    await talk.start()
    await tell(talk, "Ana", "ok")
    assert len(talk.last.records) == 1
    await talk.say("no")
    assert talk.last == Outcome(trace=("f:2",))
