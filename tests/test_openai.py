"""OpenAIChat with the real SDK, against a server that misbehaves."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import openai
import openai.resources.chat  # the deadlines below are not about imports
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tecnobot_core.adapters.openai import OpenAIChat
from tecnobot_core.adapters.openai.chat import _whole_sentences
from tecnobot_core.completion import ChatModel, Completion, DescribesRequests
from tecnobot_core.errors import CompletionError, ConfigurationError, LifecycleError, MissingDependencyError
from tecnobot_core.messages import ChatMessage, ToolCall
from tecnobot_core.testing.openai import FakeOpenAI, Step

QUESTION = (ChatMessage("user", "¿Abren hoy?"),)


@asynccontextmanager
async def asking(*steps: Step, **options: Any) -> AsyncIterator[tuple[OpenAIChat, FakeOpenAI]]:
    async with FakeOpenAI(*steps) as server, OpenAIChat("m", base_url=server.url, **options) as chat:
        yield chat, server


async def failure(*steps: Step, **options: Any) -> CompletionError:
    async with asking(*steps, **options) as (chat, server):
        with pytest.raises(CompletionError) as caught:
            await chat.complete(QUESTION)
        assert len(server.requests) <= 1
    return caught.value


async def test_an_answer_holds_text_model_and_tokens() -> None:
    async with asking(Step(text="Sí, hasta las 8.", usage=(12, 7))) as (chat, server):
        model: ChatModel = chat
        assert await model.complete(QUESTION) == Completion("Sí, hasta las 8.", "m", 12, 7, "stop")
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.json == {
        "model": "m",
        "messages": [{"role": "user", "content": "¿Abren hoy?"}],
        "max_completion_tokens": 500,
    }


async def test_a_temperature_is_sent_and_everything_that_changes_an_answer_is_described() -> None:
    async with asking(temperature=0.2, max_answer_tokens=9) as (chat, server):
        assert isinstance(chat, DescribesRequests)
        await chat.complete(QUESTION)
        assert chat.describe(QUESTION) == server.requests[0].json | {"base_url": server.url}
    assert server.requests[0].json["temperature"] == 0.2


async def test_the_key_travels_in_the_header() -> None:
    async with asking(api_key="sk-1") as (chat, server):
        await chat.complete(QUESTION)
    assert server.requests[0].headers["authorization"] == "Bearer sk-1"


async def test_every_role_is_sent_as_the_api_writes_it() -> None:
    messages = (
        ChatMessage("system", "Sé amable."),
        ChatMessage("user", "¿Mi pedido?", pinned=True),
        ChatMessage("assistant", "", (ToolCall(id="c1", name="order", arguments='{"id":7}'),)),
        ChatMessage("tool", "enviado", tool_call_id="c1"),
    )
    async with asking() as (chat, server):
        await chat.complete(messages)
    call = {"id": "c1", "type": "function", "function": {"name": "order", "arguments": '{"id":7}'}}
    assert server.requests[0].json["messages"] == [
        {"role": "system", "content": "Sé amable."},
        {"role": "user", "content": "¿Mi pedido?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "enviado", "tool_call_id": "c1"},
    ]


async def test_a_lone_surrogate_is_replaced_and_a_pair_is_joined() -> None:
    async with asking() as (chat, server):
        await chat.complete([ChatMessage("user", "a\ud800b \ud83d\ude00")])
    assert server.requests[0].json["messages"][0]["content"] == "a\ufffdb 😀"


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (401, {"code": "invalid_api_key"}, "authentication"),
        (403, {"code": "unsupported_country_region_territory"}, "authentication"),
        (402, {"message": "Insufficient Balance"}, "quota"),
        (429, {"code": "rate_limit_exceeded", "type": "requests"}, "rate_limited"),
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, "quota"),
        (429, {"code": "credit_balance_exhausted", "type": "insufficient_quota"}, "quota"),
        (400, {"code": "context_length_exceeded"}, "too_long"),
        (400, {"code": 400, "type": "exceed_context_size_error"}, "too_long"),
        (400, {"code": 400, "message": "This model's maximum context length is 4096 tokens."}, "too_long"),
        (413, {"message": "Payload too large"}, "too_long"),
        (400, {"code": "content_filter"}, "rejected"),
        (400, {"code": ["odd"], "type": {"odd": 1}, "message": 7}, "rejected"),
        (404, {"code": "model_not_found"}, "rejected"),
        (422, {"message": "no"}, "rejected"),
        (408, {"message": "too slow"}, "timeout"),
        (500, {"message": "server had an error"}, "unavailable"),
        (503, {"message": "overloaded"}, "unavailable"),
        (529, {"message": "overloaded"}, "unavailable"),
    ],
)
async def test_an_error_status_becomes_the_decision_of_the_caller(
    status: int, error: dict[str, object], kind: str
) -> None:
    caught = await failure(Step(status=status, error=error))
    assert caught.kind == kind
    assert str(status) in str(caught)
    assert caught.__cause__ is not None


async def test_a_page_of_html_is_not_repeated_in_the_error() -> None:
    page = b"<html>" + b"<p>upstream</p>" * 1000
    caught = await failure(Step(status=503, raw=page, headers={"content-type": "text/html"}))
    assert (caught.kind, str(caught)) == ("unavailable", "the server answered 503: Service Unavailable")


async def test_a_key_that_the_server_repeats_is_not_shown() -> None:
    caught = await failure(Step(status=401, error={"message": "unknown key sk-hunter2"}), api_key="sk-hunter2")
    assert str(caught) == "the server answered 401: unknown key ***"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "121"}, 121.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Mon, 23 Nov 2026 10:00:30 GMT", "date": "Mon, 23 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "Mon, 23 Nov 2026 10:00:30 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1.2.3"}, None),
        ({"retry-after-ms": "nan"}, None),
        ({"retry-after": "99999999"}, None),
        ({}, None),
    ],
)
async def test_the_wait_that_the_server_asks_for_is_told(headers: dict[str, str], seconds: float | None) -> None:
    caught = await failure(Step(status=429, error={"code": "rate_limit_exceeded"}, headers=headers))
    assert caught.retry_after_s == seconds


def client(server: FakeOpenAI) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="none", base_url=server.url, max_retries=0)


def choice(**fields: object) -> Step:
    return Step(choice=fields)


@pytest.mark.parametrize(
    "step",
    [
        Step(raw=b'{"id": '),
        Step(raw=b"[" * 100_000),
        Step(raw=b"\xff\xfe"),
        Step(raw=b""),
        Step(raw=b"null"),
        Step(raw=b"7"),
        Step(raw=b"[]"),
        Step(raw=b'"hola"'),
        Step(raw=b"<html>hola</html>", headers={"content-type": "text/html"}),
        Step(raw=b"{}"),
        Step(raw=b'{"choices": null}'),
        Step(raw=b'{"choices": []}'),
        Step(raw=b'{"choices": {}}'),
        Step(raw=b'{"choices": [null]}'),
        Step(raw=b'{"choices": [{"message": "hola", "finish_reason": "stop"}]}'),
        Step(raw=b'{"error": {"message": "upstream failed"}}'),
        Step(text=""),
        Step(text=" \n"),
        choice(message=None),
        choice(message={"role": "assistant", "content": None}),
        choice(message={"role": "assistant", "content": [{"type": "text"}]}),
        choice(message={"role": "assistant", "content": None, "tool_calls": []}, finish_reason="tool_calls"),
        choice(finish_reason=None),
        choice(finish_reason="length", message={"role": "assistant", "content": ""}),
        choice(finish_reason="length", message={"role": "assistant", "content": "1. La tienda"}),
    ],
    ids=lambda step: f"{step.raw!r:.40} {dict(step.choice)!r:.80}",
)
async def test_a_malformed_answer_is_told_as_such(step: Step) -> None:
    assert (await failure(step)).kind == "malformed"


@pytest.mark.parametrize(
    "step",
    [
        choice(finish_reason="content_filter"),
        choice(message={"role": "assistant", "content": None, "refusal": "I cannot help with that."}),
    ],
)
async def test_an_answer_that_the_model_refuses_is_rejected(step: Step) -> None:
    assert (await failure(step)).kind == "rejected"


@pytest.mark.parametrize(
    "step", [Step(drop=True), Step(cut=True), Step(raw=b"no", headers={"content-encoding": "gzip"})]
)
async def test_a_broken_connection_is_unavailable(step: Step) -> None:
    assert (await failure(step)).kind == "unavailable"


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with FakeOpenAI() as server:
        url = server.url
    async with OpenAIChat("m", base_url=url) as chat:
        with pytest.raises(CompletionError, match=r"connection to the server failed: ConnectError\(") as caught:
            await chat.complete(QUESTION)
    assert caught.value.kind == "unavailable"


async def test_odd_token_counts_are_zero() -> None:
    raw = (
        b'{"choices": [{"message": {"content": "hola"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": "many"}}'
    )
    async with asking(Step(raw=raw)) as (chat, _):
        assert await chat.complete(QUESTION) == Completion("hola", "", 0, 0, "stop")


async def test_one_deadline_covers_the_call_and_closes_its_connection() -> None:
    async with asking(Step(), Step(delay_s=inf), timeout_s=0.5) as (chat, server):
        await chat.complete(QUESTION)
        with pytest.raises(CompletionError, match=r"no answer within 0\.5 s") as caught:
            await chat.complete(QUESTION)
        assert caught.value.kind == "timeout"
        async with asyncio.timeout(10):
            await server.wait_until(lambda: server.abandoned == 1)


async def test_a_cancelled_call_closes_its_connection_and_the_next_one_works() -> None:
    async with asking(Step(delay_s=inf)) as (chat, server), asyncio.timeout(30):
        call = asyncio.create_task(chat.complete(QUESTION))
        await server.wait_until(lambda: len(server.requests) == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await server.wait_until(lambda: server.abandoned == 1)
        assert (await chat.complete(QUESTION)).text == "hola"


async def test_closing_fails_the_calls_under_way() -> None:
    async with asking(Step(delay_s=inf)) as (chat, server), asyncio.timeout(30):
        call = asyncio.create_task(chat.complete(QUESTION))
        await server.wait_until(lambda: len(server.requests) == 1)
        await chat.aclose()
        with pytest.raises(CompletionError) as caught:
            await call
    assert caught.value.kind == "unavailable"


async def test_closing_while_the_first_call_opens_ends_it_before_it_asks() -> None:
    async with FakeOpenAI() as server, asyncio.timeout(30):
        chat = OpenAIChat("m", base_url=server.url)
        call = asyncio.create_task(chat.complete(QUESTION))
        await asyncio.sleep(0)
        await chat.aclose()
        with pytest.raises(LifecycleError):
            await call
    assert server.requests == []


async def test_a_closed_chat_says_so() -> None:
    chat = OpenAIChat("m", api_key="sk-1")
    await chat.aclose()
    with pytest.raises(LifecycleError, match="closed"):
        await chat.complete(QUESTION)


REFUSED = Step(status=400, error={"message": "Unsupported parameter: 'max_completion_tokens'"})


async def test_a_server_of_the_old_limit_is_asked_again_once_and_remembered() -> None:
    async with asking(REFUSED, max_answer_tokens=9) as (chat, server):
        await chat.complete(QUESTION)
        await chat.complete(QUESTION)
    limits = [{name: n for name, n in request.json.items() if name.startswith("max_")} for request in server.requests]
    assert limits == [{"max_completion_tokens": 9}, {"max_tokens": 9}, {"max_tokens": 9}]


async def test_a_server_that_refuses_both_limits_is_not_asked_for_ever() -> None:
    async with asking(REFUSED, REFUSED, REFUSED) as (chat, server):
        with pytest.raises(CompletionError) as caught:
            await chat.complete(QUESTION)
        assert (caught.value.kind, len(server.requests)) == ("rejected", 2)
        with pytest.raises(CompletionError):
            await chat.complete(QUESTION)
        assert len(server.requests) == 3


async def test_calls_that_learn_of_the_old_limit_together_all_succeed() -> None:
    refused = Step(status=422, error={"message": "max_completion_tokens: extra fields not permitted"}, delay_s=0.1)
    async with asking(refused, refused, refused) as (chat, server):
        answers = await asyncio.gather(*(chat.complete(QUESTION) for _ in range(3)))
    assert [answer.text for answer in answers] == ["hola"] * 3
    assert len(server.requests) == 6


async def test_an_answer_at_the_limit_ends_with_its_last_whole_sentence() -> None:
    message = {"role": "assistant", "content": "Abrimos a las 9. Cerramos a las 8. Los dom"}
    async with asking(choice(finish_reason="length", message=message)) as (chat, _):
        answer = await chat.complete(QUESTION)
    assert (answer.text, answer.finish_reason) == ("Abrimos a las 9. Cerramos a las 8.", "length")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Hola. Adi", "Hola."),
        ("¿Sí? ¡Ya!", "¿Sí? ¡Ya!"),
        ("Dijo «no.» Y lue", "Dijo «no.»"),
        ("Hay:\n- fundas\n- cab", "Hay:\n- fundas"),
        ("Pasos:\n1. Abra. 2", "Pasos:\n1. Abra."),
        ("Hay 2. Uno", "Hay 2."),
        ("1. La tienda", ""),
        ("Cuesta 9.50 euros y", ""),
        ("Mire en tienda.example/a y", ""),
        ("", ""),
    ],
)
def test_whole_sentences(text: str, kept: str) -> None:
    assert _whole_sentences(text) == kept


@given(st.text(alphabet="aé.!?\n »1"))
def test_whole_sentences_are_a_beginning_that_ends_before_a_blank(text: str) -> None:
    kept = _whole_sentences(text)
    assert text.startswith(kept)
    assert not kept or text == kept or text[len(kept)].isspace()


def test_a_model_and_a_way_to_reach_it_are_needed() -> None:
    with pytest.raises(ConfigurationError, match="OPENAI_MODEL is empty"):
        OpenAIChat("", api_key="sk-1")
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY is empty"):
        OpenAIChat("m")


async def test_a_missing_package_is_told_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    async with OpenAIChat("m", api_key="sk-1") as chat:
        with pytest.raises(MissingDependencyError, match=r"pip install 'tecnobot-core\[openai\]'"):
            await chat.complete(QUESTION)


FIRST_CALLS = """
import asyncio, sys, threading
from tecnobot_core.adapters.openai import OpenAIChat
from tecnobot_core.messages import ChatMessage
from tecnobot_core.testing.openai import FakeOpenAI

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("openai", "httpx2", "pydantic"):
            print(name, threading.current_thread() is threading.main_thread())

async def main():
    async with FakeOpenAI() as server, OpenAIChat("m", base_url=server.url) as chat:
        assert "openai" not in sys.modules
        question = [ChatMessage("user", "hola")]
        await asyncio.gather(*(chat.complete(question) for _ in range(5)))
        assert len(server.requests) == 5
        print("again", threading.active_count())
        await chat.complete(question)

sys.meta_path.insert(0, Watch())
asyncio.run(main())
"""


def test_the_package_is_imported_by_the_first_calls_once_and_off_the_loop() -> None:
    command = [sys.executable, "-W", "error", "-c", FIRST_CALLS]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    lines = child.stdout.splitlines()
    assert lines.count("openai False") == 1
    assert not [line for line in lines if line.endswith(" True")]
    assert child.stderr == ""


async def test_the_fake_streams_words_then_usage() -> None:
    async with FakeOpenAI(Step(text="uno dos  tres", usage=(3, 4))) as server, client(server) as sdk:
        stream = await sdk.chat.completions.create(
            model="m", messages=[], stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    words = [chunk.choices[0].delta.content for chunk in chunks[:-2]]
    assert words == ["uno ", "dos  ", "tres"]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 7


async def test_the_fake_transcribes() -> None:
    async with FakeOpenAI(Step(text="quiero un cable")) as server, client(server) as sdk:
        heard = await sdk.audio.transcriptions.create(model="t", file=("v.ogg", b"OggS", "audio/ogg"))
    assert heard.text == "quiero un cable"
    assert b"OggS" in server.requests[0].body


async def test_the_fake_closes_while_clients_wait(capfd: pytest.CaptureFixture[str]) -> None:
    async with FakeOpenAI(Step(delay_s=inf)) as server:
        chat = OpenAIChat("m", base_url=server.url)
        call = asyncio.create_task(chat.complete(QUESTION))
        await server.wait_until(lambda: len(server.requests) == 1)
    with pytest.raises(CompletionError) as caught:
        await call
    await chat.aclose()
    assert (caught.value.kind, server.abandoned) == ("unavailable", 0)
    assert capfd.readouterr().err == ""
