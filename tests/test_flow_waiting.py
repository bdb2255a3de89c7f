"""What happens while nobody answers: timeouts, reminders, handoffs, answers that came too early."""

from dataclasses import replace

import pytest

from tecnobot_core.flows.context import Outcome
from tecnobot_core.flows.phrases import ENGLISH, SPANISH
from tecnobot_core.flows.steps import (
    AnyStep,
    Do,
    End,
    Goto,
    Handoff,
    Repeat,
    Send,
)
from tests.flow_chat import (
    AGE,
    BYE,
    MENU,
    NAME,
    Chat,
    returning,
)

# Persons and time


async def test_a_handoff_is_silent_until_it_is_released() -> None:
    chat = Chat().flow("f", Handoff(text="Ya viene alguien, {name}", timeout_s=600), BYE)
    assert await chat.start(name="Ana") == ["Ya viene alguien, Ana"]
    assert chat.last.handoff is not None
    assert chat.position is not None
    assert chat.position.expires_at == 1600
    before = chat.position
    assert await chat.say("¿hola?") == []
    assert chat.last.handoff is None
    assert chat.position == before
    assert await chat.release() == ["Adiós, Ana"]


async def test_a_handoff_ends_in_time() -> None:
    chat = Chat().flow("f", Handoff(), BYE)
    await chat.start(name="Ana")
    assert await chat.time_out() == ["Adiós, Ana"]
    assert chat.position is None


async def test_a_question_without_an_answer_goes_on_at_its_timeout() -> None:
    chat = Chat().flow("f", replace(NAME, timeout_s=60, on_timeout=End("Sigue otro día, {x}")), BYE)
    await chat.start(x="Ana")
    assert chat.position is not None
    assert chat.position.expires_at == 1060
    assert await chat.time_out() == ["Sigue otro día, Ana"]
    assert chat.position is None


async def test_a_question_that_is_asked_again_waits_its_whole_time() -> None:
    chat = Chat().flow("f", replace(AGE, timeout_s=60))
    await chat.start()
    chat.clock.now += 50
    await chat.say("x")
    assert chat.position is not None
    assert chat.position.expires_at == 1110


async def test_a_reminder_is_a_question_that_is_repeated_in_time() -> None:
    chat = Chat(returning(Repeat("¿Sigue ahí?"))).flow(
        "f",
        replace(NAME, timeout_s=60, max_retries=1, on_timeout=Goto(step="remind")),
        BYE,
        Do(id="remind", function="f"),
    )
    await chat.start()
    assert await chat.time_out() == ["¿Sigue ahí?"]
    assert await chat.time_out() == []  # once is enough: on_failure is a silent end
    assert chat.position is None


@pytest.mark.parametrize("step", [NAME, MENU, Handoff(timeout_s=None)])
async def test_what_waits_for_ever_has_no_timeout(step: AnyStep) -> None:
    chat = Chat().flow("f", step)
    await chat.start()
    before = chat.position
    assert await chat.time_out() == []
    assert chat.position == before


async def test_only_a_handoff_is_released() -> None:
    chat = Chat().flow("f", NAME, BYE)
    await chat.start()
    before = chat.position
    assert await chat.release() == []
    assert chat.position == before


@pytest.mark.parametrize("question", [NAME, MENU])
@pytest.mark.parametrize(("sent_at", "taken"), [(999.0, False), (999.9, False), (1000.0, True), (1000.8, True)])
async def test_an_answer_from_an_earlier_second_than_its_question_is_not_taken(
    question: AnyStep, sent_at: float, taken: bool
) -> None:
    chat = Chat().flow("f", question)
    chat.clock.now = 1000.8
    await chat.start()
    before = chat.position
    says = await chat.say("1", sent_at=sent_at)
    assert (chat.position is None) == taken
    assert taken or (says, chat.position) == ([], before)


async def test_a_message_of_the_time_before_a_second_asking_is_not_taken_either() -> None:
    chat = Chat().flow("f", AGE)
    await chat.start()
    chat.clock.now += 5
    await chat.say("x")
    assert await chat.say("7", sent_at=1004) == []
    assert await chat.say("7", sent_at=1006) == []
    assert chat.position is None


# Reminders

REMINDED = replace(NAME, text="¿Nombre, {x}?", remind_s=30.0, reminder="¿Sigues ahí, {x}?", timeout_s=60.0)
REMINDED_MENU = replace(MENU, text="¿Cómo, {x}?", remind_s=30.0, timeout_s=60.0, on_timeout=End("Otro día, {x}"))


async def test_a_question_that_nobody_answers_is_reminded_of_once() -> None:
    chat = Chat().flow("f", REMINDED, BYE)
    await chat.start(x="Ana")
    before = chat.position
    assert before is not None
    assert (before.remind_at, before.due_at) == (1030.0, 1030.0)
    assert await chat.remind() == ["¿Sigues ahí, Ana?"]
    assert chat.clock() == 1030.0
    assert chat.last.trace == ("f:name",)
    assert chat.position == replace(before, remind_at=None)
    assert chat.position.due_at == 1060.0
    assert await chat.remind() == []
    assert chat.position == replace(before, remind_at=None)


async def test_a_reminder_without_words_is_a_sentence_and_the_question_again() -> None:
    chat = Chat().flow("f", replace(REMINDED, reminder=""))
    await chat.start(x="Ana")
    assert await chat.remind() == [f"{SPANISH.reminder}\n¿Nombre, Ana?"]
    chat = Chat(language="en").flow("f", REMINDED_MENU)
    await chat.start(x="Ana")
    assert await chat.remind() == [f"{ENGLISH.reminder}\n¿Cómo, Ana?"]
    assert chat.last.says[0].buttons == ("Tarjeta", "Más tarde")


async def test_an_answer_that_was_sent_before_the_reminder_counts() -> None:
    chat = Chat().flow("f", REMINDED, BYE)
    await chat.start()
    await chat.remind()
    assert await chat.say("Ana", sent_at=1029.0) == ["Adiós, Ana"]


async def test_nothing_is_reminded_of_before_its_time_or_where_nothing_is_to_be() -> None:
    chat = Chat().flow("f", REMINDED)
    await chat.start()
    assert chat.position is not None
    chat.clock.now = 1029.9
    assert await chat.interpreter().remind(chat.position) == Outcome(position=chat.position)
    for step in (NAME, MENU, Handoff()):
        chat = Chat().flow("f", step)
        await chat.start()
        before = chat.position
        assert await chat.remind() == []
        assert chat.position == before


async def test_a_question_that_is_asked_again_is_reminded_of_again() -> None:
    chat = Chat().flow("f", replace(AGE, remind_s=30.0))
    await chat.start()
    assert len(await chat.remind()) == 1
    await chat.say("x")
    assert chat.position is not None
    assert chat.position.remind_at == 1060.0
    assert chat.position.retries == 1
    await chat.remind()
    assert chat.position.retries == 1
    await chat.say("7")
    assert chat.position is None


async def test_a_reminder_goes_on_where_the_flow_was_changed() -> None:
    chat = Chat().flow("f", REMINDED)
    await chat.start()
    before = chat.position
    chat.flow("f", Send(text="new"), replace(REMINDED, reminder="¿Y?"), version=2).forget("f", 1)
    assert await chat.remind() == ["¿Y?"]
    assert chat.position is not None
    assert (chat.position.version, chat.position.expires_at) == (2, 1060.0)
    chat.position = before
    chat.flow("f", AGE, version=3).forget("f", 2)
    assert await chat.remind() == ["¿Edad?"]
    chat.position = before
    chat.programs.clear()
    assert await chat.remind() == []
    assert chat.last == Outcome(lost=True)


async def test_a_menu_that_nobody_answers_goes_on_at_its_timeout() -> None:
    chat = Chat().flow("f", REMINDED_MENU, BYE)
    await chat.start(x="Ana")
    assert chat.position is not None
    assert chat.position.expires_at == 1060.0
    assert await chat.time_out() == ["Otro día, Ana"]
    assert chat.position is None
