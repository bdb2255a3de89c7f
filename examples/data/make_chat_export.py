"""Writes chat_export_es.txt: two invented days of an electronics shop, in the form of WhatsApp's export on Android."""

from collections.abc import Iterator
from pathlib import Path

SHOP = "Electrónica Sol"
LUCIA = "Lucía Paredes"
ERNESTO = "Don Ernesto - Taller"
CAMILA = "Camila 🌻"
MATEO = "Mateo Quiroga"
INES = "Sra. Inés"
ROCIO = "Rocío: oficina"  # names may hold a dash or a colon

FRIDAY = "14/3/2025"
SATURDAY = "15/3/2025"

# (time on a 24 h clock, sender, text); no sender: a line that WhatsApp writes itself
Line = tuple[str, str, str]

ENCRYPTION_NOTICE = (
    "Los mensajes y las llamadas están cifrados de extremo a extremo. Solo las personas en este chat pueden leerlos, "
    "escucharlos o compartirlos. Obtén más información."
)

FRIDAY_LINES: list[Line] = [
    ("08:55", "", ENCRYPTION_NOTICE),
    ("08:57", LUCIA, "Hola, buenos días 😊"),
    ("08:58", SHOP, "¡Hola, Lucía! Bienvenida a Electrónica Sol ☀️ ¿En qué te ayudamos?"),
    ("08:58", LUCIA, "¿Cuál es el horario de atención?"),
    ("08:59", SHOP, "De lunes a viernes de 9:00 a 18:30 y los sábados de 10:00 a 14:00."),
    ("09:00", LUCIA, "¿Y los domingos abren?"),
    ("09:01", SHOP, "Los domingos descansamos, pero por aquí puedes dejar tu mensaje."),
    ("09:01", LUCIA, "Perfecto, gracias"),
    ("09:05", ERNESTO, "Buen día"),
    ("09:05", ERNESTO, "Necesito precios de cables HDMI de 2 metros"),
    ("09:07", SHOP, "Buen día, don Ernesto. El HDMI 2.1 de 2 m está en $9.50 y el trenzado en $13."),
    ("09:08", ERNESTO, "¿Y por docena?"),
    ("09:10", SHOP, "Por docena le hacemos 12 % de descuento."),
    (
        "09:14",
        ERNESTO,
        "Entonces anote:\n- 12 HDMI de 2 m\n- 4 regletas con protección\n- 2 adaptadores USB-C a HDMI\n"
        "Lo paso a buscar hoy",
    ),
    ("09:15", SHOP, "Anotado. Le preparo la factura a nombre del taller."),
    ("09:15", ERNESTO, "La factura por favor con los datos de siempre"),
    ("09:22", CAMILA, "holaaa"),
    ("09:22", CAMILA, "tienen audífonos con cancelación de ruido??"),
    ("09:24", SHOP, "¡Hola, Camila! Sí: los Brisa NC a $69 y los Brisa NC Pro a $109."),
    ("09:25", CAMILA, "y cuál dura más la batería"),
    ("09:26", SHOP, "Los Pro: 38 horas con el estuche. Los NC, 26 horas."),
    ("09:27", CAMILA, "🤩🤩🤩"),
    ("09:27", CAMILA, "tienen ofertas esta semana?"),
    ("09:29", SHOP, "Hasta mañana los Brisa NC Pro van con funda de regalo."),
    ("09:31", CAMILA, "<Multimedia omitido>"),
    ("09:31", CAMILA, "estos son los míos, se les rompió la bisagra 😢"),
    ("09:33", SHOP, "¿Los compraste con nosotros? Si tienen menos de un año, la garantía cubre la bisagra."),
    ("09:34", CAMILA, "sii en noviembre, cómo hago lo de la garantía"),
    ("09:36", SHOP, "Tráelos con la factura. En 7 días hábiles te los cambiamos o reparamos."),
    ("09:36", CAMILA, "graciasss 💛"),
    ("10:02", MATEO, "Hola. Quiero saber el estado de mi pedido"),
    ("10:03", SHOP, "Hola, Mateo. ¿Me dices el número de pedido?"),
    ("10:03", MATEO, "Pedido SOL-20417"),
    ("10:06", SHOP, "Ya salió del depósito. Llega mañana entre las 10 y las 13."),
    ("10:07", MATEO, "El envío tiene seguimiento?"),
    ("10:08", SHOP, "Sí, te enviamos el enlace por correo."),
    ("10:12", MATEO, "No me llegó el correo, lo revisé en spam también"),
    ("10:15", SHOP, "Reenviado ✅"),
    ("10:16", MATEO, "Ahora sí. Gracias!"),
    ("10:40", INES, "Buenos días señores, disculpen la molestia"),
    ("10:41", INES, "Mi nieto me dijo que ustedes arreglan celulares"),
    ("10:44", SHOP, "Buenos días, señora Inés. Sí, tenemos soporte técnico en la tienda."),
    ("10:46", INES, "PTT-20250314-WA0003.opus (archivo adjunto)"),
    ("10:49", SHOP, "Entendido: la pantalla quedó negra pero suena. Probablemente sea el módulo."),
    ("10:50", INES, "¿Y cuánto cuesta eso?"),
    ("10:52", SHOP, "El diagnóstico es gratis. El cambio de módulo va de $35 a $80 según el modelo."),
    ("10:53", INES, "¿Dónde queda la tienda? ¿Me da la dirección?"),
    ("10:54", SHOP, "Avenida de los Álamos 412, frente a la plaza."),
    ("10:56", INES, "Muchas gracias joven, que Dios lo bendiga 🙏"),
    ("11:05", ROCIO, "Buenos días, escribo de la oficina de compras"),
    ("11:06", ROCIO, "Necesitamos cotización de 6 laptops para contabilidad"),
    ("11:09", SHOP, "Con gusto. ¿Qué presupuesto por equipo y qué programas usan?"),
    (
        "11:12",
        ROCIO,
        "Hasta 650 por equipo.\nProgramas: hoja de cálculo, correo y el sistema contable.\n\n"
        "Importante: 16 GB de memoria y teclado en español.",
    ),
    ("11:18", SHOP, "Les sirve la Cumbre 14: Ryzen 5, 16 GB, SSD de 512 GB, $619 cada una."),
    ("11:20", ROCIO, "¿Aceptan pago por transferencia?"),
    ("11:21", SHOP, "Sí: transferencia, tarjeta y efectivo."),
    ("11:22", ROCIO, "¿Con tarjeta hay cuotas?"),
    ("11:23", SHOP, "Tres sin interés con tarjetas de crédito."),
    ("11:24", ROCIO, "Perfecto, lo consulto y les aviso"),
    ("11:48", LUCIA, "Hola de nuevo, ¿cuánto está el televisor de 50 pulgadas?"),
    ("11:50", SHOP, "El Aurora 50 4K está en $389 con envío incluido en la ciudad."),
    ("11:51", LUCIA, "¿y el de 55?"),
    ("11:52", SHOP, "$449, también con envío."),
    ("11:53", LUCIA, "¿Hacen envíos a otras ciudades?"),
    ("11:55", SHOP, "Sí, a todo el país en 2 a 4 días hábiles. Cuesta $12 hasta 10 kg."),
    ("11:57", LUCIA, "https://ejemplo.invalid/aurora-55 es este verdad?"),
    ("11:58", SHOP, "Ese mismo."),
    ("12:01", LUCIA, "Lo pienso y te digo 🤔"),
    ("12:30", ERNESTO, "Llamada de voz perdida"),
    ("12:32", ERNESTO, "Los llamé y no contestan"),
    ("12:34", SHOP, "Disculpe, don Ernesto, estábamos con un cliente. Su pedido está listo."),
    ("12:35", ERNESTO, "Voy para allá"),
    ("13:15", MATEO, "Una consulta más: si el celular no me gusta, hay devolución?"),
    ("13:17", SHOP, "Tienes 10 días con la caja y los accesorios completos."),
    ("13:18", MATEO, "Ok"),
    ("13:18", MATEO, "👍"),
    ("14:20", INES, "Joven ya encontré la tienda pero está cerrada"),
    ("14:21", SHOP, "Abrimos a las 15:00 después del almuerzo, señora Inés. Disculpe."),
    ("14:22", INES, "Ah bueno, lo espero en la plaza"),
    ("14:23", INES, "ubicación: https://maps.google.com/?q=0.0000,0.0000"),
    ("15:02", SHOP, "Ya estamos aquí."),
    ("15:40", CAMILA, "una preguntita, los audífonos Pro vienen en color verde??"),
    ("15:42", SHOP, "En verde agua y en negro."),
    ("15:42", CAMILA, "verde agua!!! 💚 apártenme uno porfa"),
    ("15:43", SHOP, "Apartado hasta mañana a las 13:00."),
    ("16:05", ROCIO, "Nos aprobaron la compra de las 6 laptops"),
    ("16:06", ROCIO, "¿Me confirman precio con factura?"),
    ("16:09", SHOP, "6 × $619 = $3,714 con factura incluida."),
    ("16:11", ROCIO, "De acuerdo, mañana hacemos el pago"),
    ("16:30", "", "texto que quedó sin remitente"),  # nobody can tell what this is: it must be shown, not guessed
    ("17:10", LUCIA, "Decidido: quiero el televisor de 55"),
    ("17:11", SHOP, "¡Excelente elección! ¿Pago en línea o contra entrega?"),
    ("17:12", LUCIA, "contra entrega"),
    ("17:14", SHOP, "Pedido SOL-20431 creado. Llega el lunes."),
    ("17:15", LUCIA, "Se eliminó este mensaje."),
    ("17:15", LUCIA, "Muchas gracias! 🙌"),
    ("18:20", MATEO, "adiós, hasta mañana"),
]

# All in one minute: more than the default rate limit admits.
BURST = """
hola
hola??
están ahí
es urgente
se me cayó agua
en la laptop
la laptop nueva
no prende
ayudaaa
😭
la puse boca abajo
en arroz no verdad?
eso leí
alguien?
soporte por favor
menú
precio de la reparación
es que tengo que entregar mañana
un trabajo
de la universidad
y todo está ahí
el disco se puede salvar?
díganme que sí
🙏
🙏🙏
la garantía cubre agua?
creo que no
verdad?
igual pregunto
cuánto demora
puedo ir ya
en taxi llego en 10
a qué hora cierran
horario
contesten porfa 🥺
""".strip().splitlines()

SATURDAY_LINES: list[Line] = [
    ("09:40", ERNESTO, "Buenas. De los 12 cables uno vino fallado"),
    ("09:41", ERNESTO, "IMG-20250315-WA0001.jpg (archivo adjunto)\nSe ve el conector torcido"),
    ("10:01", SHOP, "Buenos días, don Ernesto. Se lo cambiamos cuando pase, sin problema."),
    ("10:02", ERNESTO, "¿Eso es devolución o garantía?"),
    ("10:03", SHOP, "Cambio directo, no hace falta trámite."),
    ("10:03", ERNESTO, "Así da gusto. Gracias"),
    ("10:10", ROCIO, "Buenos días, ¿a qué cuenta hacemos el pago?"),
    ("10:12", SHOP, "Te envío los datos en la factura proforma."),
    ("10:12", SHOP, "<Multimedia omitido>"),
    ("10:25", ROCIO, "Transferido ✅"),
    ("10:31", SHOP, "Recibido. El lunes llevamos las 6 laptops a la oficina."),
    ("10:32", ROCIO, "¿Las dejan instaladas?"),
    ("10:33", SHOP, "Sí, con el correo y el sistema listos."),
    ("10:34", ROCIO, "Gracias por la rapidez 👏"),
    ("10:45", MATEO, "Ya llegó el repartidor!"),
    ("10:52", MATEO, "La caja está bien pero falta el cargador"),
    ("10:54", SHOP, "Ese modelo trae solo el cable. El cargador de 30 W está en $18."),
    ("10:55", MATEO, "Ah, no lo sabía"),
    ("10:55", MATEO, "Me lo mandan con el próximo envío?"),
    ("10:57", SHOP, "Va sin costo de envío, por la confusión."),
    ("10:58", MATEO, "Crack, gracias"),
    ("11:15", CAMILA, "llego en un rato por los audífonos 💚"),
    ("11:16", SHOP, "Te esperamos."),
    *(("11:20", CAMILA, text) for text in BURST),
    ("11:24", SHOP, "Camila, tranquila: no la enciendas y tráela ya. Cerramos a las 14:00."),
    ("11:25", CAMILA, "voy volando"),
    ("11:25", "", f'{SHOP} cambió el asunto de "Ventas: marzo" a "Ventas: clientes"'),
    ("11:40", INES, "Buenos días joven, ¿ya está mi celular?"),
    ("11:42", SHOP, "Sí, señora Inés. Quedó como nuevo: $42 con garantía de 90 días."),
    ("11:43", INES, "Qué alegría 😊 ¿puedo pagar en efectivo?"),
    ("11:44", SHOP, "Por supuesto."),
    ("11:50", INES, "¿Y me enseñan a poner las letras más grandes?"),
    ("11:51", SHOP, "Claro, se lo dejamos configurado."),
    ("11:52", INES, "Dios los bendiga"),
    ("12:05", LUCIA, "Hola, ¿se puede cambiar la dirección de mi pedido SOL-20431?"),
    ("12:07", SHOP, "Sí, todavía no sale. ¿Cuál es la nueva?"),
    ("12:08", LUCIA, "Calle Los Tilos 88, piso 2\nEntre Robles y Cedros\nTimbre: Paredes"),
    ("12:10", SHOP, "Actualizado ✅"),
    ("12:11", LUCIA, "Genial"),
    ("12:40", MATEO, "Última: tienen celular con buena cámara por menos de 300?"),
    ("12:42", SHOP, "El Lumen 8 a $279: cámara de 50 MP con estabilizador."),
    ("12:43", MATEO, "Lo voy a ver el lunes. ¿Ubicación?"),
    ("12:44", SHOP, "Avenida de los Álamos 412, frente a la plaza."),
    ("12:59", CAMILA, "chicos mil gracias, se salvó el disco 😭💛"),
    ("13:00", SHOP, "¡Qué buena noticia! El lunes te damos el presupuesto del teclado."),
    ("13:01", CAMILA, "y me llevé los audífonos jajaja"),
    ("13:02", CAMILA, "<Multimedia omitido>"),
    ("13:30", ERNESTO, "Ya pasé por el cable. Adiós y buen fin de semana"),
    ("13:31", SHOP, "Igualmente, don Ernesto."),
    ("13:58", LUCIA, "Gracias por todo, adiós 👋"),
    ("13:59", SHOP, "¡Gracias a ti! Nos vemos el lunes."),
]


def written_time(clock: str) -> str:
    """``"14:05"`` as Android writes it in Spanish, with a narrow and an ordinary no-break space."""
    hour, minute = clock.split(":")
    half = "a" if int(hour) < 12 else "p"
    return f"{(int(hour) + 11) % 12 + 1}:{minute}\u202f{half}.\u00a0m."


def export_lines() -> Iterator[str]:
    for day, lines in ((FRIDAY, FRIDAY_LINES), (SATURDAY, SATURDAY_LINES)):
        for clock, sender, text in lines:
            yield f"{day}, {written_time(clock)} - {sender + ': ' if sender else ''}{text}\n"


if __name__ == "__main__":
    target = Path(__file__).with_name("chat_export_es.txt")
    target.write_text("".join(export_lines()), encoding="utf-8", newline="\n")
    print(f"{target.name}: {sum(1 for _ in export_lines())} messages and notices")
