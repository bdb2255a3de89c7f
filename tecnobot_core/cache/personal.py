"""Whether a question looks as if it were one person's, or one moment's.

It reads Spanish, Portuguese and English, and of other languages with Latin letters the plainest words; what is written
in other letters counts as personal. Where it is in doubt it says yes: that costs a hit, the contrary a secret.
"""

import re
import unicodedata
from collections.abc import Iterator

# What people write about themselves, and what they call theirs.
_SELF = """
    soy | somos | estoy | estamos | tengo | tenemos | debo | debemos | vivo | vivimos | trabajo | naci | yo | conmigo |
    pague | pagamos | compre | compramos | pedi | pedimos | reserve | reservamos | encargue | recibi | llame | hice |
    mi | mis | mio | mia | mios | mias | nuestr[oa]s? | (aqui|habla|te|le|les|os) (habla|escribe|saluda) | de parte de |
    me (llam[oa]n?|apellido|siento|duelen?|encuentro|paso|case|mude|deben?|faltan?|toca|queda|quede|cobr\\w+|robaron|
        lleg\\w+|dij\\w+|atendi\\w+|opera\\w+|mand(o|aron)|envi(o|aron)|vendi\\w+|di(o|eron)) |
    sou | estou | tenho | temos | devo | devemos | moro | nasci | eu | comigo | paguei | comprei | recebi | fiz |
    meus? | minhas? | noss[oa]s? | me cham[oa]m? | chamo-me | aqui e | quem fala |
    i am | i'm | im | i was | i've | i have | i had | i owe | i live | i paid | i bought | i ordered | i booked |
    we are | we're | we have | we've | we owe | my | mine | myself | our | ours | this is | call me | name is |
    here is | je suis | je m'\\w+ | j'ai | mon | sono | mi chiamo | ich bin | ich habe | ich heisse |
    mein\\w* | em dic | jo
"""

# Words whose answer is another one tomorrow, or in an hour.
_CLOCK = """
    ahora | ahorita | hoy | manana | ayer | anoche | anteayer | antier | todavia | aun | ya | actualmente | momento |
    proxim[oa]s? | que viene | que hora es | que dia es |
    hace (un|una|dos|tres|\\d+) \\w+ |
    hace (poco|rato) | (el|la) (ultim[oa]|pasad[oa]) \\w+ |
    (esta|este|estos|estas) (semana|tarde|noche|madrugada|mes|ano|dias?|fin|finde|
        lunes|martes|miercoles|jueves|viernes|sabado|domingo) |
    (esta|estan|estais|sigue|siguen) (abiert[oa]s?|cerrad[oa]s?)(?! (los|todos|24)) |
    (esta|estao) (abert[oa]s?|fechad[oa]s?)(?! (aos|todos|24)) |
    agora | hoje | amanha | ontem | ainda | ja | atualmente | que horas sao | que vem | nest[ae] \\w+ | ha pouco |
    now | today | tonight | tomorrow | yesterday | currently | still | yet | already | ago | moment | what time is it |
    (this|next|last) (morning|afternoon|evening|night|week|weekend|month|year|monday|tuesday|wednesday|thursday|friday|
        saturday|sunday) |
    (are|is) (you|they|it|the \\w+) (\\w+ )?(open|closed)(?! (on|at|every|all|during|24)) |
    aujourd'hui | demain | hier | maintenant | heute | morgen | gestern | jetzt | oggi | domani | adesso | avui | dema
"""

_MONEY = """
    [$€£¥₹] \\s* \\d | (r\\$ | s/\\.? | us\\$) \\s* \\d |
    \\d [\\d.,]* \\s* (mil(es)?\\ | mill\\w+\\ (de\\ )?)? ([$€£¥₹] |
        (euros? | eur | dolar(es)? | dollars? | usd | pesos? | reais | real | reales | sol(es)? | pounds? | libras? |
         bucks | mxn | cop | clp | ars | pen | brl | gbp | quetzal(es)? | bolivar(es)? | lempiras? | colones? |
         guaranies | cents? | centavos? | centimos?) \\b) |
    \\b (mil | cien | cem | \\w*cient[oa]s | hundred | thousand) \\ (de\\ )?
        (euros | pesos | dolares | dollars | reais | soles)
"""

# An e-mail address, a handle, and numbers: of a telephone or card with its signs, or of what has one.
_ADDRESS = """
    [^\\s@]@[^\\s@]+\\.\\w | (?<!\\S) @\\w | (?: \\d [\\ .\\-/()]{0,2} ){6,} | \\# \\s* \\d |
    \\b (n | no | nro | num | numero | number) \\b \\W* \\d |
    \\b (pedidos? | orden | compra | reserva | factura | ticket | boleta | folio | guia | caso | cita | cliente |
        cuenta | expediente | encomenda | fatura | conta | order | booking | reservation | invoice | case | account |
        tracking) \\b
        \\W+ (\\w+\\W+){0,2} \\w*\\d
"""


def _words(alternatives: str) -> str:
    """A pattern of whole words; a blank is one space of a folded text."""
    joined = re.sub(r"\s+", " ", re.sub(r"\s*\|\s*", "|", alternatives)).strip()
    return rf"(?<![^\W_])(?:{joined})(?![^\W_])"


_OF_A_PERSON = re.compile(_words(_SELF))
_OF_A_MOMENT = re.compile(_words(_CLOCK))
_OF_AN_ACCOUNT = re.compile(f"{_MONEY}|{_ADDRESS}", re.VERBOSE)
_NOT_LATIN = re.compile("[^\\W\\d_\u0000-\u024f]")
_ACCENTS, _SPACES = re.compile("[\u0300-\u036f]+"), re.compile(r"\s+")
_TOKEN = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
# What has a capital and is nobody's name.
_COMMON = frozenset(
    {
        "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "mondays", "tuesdays",
        "wednesdays", "thursdays", "fridays", "saturdays", "sundays", "january", "february", "march", "july",
        "september", "october", "november", "december", "christmas", "easter", "navidad", "whatsapp", "internet",
        "english", "spanish", "portuguese",
    }
)  # fmt: skip
_BEFORE = 8  # characters that are looked at to know whether a sentence goes on
_OPENING = "([\"'«“‘"  # may stand before a word, beside spaces
_CONTINUING = ",;)]'\"»”’/&+-"  # and these, beside letters and digits, where a sentence goes on


def folded(text: str) -> str:
    """*text* without case, accents and doubled spaces, as people spell the same word."""
    apart = unicodedata.normalize("NFKD", text.casefold().replace("’", "'"))
    return _SPACES.sub(" ", _ACCENTS.sub("", apart))


def looks_personal(question: str, known: str) -> bool:
    """Whether *question* tells of a person, an account or a moment, or names what the owner's text *known* does not."""
    text = folded(question)
    if any(pattern.search(text) for pattern in (_OF_A_PERSON, _OF_A_MOMENT, _OF_AN_ACCOUNT, _NOT_LATIN)):
        return True
    strange = {folded(word) for word in _proper(question)} - _COMMON
    return bool(strange) and not strange <= set(_TOKEN.findall(folded(known)))


def holds_name(text: str, name: str) -> bool:
    """Whether *text*, folded, holds *name*, whole or one of its words of three or more letters."""
    words = _TOKEN.findall(folded(name))
    wanted = [" ".join(words), *(word for word in words if len(word) >= 3)] if words else []
    # In writing without spaces a name stands among other letters; in Latin letters "Ana" is not meant by "semana".
    return any(
        re.search(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", text) if word.isascii() else word in text
        for word in wanted
    )


def _proper(question: str) -> Iterator[str]:
    """Words that may be a name or a number of somebody: capitals within a sentence, four and more digits, codes."""
    for found in _TOKEN.finditer(question):
        word, start = found[0], found.start()
        n_digits = sum(char.isdigit() for char in word)
        is_code = n_digits >= 4 or (n_digits >= 2 and len(word) >= 6)
        is_capital = len(word) > 1 and word[0].isupper() and not word.isupper()
        if is_code or (is_capital and _continues(question[max(start - _BEFORE, 0) : start])):
            yield word


def _continues(before: str) -> bool:
    """Whether a word behind *before* is not the first of its sentence."""
    for char in reversed(before):
        if char == "\n" or not (char.isspace() or char in _OPENING):
            return char.isalnum() or char in _CONTINUING
    return len(before) == _BEFORE
