"""A moment to come, in the words of people."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class _Words:
    """``one`` is said of the hours *singular*, whose number is no plural; ``day`` needs the names of ``weekdays``."""

    now: str
    today: str
    tomorrow: str
    day: str
    at: str
    one: str
    singular: tuple[int, ...]
    weekdays: tuple[str, ...]
    months: tuple[str, ...]


_LANGUAGES = {
    "es": _Words(
        "ahora",
        "hoy",
        "mañana",
        "el {weekday} {day} de {month}",
        "{day} a las {time}",
        "{day} a la {time}",
        (1,),
        ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
        (
            *("enero", "febrero", "marzo", "abril", "mayo", "junio"),
            *("julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"),
        ),
    ),
    "pt": _Words(
        "agora",
        "hoje",
        "amanhã",
        "{weekday}, {day} de {month},",
        "{day} às {time}",
        "{day} à {time}",
        (0, 1),
        (
            *("na segunda-feira", "na terça-feira", "na quarta-feira", "na quinta-feira", "na sexta-feira"),
            *("no sábado", "no domingo"),
        ),
        (
            *("janeiro", "fevereiro", "março", "abril", "maio", "junho"),
            *("julho", "agosto", "setembro", "outubro", "novembro", "dezembro"),
        ),
    ),
    "en": _Words(
        "now",
        "today",
        "tomorrow",
        "on {weekday} {day} {month}",
        "{day} at {time}",
        "{day} at {time}",
        (),
        ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        (
            *("January", "February", "March", "April", "May", "June"),
            *("July", "August", "September", "October", "November", "December"),
        ),
    ),
}


def in_words(moment: datetime, now: datetime, language: str) -> str:
    """*moment* as one says it at *now*: "hoy a las 16:00", "mañana a la 1:30", "el lunes 30 de noviembre a las 9:00".

    Both are on the clock of the same place. Languages are "es", "pt" and "en"; any other is said in Spanish.
    """
    words = _LANGUAGES.get(language, _LANGUAGES["es"])
    if moment <= now:
        return words.now
    days = (moment.date() - now.date()) // timedelta(days=1)
    day = words.day.format(
        weekday=words.weekdays[moment.weekday()], day=moment.day, month=words.months[moment.month - 1]
    )
    said = {0: words.today, 1: words.tomorrow}.get(days, day)
    at = words.one if moment.hour in words.singular else words.at
    return at.format(day=said, time=f"{moment.hour}:{moment.minute:02}")
