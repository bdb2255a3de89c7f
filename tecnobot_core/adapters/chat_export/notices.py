"""What WhatsApp itself writes into a chat, in English, Spanish and Portuguese."""

import re

from .header import MARKS

# Lines without a sender. Names stand before, inside and after the words, so these are searched for.
_UNSIGNED = re.compile(
    "|".join(
        (
            # encryption, security codes
            r"end-to-end encrypt",
            r"cifrad[oa]s? de extremo a extremo",
            r"(?:criptografi|criptografad|encripta)\w* (?:de )?ponta a ponta",
            r"security code .*changed|cambió .*código de seguridad|código de seguridad .*cambió",
            r"código de segurança .*mudou|mudou .*código de segurança",
            # groups and communities: made, members, titles, pictures, settings
            r"created (?:this |the )?(?:group|community)\b",
            r"\b(?:creó|creaste) (?:el|este|la|esta) (?:grupo|comunidad)\b",
            r"\b(?:criou|você criou) (?:o|este|a|esta) (?:grupo|comunidade)\b",
            r"\b(?:added|removed) .+|\b(?:was|were) (?:added|removed)\b",
            r"\b(?:añadió|añadiste|agregó|agregaste|eliminó|eliminaste|sacó|quitó) a .+",
            r"\b(?:te|se) (?:añadió|agregó|unió)\b|\bfu(?:e|iste) (?:añadid|agregad|eliminad)",
            r"\b(?:adicionou|removeu) .+|\b(?:foi|foram) (?:adicionad|removid)",
            r"\b(?:left|salió|saliste|saiu)(?: (?:the group|del grupo|do grupo))?\.?$",
            r"\b(?:abandonó|abandonaste|dejó) el grupo|\bsaiu usando",
            r"\bjoined (?:using|from|via|this)|\bte uniste\b|\bentrou usando|\bentrou (?:no|pelo)",
            r"\bchanged (?:the|this|their|its|to) |\bcambi(?:ó|aste) (?:el|la|los|las|su|este|esta|de|a|tu) ",
            r"\b(?:mudou|alterou) (?:o|a|os|as|seu|sua|este|esta|de|para) ",
            r"\b(?:deleted|eliminó|apagou|removeu) (?:this group's|el|la|a|o) (?:icon|ícono|icono|imagen|imagem|foto)",
            r"\b(?:now|no longer) an admin|\b(?:ahora|ya no) (?:eres|es) admin",
            r"\b(?:agora|não) é (?:mais )?(?:um )?admin",
            r"\bpinned a message|\b(?:fijó|fijaste) un mensaje|\bfixou uma mensagem",
            # calls
            r"\bmissed (?:group )?(?:voice|video)|llamada (?:de voz |de video )?(?:grupal )?perdida",
            r"(?:chamada|ligação) de (?:voz|vídeo) (?:em grupo )?perdida",
            r"\bstarted a (?:voice |video )?call|\b(?:inició|iniciaste) una (?:video)?llamada",
            r"\biniciou uma (?:chamada|ligação)",
            # disappearing messages, accounts, contacts, messages that are still under way
            r"disappearing messages|message timer|mensajes temporales|mensagens temporárias",
            r"\bbusiness account|cuenta de empresa|conta comercial",
            r"\bsecure service from Meta|servicio seguro de Meta|serviço seguro da Meta",
            r"\bis a contact\b|está en tus contactos|\bes un contacto\b|está na sua lista de contatos|é um contato\b",
            r"\byou (?:un)?blocked|\b(?:des)?bloqueaste a|você (?:des)?bloqueou",
            r"\bwaiting for this message|esperando (?:el|este) mensaje|aguardando (?:esta )?mensagem",
        )
    ),
    re.IGNORECASE,
)

# Lines that carry a sender although nobody wrote them: the whole text must be the sentence, so that nothing that a
# person says about calls or deleted messages is lost.
_TIME = r"(?: (?:at|a las?|às?) [0-9:.\sapm]+)?"
_SIGNED = re.compile(
    "|".join(
        (
            r"(?:this message was deleted|you deleted this message)(?: by admin .+)?\.?",
            r"(?:se eliminó este mensaje|este mensaje fue eliminado|eliminaste este mensaje|mensaje eliminado)\.?",
            r"(?:mensagem apagada|esta mensagem foi (?:apagada|eliminada))\.?",
            r"(?:você )?(?:apagou|eliminou) esta mensagem\.?",
            rf"missed (?:group )?(?:voice|video) call{_TIME}",
            rf"(?:llamada de (?:voz|video)|videollamada) (?:grupal )?perdida{_TIME}",
            rf"(?:chamada|ligação) de (?:voz|vídeo) (?:em grupo )?perdida{_TIME}",
            r"(?:waiting for this message|esperando (?:el|este) mensaje|aguardando (?:esta )?mensagem)\. .+",
            r"(?:messages|(?:los )?mensajes|(?:as )?mensagens)\b[^?]*"
            r"(?:end-to-end encrypt|de extremo a extremo|ponta a ponta)[^?]*",
        )
    ),
    re.IGNORECASE,
)

# The old and the new title of a group stand in quotes and may hold the colon that ends a sender's name elsewhere.
_TITLE_BEGUN = re.compile(
    r"(?:created|changed|creó|creaste|cambió|cambiaste|criou|mudou|alterou)\b.*[\"“«][^\"”»]*$", re.IGNORECASE
)
_LONGEST_SIGNED = 300


def is_unsigned_notice(rest: str) -> bool:
    """Whether a line without a sender says what WhatsApp says."""
    return _UNSIGNED.search(rest) is not None


def is_title_notice(sender: str) -> bool:
    """Whether what looks like a sender is a notice up to a colon inside a group's title."""
    return _TITLE_BEGUN.search(sender) is not None


def is_signed_notice(sender: str, text: str) -> bool:
    """Whether a message that carries a sender is WhatsApp's own."""
    bare = text.strip(MARKS + " ")
    if len(bare) > _LONGEST_SIGNED:
        return False
    if _SIGNED.fullmatch(bare):
        return True
    return bare.startswith(sender + " ") and is_unsigned_notice(bare[len(sender) :])
