// What the page says, in English, Spanish and Portuguese. Elements carry the key of their text, so that switching is one pass.

const TEXTS = {
  en: {
    add_chat: "Add chat",
    attach: "Attach an image or a recording",
    bot_said: "TecnoBot:",
    chat: "Chat {number}",
    chat_name: "Name of this chat",
    chats: "Chats",
    close: "Close",
    conversation: "Conversation: {name}",
    discard_recording: "Discard the recording",
    file_empty: "{name} is empty.",
    file_too_big_image: "{name} has {size}; an image may have {max}.",
    file_too_big_voice: "{name} has {size}; a recording may have {max}.",
    history_missing: "The conversation so far cannot be shown right now.",
    jump: "Go to the newest message",
    link_connecting: "Connecting…",
    link_offline: "Offline",
    link_reconnecting: "Reconnecting…",
    link_up: "Connected",
    media_of: "{kind}: {name}",
    memory: "Memory of the bot",
    memory_lately: "Memory in the last {minutes} min: between {least} and {most} MiB",
    memory_used: "{used} of {limit} MiB · {share}",
    message: "Message",
    microphone_refused: "There is no microphone, or this page may not use it.",
    nothing_said: "A message from before",
    other_language: "Cambiar a español",
    other_language_short: "ES",
    panel: "What the bot did",
    panel_empty: "Write a message: every stage it passes appears here, with its time.",
    record: "Record a voice note",
    recording: "Recording…",
    remove_chat: "Remove this chat from the page",
    remove_sure: "Remove?",
    send: "Send",
    send_recording: "Send the recording",
    show_all: "Show all {count} characters",
    show_outcome: "Show what the bot did: {by}, {ms}",
    state_delivered: "Delivered",
    state_handled: "Handled",
    state_refused: "Not sent: the bot does not take this message",
    state_refused_no_room: "Not sent: the server has no room for files right now",
    state_refused_too_big: "Not sent: the file is too big",
    state_refused_type: "Not sent: this kind of file is not taken",
    state_retrying: "Not sent yet, trying again",
    state_sending: "Sending",
    summary: "{by} · {ms}",
    token: "Token",
    token_enter: "Enter",
    token_help: "The owner of this bot set it as WEB_TOKEN. It is kept until this tab is closed.",
    token_title: "This page needs a token",
    token_wrong: "That is not the token.",
    typing: "TecnoBot is typing…",
    uploading: "Uploading",
    welcome: "Write to the bot, or begin with one of these:",
    you_said: "You:",
    suggestions: ["Hello", "What are your opening hours?", "Prices"],
    by: { access_list: "Access list", audio: "Audio", empty: "Empty message", error: "Error", flow: "Flow",
      handoff: "A person answers", knowledge: "Knowledge", late: "Late", memory: "Memory", model: "Model",
      owner: "The owner", rate_limit: "Rate limit", signal: "Nothing to do", suggestion: "Did you mean…?",
      too_long: "Too long", unknown: "Nothing found", unsupported: "Not supported" },
    // As the bot says it.
    detail: { admitted: "admitted", audio: "audio, {n} characters", characters: "{n} characters", closed: "closed",
      messages: "{n} messages", no_match: "no match", nothing: "nothing", over: "{flow}: over", passages: "{n} passages",
      text: "text, {n} characters", voice: "voice, {n} characters" },
    level: { normal: "normal", warning: "warning", critical: "critical" },
    media: { audio: "Audio", document: "Document", image: "Image", sticker: "Sticker", video: "Video", voice: "Voice note" },
    outcome: { answered: "answered", refused: "refused", skipped: "skipped", failed: "failed" },
    stage: { admit: "Admit", understand: "Understand", hear: "Hear", transcribe: "Transcribe", remember: "Remember", flow: "Flow", keyword: "Keyword",
      event: "Event", model: "Model", knowledge: "Knowledge", suggestion: "Suggestion", handoff: "Handoff",
      signal: "Signal" },
  },
  es: {
    add_chat: "Añadir chat",
    attach: "Adjuntar una imagen o una grabación",
    bot_said: "TecnoBot:",
    chat: "Chat {number}",
    chat_name: "Nombre de este chat",
    chats: "Chats",
    close: "Cerrar",
    conversation: "Conversación: {name}",
    discard_recording: "Descartar la grabación",
    file_empty: "{name} está vacío.",
    file_too_big_image: "{name} tiene {size}; una imagen puede tener {max}.",
    file_too_big_voice: "{name} tiene {size}; una grabación puede tener {max}.",
    history_missing: "Ahora no se puede mostrar la conversación anterior.",
    jump: "Ir al mensaje más reciente",
    link_connecting: "Conectando…",
    link_offline: "Sin conexión",
    link_reconnecting: "Reconectando…",
    link_up: "Conectado",
    media_of: "{kind}: {name}",
    memory: "Memoria del bot",
    memory_lately: "Memoria en los últimos {minutes} min: entre {least} y {most} MiB",
    memory_used: "{used} de {limit} MiB · {share}",
    message: "Mensaje",
    microphone_refused: "No hay micrófono, o esta página no puede usarlo.",
    nothing_said: "Un mensaje anterior",
    other_language: "Mudar para português",
    other_language_short: "PT",
    panel: "Qué hizo el bot",
    panel_empty: "Escribe un mensaje: aquí aparece cada etapa por la que pasa, con su tiempo.",
    record: "Grabar una nota de voz",
    recording: "Grabando…",
    remove_chat: "Quitar este chat de la página",
    remove_sure: "¿Quitar?",
    send: "Enviar",
    send_recording: "Enviar la grabación",
    show_all: "Mostrar los {count} caracteres",
    show_outcome: "Ver qué hizo el bot: {by}, {ms}",
    state_delivered: "Entregado",
    state_handled: "Atendido",
    state_refused: "No enviado: el bot no acepta este mensaje",
    state_refused_no_room: "No enviado: ahora el servidor no tiene lugar para archivos",
    state_refused_too_big: "No enviado: el archivo es demasiado grande",
    state_refused_type: "No enviado: no se acepta este tipo de archivo",
    state_retrying: "Aún sin enviar, reintentando",
    state_sending: "Enviando",
    summary: "{by} · {ms}",
    token: "Token",
    token_enter: "Entrar",
    token_help: "El dueño del bot lo definió como WEB_TOKEN. Se guarda hasta cerrar esta pestaña.",
    token_title: "Esta página pide un token",
    token_wrong: "Ese no es el token.",
    typing: "TecnoBot está escribiendo…",
    uploading: "Subiendo",
    welcome: "Escríbele al bot, o empieza con una de estas:",
    you_said: "Tú:",
    suggestions: ["Hola", "¿Qué horario tienen?", "Precios"],
    by: { access_list: "Lista de acceso", audio: "Audio", empty: "Mensaje vacío", error: "Error", flow: "Flujo",
      handoff: "Responde una persona", knowledge: "Conocimiento", late: "Tarde", memory: "Memoria", model: "Modelo",
      owner: "La dueña o el dueño", rate_limit: "Límite de uso", signal: "Nada que hacer",
      suggestion: "¿Quisiste decir…?", too_long: "Demasiado largo", unknown: "Nada encontrado", unsupported: "No admitido" },
    detail: { admitted: "admitido", audio: "audio, {n} caracteres", characters: "{n} caracteres", closed: "cerrado",
      messages: "{n} mensajes", no_match: "ninguna", nothing: "nada", over: "{flow}: fin", passages: "{n} pasajes",
      text: "texto, {n} caracteres", voice: "voz, {n} caracteres" },
    level: { normal: "normal", warning: "aviso", critical: "crítica" },
    media: { audio: "Audio", document: "Documento", image: "Imagen", sticker: "Sticker", video: "Vídeo", voice: "Nota de voz" },
    outcome: { answered: "respondido", refused: "rechazado", skipped: "omitido", failed: "falló" },
    stage: { admit: "Admitir", understand: "Entender", hear: "Oír", transcribe: "Transcribir", remember: "Recordar", flow: "Flujo", keyword: "Palabra clave",
      event: "Evento", model: "Modelo", knowledge: "Conocimiento", suggestion: "Sugerencia", handoff: "Atención humana",
      signal: "Señal" },
  },
  pt: {
    add_chat: "Adicionar conversa",
    attach: "Anexar uma imagem ou uma gravação",
    bot_said: "TecnoBot:",
    chat: "Conversa {number}",
    chat_name: "Nome desta conversa",
    chats: "Conversas",
    close: "Fechar",
    conversation: "Conversa: {name}",
    discard_recording: "Descartar a gravação",
    file_empty: "{name} está vazio.",
    file_too_big_image: "{name} tem {size}; uma imagem pode ter {max}.",
    file_too_big_voice: "{name} tem {size}; uma gravação pode ter {max}.",
    history_missing: "A conversa anterior não pode ser mostrada agora.",
    jump: "Ir para a mensagem mais recente",
    link_connecting: "Conectando…",
    link_offline: "Sem conexão",
    link_reconnecting: "Reconectando…",
    link_up: "Conectado",
    media_of: "{kind}: {name}",
    memory: "Memória do bot",
    memory_lately: "Memória nos últimos {minutes} min: entre {least} e {most} MiB",
    memory_used: "{used} de {limit} MiB · {share}",
    message: "Mensagem",
    microphone_refused: "Não há microfone, ou esta página não pode usá-lo.",
    nothing_said: "Uma mensagem anterior",
    other_language: "Switch to English",
    other_language_short: "EN",
    panel: "O que o bot fez",
    panel_empty: "Escreva uma mensagem: cada etapa por onde ela passa aparece aqui, com o seu tempo.",
    record: "Gravar uma mensagem de voz",
    recording: "Gravando…",
    remove_chat: "Tirar esta conversa da página",
    remove_sure: "Tirar?",
    send: "Enviar",
    send_recording: "Enviar a gravação",
    show_all: "Mostrar os {count} caracteres",
    show_outcome: "Ver o que o bot fez: {by}, {ms}",
    state_delivered: "Entregue",
    state_handled: "Atendido",
    state_refused: "Não enviado: o bot não aceita esta mensagem",
    state_refused_no_room: "Não enviado: o servidor está sem espaço para arquivos agora",
    state_refused_too_big: "Não enviado: o arquivo é grande demais",
    state_refused_type: "Não enviado: este tipo de arquivo não é aceito",
    state_retrying: "Ainda não enviado, tentando de novo",
    state_sending: "Enviando",
    summary: "{by} · {ms}",
    token: "Token",
    token_enter: "Entrar",
    token_help: "Quem cuida deste bot o definiu como WEB_TOKEN. Fica guardado até fechar esta aba.",
    token_title: "Esta página pede um token",
    token_wrong: "Esse não é o token.",
    typing: "TecnoBot está escrevendo…",
    uploading: "Enviando arquivo",
    welcome: "Escreva para o bot, ou comece com uma destas:",
    you_said: "Você:",
    suggestions: ["Olá", "Qual é o horário?", "Preços"],
    by: { access_list: "Lista de acesso", audio: "Áudio", empty: "Mensagem vazia", error: "Erro", flow: "Fluxo",
      handoff: "Uma pessoa responde", knowledge: "Conhecimento", late: "Tarde", memory: "Memória", model: "Modelo",
      owner: "A dona ou o dono", rate_limit: "Limite de uso", signal: "Nada a fazer",
      suggestion: "Você quis dizer…?", too_long: "Longo demais", unknown: "Nada encontrado", unsupported: "Não suportado" },
    detail: { admitted: "admitido", audio: "áudio, {n} caracteres", characters: "{n} caracteres", closed: "fechado",
      messages: "{n} mensagens", no_match: "nenhuma", nothing: "nada", over: "{flow}: fim", passages: "{n} trechos",
      text: "texto, {n} caracteres", voice: "voz, {n} caracteres" },
    level: { normal: "normal", warning: "aviso", critical: "crítica" },
    media: { audio: "Áudio", document: "Documento", image: "Imagem", sticker: "Figurinha", video: "Vídeo", voice: "Mensagem de voz" },
    outcome: { answered: "respondido", refused: "recusado", skipped: "ignorado", failed: "falhou" },
    stage: { admit: "Admitir", understand: "Entender", hear: "Ouvir", transcribe: "Transcrever", remember: "Lembrar",
      flow: "Fluxo", keyword: "Palavra-chave", event: "Evento", model: "Modelo", knowledge: "Conhecimento",
      suggestion: "Sugestão", handoff: "Atendimento humano", signal: "Sinal" },
  },
};

const LANGUAGES = Object.keys(TEXTS);
let language = LANGUAGES.find((name) => navigator.language.toLowerCase().startsWith(name)) ?? "en";
const textValues = new WeakMap();

function text(key, values = {}) {
  return TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => spoken(values[name]));
}

// A value that is itself a function is asked anew in each language.
function spoken(value) {
  return String(typeof value === "function" ? value() : value);
}

/** The name of a stage, an outcome or an answering part: translated where it is known, as the bot calls it elsewhere. */
function nameOf(kind, value) {
  return Object.hasOwn(TEXTS[language][kind], value) ? TEXTS[language][kind][value] : value.replaceAll("_", " ");
}

/** What a stage tells of itself, translated where the bot's words are known; names of flows stay as they are. */
function detailOf(detail) {
  for (const [key, said] of Object.entries(TEXTS.en.detail)) {
    const found = detail.match(new RegExp(`^${said.replace("{n}", "(\\d+)").replace("{flow}", "(.+)")}$`));
    if (found) return TEXTS[language].detail[key].replace(/\{\w+\}/, () => found[1]);
  }
  return detail;
}

function milliseconds(ms) {
  const [value, unit] = ms < 1000 ? [ms, "ms"] : [ms / 1000, "s"];
  const digits = value < 10 ? (value < 1 ? 2 : 1) : 0;
  return `${value.toLocaleString(language, { maximumFractionDigits: digits })} ${unit}`;
}

/** Make *element* say *key*, now and after the language changes; *how* is text, label or placeholder. */
function say(element, key, values = {}, how = "text") {
  element.dataset[how] = key;
  textValues.set(element, { ...textValues.get(element), [how]: values });
  speak(element, how);
}

function speak(element, how) {
  const words = text(element.dataset[how], textValues.get(element)?.[how]);
  if (how === "text") element.textContent = words;
  else if (how === "placeholder") element.placeholder = words;
  else {
    element.setAttribute("aria-label", words);
    if (element.matches("button, [role=img]")) element.title = words;
  }
}

function translate(root) {
  for (const how of ["text", "label", "placeholder"]) {
    for (const element of root.querySelectorAll(`[data-${how}]`)) speak(element, how);
  }
}
