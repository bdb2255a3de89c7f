"""What people entered into forms, for the owner."""

import csv
import io
import resource
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from tecnobot_core import ChatId
from tecnobot_core.adapters.postgres import PostgresConversations, PostgresForms
from tecnobot_core.adapters.postgres.forms import PAGE
from tecnobot_core.messages import ChatMessage, FormRecord, Turn
from tests.counting import CountingDatabase

pytestmark = pytest.mark.postgres
ANA, EVA = ChatId("+525512345678"), ChatId("+525500000000")
AT = 2_000_000_000.0


async def submit(database: CountingDatabase, chat: ChatId, values: Mapping[str, object], at: float = AT) -> None:
    record = FormRecord(form="registro", values=values, submitted_at=at, consent="¿Aceptas?")
    turn = Turn(
        chat=chat,
        inbound=(f"m{at}",),
        outcome="answered",
        answered_by="flow",
        history=(ChatMessage("user", "sí"),),
        records=(record,),
    )
    await PostgresConversations(database, "shop").record([turn])


async def written(database: CountingDatabase, columns: list[str] | None = None) -> list[list[str]]:
    file = io.StringIO(newline="")
    await PostgresForms(database, "shop").write_csv("registro", file, columns=columns)
    return list(csv.reader(io.StringIO(file.getvalue(), newline="")))


async def test_records_come_in_the_order_in_which_they_were_submitted(database: CountingDatabase) -> None:
    for number in range(5):
        await submit(database, ANA, {"name": f"Ana {number}"}, AT + number)
    forms = PostgresForms(database, "shop")
    assert await forms.forms() == {"registro": 5}
    first = await forms.records("registro", limit=3)
    rest = await forms.records("registro", after=first[-1].id)
    assert [record.values["name"] for record in (*first, *rest)] == [f"Ana {number}" for number in range(5)]
    assert (first[0].chat, first[0].consent, first[0].submitted_at) == (ANA, "¿Aceptas?", AT)
    assert await PostgresForms(database, "bakery").forms() == {}


async def test_a_table_has_a_column_for_each_variable_and_reads_back(database: CountingDatabase) -> None:
    note = 'dos líneas\ny "comillas", y coma'
    await submit(database, ANA, {"name": "Ana", "adult": True, "note": note})
    await submit(database, EVA, {"name": "Eva", "photo": {"kind": "image", "name": "yo.jpg", "address": "x"}}, AT + 1)
    header, ana, eva = await written(database)
    assert header[:3] == ["submitted_at", "chat", "consent"]
    assert sorted(header[3:]) == ["adult", "name", "note", "photo"]
    assert ana[:3] == ["2033-05-18T03:33:20+00:00", "+525512345678", "¿Aceptas?"]
    assert dict(zip(header, ana, strict=True)) | {} == {
        **dict(zip(header[:3], ana[:3], strict=True)),
        **{"name": "Ana", "adult": "true", "note": note, "photo": ""},
    }
    assert dict(zip(header, eva, strict=True))["photo"] == "yo.jpg"
    assert (await written(database, ["note", "name"]))[0][3:] == ["note", "name"]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("@SUM(1)", "'@SUM(1)"),
        ("-2+3", "'-2+3"),
        ("+52", "+52"),
        ("+525512345678", "+525512345678"),
        ("-12.50", "-12.50"),
        (-3, "-3"),
        ("\t=1", "'\t=1"),
        ("no = sí", "no = sí"),
        ("\n=1", "'\n=1"),
        ("＝1+1", "'＝1+1"),
        ("1234.50", "1234.50"),
        ({"kind": "document", "name": "=1.pdf", "address": "a"}, "'=1.pdf"),
        ({"kind": "image", "name": "", "address": "media/7"}, "media/7"),
        (["a", "b"], '["a", "b"]'),
    ],
)
async def test_no_cell_is_a_formula_and_numbers_stay_numbers(
    database: CountingDatabase, value: object, cell: str
) -> None:
    await submit(database, ANA, {"value": value})
    assert (await written(database))[1][3] == cell


async def test_names_of_variables_are_no_formulas_either(database: CountingDatabase) -> None:
    await submit(database, ANA, {"=1+1": "x"})
    assert (await written(database))[0][3:] == ["'=1+1"]


async def test_columns_that_are_named_are_all_there_is(database: CountingDatabase) -> None:
    await submit(database, ANA, {"name": "Ana", "age": 5})
    assert [row[3:] for row in await written(database, ["age", "city"])] == [["age", "city"], ["5", ""]]


async def test_a_form_without_records_is_a_line_of_names(database: CountingDatabase) -> None:
    assert await written(database) == [["submitted_at", "chat", "consent"]]


@pytest.mark.parametrize("n", [PAGE - 1, PAGE, PAGE + 1, 2 * PAGE])
async def test_each_record_is_written_once_however_many_pages_there_are(database: CountingDatabase, n: int) -> None:
    await fill(database, n)
    rows = (await written(database))[1:]
    assert [row[3] for row in rows] == [str(number) for number in range(n)]


async def test_what_is_submitted_while_records_are_written_is_not_among_them(
    database: CountingDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(database, 3 * PAGE)
    pages = PostgresForms._pages

    async def slow(self: PostgresForms, *asked: Any) -> AsyncGenerator[Any, None]:
        async for page in pages(self, *asked):
            yield page
            await submit(database, EVA, {"later": "x"}, AT + 9)

    monkeypatch.setattr(PostgresForms, "_pages", slow)
    rows = await written(database)
    assert len(rows) == 3 * PAGE + 1
    assert {len(row) for row in rows} == {4}


async def test_trouble_with_the_file_is_not_trouble_with_the_database(database: CountingDatabase) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    await fill(database, 3)
    with pytest.raises(OSError, match="No space left"):
        await PostgresForms(database, "shop").write_csv("registro", Full())
    assert await PostgresForms(database, "shop").forms() == {"registro": 3}


async def test_forms_of_another_chatbot_are_neither_seen_nor_deleted(database: CountingDatabase) -> None:
    await submit(database, ANA, {"name": "Ana"})
    other = PostgresForms(database, "bakery")
    (record,) = await PostgresForms(database, "shop").records("registro")
    assert await other.records("registro") == []
    assert await other.write_csv("registro", io.StringIO()) == 0
    assert not await other.delete_record("registro", record.id)
    assert await other.delete("registro") == 0
    assert await PostgresForms(database, "shop").forms() == {"registro": 1}


async def fill(database: CountingDatabase, n: int) -> None:
    """*n* more records, with the numbers from 0 as their only variable."""
    await submit(database, ANA, {"n": 0})
    await database.execute(
        """
        INSERT INTO tecnobot.form_record (chatbot_id, form, chat_id, answers, consent, submitted_at)
        SELECT chatbot_id, form, chat_id, jsonb_build_object('n', n), consent, submitted_at
        FROM tecnobot.form_record, generate_series(1, $1::int - 1) AS n
        """,
        n,
    )


async def test_records_are_deleted_one_by_one_by_age_and_with_their_chat(database: CountingDatabase) -> None:
    forms = PostgresForms(database, "shop")
    for number in range(4):
        await submit(database, ANA if number else EVA, {"n": number}, AT + number)
    first, second, *_ = await forms.records("registro")
    assert await forms.delete_record("registro", second.id)
    assert not await forms.delete_record("registro", second.id)
    assert not await forms.delete_record("otro", first.id)
    assert await forms.delete("registro", before=AT + 1) == 1
    assert [record.values["n"] for record in await forms.records("registro")] == [2, 3]
    await PostgresConversations(database, "shop").delete(ANA)
    assert await forms.records("registro") == []


async def test_many_records_are_written_in_little_memory(database: CountingDatabase) -> None:
    await submit(database, ANA, {"name": "Ana"})
    await database.execute(
        """
        INSERT INTO tecnobot.form_record (chatbot_id, form, chat_id, answers, consent, submitted_at)
        SELECT chatbot_id, form, chat_id, $1::jsonb, consent, submitted_at
        FROM tecnobot.form_record, generate_series(1, 20000)
        """,
        {"name": "x" * 500},
    )

    class Count(io.StringIO):
        n_chars = 0

        def write(self, text: str) -> int:
            self.n_chars += len(text)
            return len(text)

    file = Count()
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert await PostgresForms(database, "shop").write_csv("registro", file) == 20_001
    assert file.n_chars > 10_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 8 * 1024


async def test_columns_come_in_the_order_of_the_form(database: CountingDatabase) -> None:
    await submit(database, ANA, {"surname": "Paz", "name": "Ana", "email": "a@x.example", "id": 1})
    await submit(database, EVA, {"surname": "Sol", "b": 1, "name": "Eva"}, AT + 1)
    assert (await written(database))[0][3:] == ["surname", "name", "email", "id", "b"]
