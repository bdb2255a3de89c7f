"""What the bot says of its own accord, when no flow, model or paragraph speaks for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from ..errors import ConfigurationError
from ..messages import MessageKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The bot's own sentences, in one language.

    ``wait`` holds a place ``{time}``, ``shorten`` ``{limit}``, ``cannot_open`` ``{kind}`` and ``meant`` ``{keyword}``,
    which ``yes`` and ``no`` answer. ``second`` and ``seconds`` are what is put for ``{time}``, with a place
    ``{count}``. ``kinds`` names the kinds of messages as ``cannot_open`` needs them; a kind without a name takes that
    of "unknown". ``missed`` asks to repeat what was lost on its way; empty, nobody is asked.

    Of a recording, ``say_again`` says that it cannot be made out, ``no_sound`` that there is none in it, and
    ``smaller_recording`` that it is too much, which ``shorter_recording`` says with a place ``{limit}`` for minutes.
    Where one of these is empty, ``cannot_open`` is said.
    """

    unknown: str
    apology: str
    empty: str
    busy: str
    away: str
    late: str
    wait: str
    second: str
    seconds: str
    shorten: str
    cannot_open: str
    meant: str
    yes: str
    no: str
    kinds: Mapping[MessageKind, str]
    missed: str = ""
    say_again: str = ""
    no_sound: str = ""
    smaller_recording: str = ""
    shorter_recording: str = ""

    def slow_down(self, wait_s: float) -> str:
        """Asks to wait; whole seconds, rounded up, at least one."""
        count = max(1, ceil(wait_s))
        return self.wait.format(time=(self.second if count == 1 else self.seconds).format(count=count))

    def too_long(self, limit: int) -> str:
        """Asks for a message of at most *limit* characters."""
        return self.shorten.format(limit=limit)

    def shorten_recording(self, limit_s: float) -> str:
        """Asks for a recording of at most *limit_s*, in whole minutes where that is one or more."""
        if limit_s < 60:
            return self.smaller_recording
        return self.shorter_recording.format(limit=int(limit_s // 60))

    def unsupported(self, kind: MessageKind) -> str:
        """Says that a message of this *kind* cannot be used, and asks for words."""
        return self.cannot_open.format(kind=self.kinds.get(kind, self.kinds["unknown"]))

    def did_you_mean(self, keyword: str) -> str:
        """Asks whether a message meant *keyword*."""
        return self.meant.format(keyword=keyword)


SPANISH = Texts(
    unknown="Perdón, eso no lo sé 🙈 ¿Me lo preguntas con otras palabras?",
    apology="Perdón, algo salió mal de mi lado. ¿Lo intentas otra vez en un momento?",
    empty="Tu mensaje me llegó sin texto. ¿Me lo escribes otra vez?",
    busy="Ahora mismo no puedo abrir archivos. ¿Me lo escribes con palabras, por favor?",
    away="Me llegó tu mensaje y ahora mismo no puedo atenderlo. En cuanto pueda te respondo por aquí.",
    missed="Un mensaje tuyo se perdió en el camino y no pude leerlo. ¿Me lo repites?",
    say_again="No pude escuchar ese audio. ¿Me lo mandas otra vez?",
    no_sound="Ese archivo no trae sonido. ¿Me mandas una nota de voz o me lo escribes?",
    smaller_recording="Ese audio es demasiado grande para mí. ¿Me mandas uno más corto?",
    shorter_recording="Ese audio es muy largo para mí. ¿Me mandas uno más corto, de {limit} min como máximo?",
    late="Perdón por la demora, estuve fuera de servicio. ¿Sigues necesitando algo? Escríbeme y lo vemos.",
    wait="Vas más rápido que yo 😅 Espera {time} y seguimos.",
    second="1 segundo",
    seconds="{count} segundos",
    shorten="Ese mensaje es muy largo para mí. ¿Me lo resumes en {limit} caracteres o menos?",
    cannot_open="Todavía no puedo abrir {kind}. ¿Me lo cuentas por escrito?",
    meant="¿Quisiste decir «{keyword}»?",
    yes="Sí",
    no="No",
    kinds={
        "voice": "notas de voz",
        "audio": "audios",
        "image": "imágenes",
        "video": "videos",
        "document": "documentos",
        "sticker": "stickers",
        "location": "ubicaciones",
        "contact": "contactos",
        "reaction": "reacciones",
        "unknown": "ese tipo de mensaje",
    },
)

ENGLISH = Texts(
    unknown="Sorry, I don't know that one 🙈 Could you ask it in other words?",
    apology="Sorry, something went wrong on my side. Could you try again in a moment?",
    empty="Your message came without any text. Could you write it again?",
    busy="I can't open files right now. Could you put it in words, please?",
    away="I got your message and can't take care of it right now. I will answer you here as soon as I can.",
    missed="A message of yours got lost on its way and I could not read it. Could you send it again?",
    say_again="I could not make out that recording. Could you send it again?",
    no_sound="There is no sound in that file. Could you send a voice note, or write it to me?",
    smaller_recording="That recording is too big for me. Could you send a shorter one?",
    shorter_recording="That recording is too long for me. Could you send a shorter one, of at most {limit} min?",
    late="Sorry for the wait, I was out of service. Do you still need something? Write to me and we will see to it.",
    wait="You are faster than I am 😅 Give me {time} and we go on.",
    second="1 second",
    seconds="{count} seconds",
    shorten="That message is too long for me. Could you say it in at most {limit} characters?",
    cannot_open="I can't open {kind} yet. Could you write it to me instead?",
    meant="Did you mean “{keyword}”?",
    yes="Yes",
    no="No",
    kinds={
        "voice": "voice notes",
        "audio": "audio files",
        "image": "images",
        "video": "videos",
        "document": "documents",
        "sticker": "stickers",
        "location": "locations",
        "contact": "contacts",
        "reaction": "reactions",
        "unknown": "that kind of message",
    },
)

PORTUGUESE = Texts(
    unknown="Desculpe, isso eu não sei 🙈 Pode perguntar com outras palavras?",
    apology="Desculpe, algo deu errado do meu lado. Pode tentar de novo daqui a pouco?",
    empty="Sua mensagem chegou sem texto. Pode escrever de novo?",
    busy="Agora não consigo abrir arquivos. Pode me escrever com palavras, por favor?",
    away="Recebi sua mensagem e agora não posso atender. Assim que puder, respondo por aqui.",
    missed="Uma mensagem sua se perdeu no caminho e não consegui ler. Pode repetir para mim?",
    say_again="Não consegui ouvir esse áudio. Pode enviar de novo?",
    no_sound="Esse arquivo não tem som. Pode mandar uma mensagem de voz ou escrever?",
    smaller_recording="Esse áudio é grande demais para mim. Pode mandar um mais curto?",
    shorter_recording="Esse áudio é longo demais para mim. Pode mandar um mais curto, de no máximo {limit} min?",
    late="Desculpe a demora, estive fora do ar. Ainda precisa de algo? Escreva e a gente resolve.",
    wait="Você é mais rápido do que eu 😅 Espere {time} e a gente continua.",
    second="1 segundo",
    seconds="{count} segundos",
    shorten="Essa mensagem é longa demais para mim. Pode resumir em até {limit} caracteres?",
    cannot_open="Ainda não consigo abrir {kind}. Pode me contar por escrito?",
    meant="Você quis dizer “{keyword}”?",
    yes="Sim",
    no="Não",
    kinds={
        "voice": "mensagens de voz",
        "audio": "áudios",
        "image": "imagens",
        "video": "vídeos",
        "document": "documentos",
        "sticker": "figurinhas",
        "location": "localizações",
        "contact": "contatos",
        "reaction": "reações",
        "unknown": "esse tipo de mensagem",
    },
)

_LANGUAGES = {
    **{"spanish": SPANISH, "es": SPANISH, "english": ENGLISH, "en": ENGLISH},
    **{"portuguese": PORTUGUESE, "pt": PORTUGUESE},
}


def for_language(language: str) -> Texts:
    """The texts of "spanish" ("es"), "english" ("en") or "portuguese" ("pt"); for others a ConfigurationError."""
    try:
        return _LANGUAGES[language]
    except KeyError:
        known = ", ".join(_LANGUAGES)
        raise ConfigurationError(f"there are no texts in the language {language!r}; there are: {known}") from None
