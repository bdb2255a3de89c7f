"""The pairing page: what joins the account is shown while it holds, to who has the token, and nowhere else."""

import logging
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, cast

import pytest
import segno

from tecnobot_core.adapters.web import WebPairing, WebServer, qr
from tecnobot_core.adapters.web.app import web_app
from tecnobot_core.adapters.web.guard import Guard
from tecnobot_core.adapters.web.pairing_route import PairingRoutes
from tecnobot_core.adapters.web.qr import QUIET, draw_qr
from tecnobot_core.connection import DisconnectReason, advice_for
from tecnobot_core.events import Connected, ConnectionFailed, EventBus, PairingEnded, PairingOffered
from tecnobot_core.testing import FakeClock
from tests.test_web import TOKEN, ask

NOW = 1_800_000_000.0
DATA = "2@a-secret-that-joins,key,identity,more=="
NOTHING = {"qr": None, "code": None, "expires_at": None, "detail": "", "reason": ""}


class Desk:
    """A pairing that follows a bus, on a clock."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.events = EventBus()
        self.pairing = WebPairing(clock=self.clock)
        self.pairing.watch(self.events)

    def offer_qr(self, data: str = DATA, *, for_s: float = 20.0) -> None:
        self.events.publish(PairingOffered("qr", data, self.clock() + for_s))

    def offer_code(self, code: str = "ABCD-1234", *, for_s: float = 160.0) -> None:
        self.events.publish(PairingOffered("code", code, self.clock() + for_s))

    def value(self) -> dict[str, Any]:
        return self.pairing.value()


def guarded(pairing: WebPairing | None) -> Guard:
    return Guard(web_app(None, {}, lambda: (), others=PairingRoutes(pairing).routes()), token=TOKEN, hosts=None)


def modules(size: int, path: str) -> list[list[int]]:
    """What a browser fills for *path*."""
    rows = [[0] * size for _ in range(size)]
    runs = re.findall(r"M(\d+) (\d+)h(\d+)v1h-(\d+)z", path)
    assert "".join(f"M{x} {y}h{width}v1h-{back}z" for x, y, width, back in runs) == path
    for x, y, width, back in runs:
        assert width == back
        for at in range(int(width)):
            rows[int(y)][int(x) + at] += 1
    return rows


# What is offered


def test_before_anything_is_offered_there_is_nothing() -> None:
    assert Desk().value() == {"state": "waiting", **NOTHING}


def test_an_offer_is_shown_until_the_next_one_replaces_it() -> None:
    desk = Desk()
    desk.offer_qr("first")
    first = desk.value()
    assert (first["state"], first["code"], first["expires_at"]) == ("offered", None, NOW + 20)
    desk.offer_qr("second", for_s=30.0)
    second = desk.value()
    assert second["qr"]["path"] == draw_qr("second").path != first["qr"]["path"]
    assert second["expires_at"] == NOW + 30


def test_a_code_stays_while_qr_codes_come_and_go() -> None:
    desk = Desk()
    desk.offer_qr()
    desk.offer_code()
    desk.offer_qr("another")
    both = desk.value()
    assert (both["code"], both["qr"]["path"], both["expires_at"]) == (
        "ABCD-1234",
        draw_qr("another").path,
        NOW + 160,
    )


async def test_what_has_expired_is_gone() -> None:
    desk = Desk()
    desk.offer_qr(for_s=20.0)
    desk.offer_code(for_s=60.0)
    await desk.clock.advance(20)
    assert (desk.value()["qr"], desk.value()["code"]) == (None, "ABCD-1234")
    await desk.clock.advance(40)
    assert desk.value() == {"state": "waiting", **NOTHING}


@pytest.mark.parametrize("event", [PairingEnded(paired=True), Connected(0.0)])
def test_nothing_is_shown_once_somebody_has_paired(event: PairingEnded | Connected) -> None:
    desk = Desk()
    desk.offer_qr()
    desk.offer_code()
    desk.events.publish(event)
    assert desk.value() == {"state": "paired", **NOTHING}


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (PairingEnded(paired=False, detail="nobody did"), ""),
        (ConnectionFailed("pairing_timeout", "x", "nobody did"), "pairing_timeout"),
    ],
)
def test_an_end_without_success_says_why(event: PairingEnded | ConnectionFailed, reason: str) -> None:
    desk = Desk()
    desk.offer_qr()
    desk.events.publish(event)
    assert desk.value() == {"state": "failed", **NOTHING, "detail": "nobody did", "reason": reason}
    desk.offer_qr()
    assert [desk.value()[name] for name in ("state", "detail", "reason")] == ["offered", "", ""]


def test_the_page_says_every_advice_in_each_language() -> None:
    script = files("tecnobot_core.adapters.web").joinpath("assets/pairing.js").read_text(encoding="utf-8")
    told = [
        set(re.findall(r"^ +(\w+):", block, re.MULTILINE))
        for block in re.findall(r"because: \{\n(.*?)\n    \}", script, re.DOTALL)
    ]
    assert told == [{reason.value for reason in DisconnectReason if advice_for(reason)}] * 2


# The drawing


@pytest.mark.parametrize("data", ["1", DATA, DATA * 8])
def test_the_drawing_has_every_module_of_the_code_once_and_light_around_it(data: str) -> None:
    drawing = draw_qr(data)
    matrix = cast("Sequence[bytearray]", segno.make_qr(data, error="m", boost_error=False).matrix)
    drawn = modules(drawing.size, drawing.path)
    assert drawing.size == len(matrix) + 2 * QUIET
    assert [row[QUIET:-QUIET] for row in drawn[QUIET:-QUIET]] == [list(row) for row in matrix]
    assert not any(map(any, (*drawn[:QUIET], *drawn[-QUIET:])))
    assert not any(any(row[:QUIET]) or any(row[-QUIET:]) for row in drawn)


def test_an_offer_is_drawn_once_however_often_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def draw(data: str) -> qr.QrDrawing:
        drawn.append(data)
        return draw_qr(data)

    monkeypatch.setattr("tecnobot_core.adapters.web.pairing.draw_qr", draw)
    desk = Desk()
    desk.offer_qr()
    assert desk.value() == desk.value()
    assert drawn == [DATA]


def test_where_nothing_can_draw_it_is_said_what_to_install_and_a_code_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    desk = Desk()
    desk.offer_qr()
    desk.offer_code()
    value = desk.value()
    assert (value["state"], value["qr"], value["code"]) == ("offered", None, "ABCD-1234")
    assert "pip install" in value["detail"]
    assert DATA not in str(value)


def test_the_pairing_needs_no_package_before_something_is_drawn() -> None:
    code = (
        "import sys, tecnobot_core.adapters.web as w; w.WebPairing(); print({'segno', 'starlette'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


# The routes


async def test_the_page_is_empty_and_open_and_its_content_wants_the_token() -> None:
    desk = Desk()
    desk.offer_qr()
    desk.offer_code()
    app = guarded(desk.pairing)
    page = await ask(app, "/pairing")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert draw_qr(DATA).path not in page.body.decode()
    assert "ABCD-1234" not in page.body.decode()
    assert "nonce-" in page.headers["content-security-policy"]
    for headers in ({}, {"authorization": "Bearer wrong"}):
        refused = await ask(app, "/v1/pairing", headers=headers)
        assert (refused.status, set(refused.json)) == (401, {"error"})
    told = await ask(app, "/v1/pairing", headers={"authorization": f"Bearer {TOKEN}"})
    assert (told.status, told.json) == (200, desk.value())
    assert told.headers["cache-control"] == "no-store"


async def test_two_pages_have_different_nonces() -> None:
    first, second = [(await ask(guarded(WebPairing()), "/pairing")).body for _ in range(2)]
    assert first != second


async def test_without_a_token_nothing_is_shown_but_how_to_change_that() -> None:
    desk = Desk()
    desk.offer_code()
    server = WebServer(chat=None, metrics={}, ready=lambda: (), pairing=desk.pairing)
    told = await ask(server._app, "/v1/pairing", headers={"host": "127.0.0.1"})
    assert told.status == 403
    assert "set WEB_TOKEN" in told.json["error"]


async def test_the_metrics_token_does_not_open_it() -> None:
    desk = Desk()
    server = WebServer(
        chat=None, metrics={}, ready=lambda: (), pairing=desk.pairing, token=TOKEN, metrics_token="m" * 16
    )
    headers = {"host": "127.0.0.1", "authorization": f"Bearer {'m' * 16}"}
    assert (await ask(server._app, "/v1/pairing", headers=headers)).status == 401
    headers["authorization"] = f"Bearer {TOKEN}"
    assert (await ask(server._app, "/v1/pairing", headers=headers)).status == 200


async def test_a_server_without_pairing_has_no_such_page() -> None:
    server = WebServer(chat=None, metrics={}, ready=lambda: (), token=TOKEN)
    headers = {"host": "127.0.0.1", "authorization": f"Bearer {TOKEN}"}
    assert (await ask(server._app, "/pairing", headers=headers)).status == 404


async def test_what_joins_the_account_is_in_no_log_and_does_not_print(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    with caplog.at_level(logging.DEBUG):
        desk.offer_qr()
        desk.offer_code()
        await ask(guarded(desk.pairing), "/v1/pairing", headers={"authorization": f"Bearer {TOKEN}"})
        desk.events.publish(PairingEnded(paired=True))
    printed = caplog.text + repr(desk.pairing) + repr(vars(desk.pairing)) + repr(draw_qr(DATA))
    assert "a-secret" not in printed
    assert "ABCD" not in printed
    assert draw_qr(DATA).path not in printed
