// What the page says, in English and Spanish. Elements carry the key of their text, so that switching is one pass.

const TEXTS = {
  en: {
    add_chat: "Add chat",
    bot_said: "TecnoBot:",
    chat: "Chat {number}",
    chat_name: "Name of this chat",
    chats: "Chats",
    close: "Close",
    conversation: "Conversation: {name}",
    history_missing: "The conversation so far cannot be shown right now.",
    jump: "Go to the newest message",
    link_connecting: "Connecting…",
    link_offline: "Offline",
    link_reconnecting: "Reconnecting…",
    link_up: "Connected",
    message: "Message",
    nothing_said: "A message from before",
    other_language: "Cambiar a español",
    other_language_short: "ES",
    panel: "What the bot did",
    panel_empty: "Write a message: every stage it passes appears here, with its time.",
    remove_chat: "Remove this chat from the page",
    remove_sure: "Remove?",
    send: "Send",
    show_all: "Show all {count} characters",
    show_outcome: "Show what the bot did: {by}, {ms}",
    state_delivered: "Delivered",
    state_handled: "Handled",
    state_refused: "Not sent: the bot does not take this message",
    state_retrying: "Not sent yet, trying again",
    state_sending: "Sending",
    summary: "{by} · {ms}",
    token: "Token",
    token_enter: "Enter",
    token_help: "The owner of this bot set it as WEB_TOKEN. It is kept until this tab is closed.",
    token_title: "This page needs a token",
    token_wrong: "That is not the token.",
    typing: "TecnoBot is typing…",
    welcome: "Write to the bot, or begin with one of these:",
    you_said: "You:",
    suggestions: ["Hello", "What are your opening hours?", "Prices"],
    by: { access_list: "Access list", audio: "Audio", empty: "Empty message", error: "Error", flow: "Flow",
      handoff: "A person answers", knowledge: "Knowledge", late: "Late", memory: "Memory", model: "Model",
      owner: "The owner", rate_limit: "Rate limit", signal: "Nothing to do", suggestion: "Did you mean…?",
      too_long: "Too long", unknown: "Nothing found", unsupported: "Not supported" },
    outcome: { answered: "answered", refused: "refused", skipped: "skipped", failed: "failed" },
    stage: { admit: "Admit", understand: "Understand", remember: "Remember", flow: "Flow", keyword: "Keyword",
      event: "Event", model: "Model", knowledge: "Knowledge", suggestion: "Suggestion", handoff: "Handoff",
      signal: "Signal" },
  },
  es: {
    add_chat: "Añadir chat",
    bot_said: "TecnoBot:",
    chat: "Chat {number}",
    chat_name: "Nombre de este chat",
    chats: "Chats",
    close: "Cerrar",
    conversation: "Conversación: {name}",
    history_missing: "Ahora no se puede mostrar la conversación anterior.",
    jump: "Ir al mensaje más reciente",
    link_connecting: "Conectando…",
    link_offline: "Sin conexión",
    link_reconnecting: "Reconectando…",
    link_up: "Conectado",
    message: "Mensaje",
    nothing_said: "Un mensaje anterior",
    other_language: "Switch to English",
    other_language_short: "EN",
    panel: "Qué hizo el bot",
    panel_empty: "Escribe un mensaje: aquí aparece cada etapa por la que pasa, con su tiempo.",
    remove_chat: "Quitar este chat de la página",
    remove_sure: "¿Quitar?",
    send: "Enviar",
    show_all: "Mostrar los {count} caracteres",
    show_outcome: "Ver qué hizo el bot: {by}, {ms}",
    state_delivered: "Entregado",
    state_handled: "Atendido",
    state_refused: "No enviado: el bot no acepta este mensaje",
    state_retrying: "Aún sin enviar, reintentando",
    state_sending: "Enviando",
    summary: "{by} · {ms}",
    token: "Token",
    token_enter: "Entrar",
    token_help: "El dueño del bot lo definió como WEB_TOKEN. Se guarda hasta cerrar esta pestaña.",
    token_title: "Esta página pide un token",
    token_wrong: "Ese no es el token.",
    typing: "TecnoBot está escribiendo…",
    welcome: "Escríbele al bot, o empieza con una de estas:",
    you_said: "Tú:",
    suggestions: ["Hola", "¿Qué horario tienen?", "Precios"],
    by: { access_list: "Lista de acceso", audio: "Audio", empty: "Mensaje vacío", error: "Error", flow: "Flujo",
      handoff: "Responde una persona", knowledge: "Conocimiento", late: "Tarde", memory: "Memoria", model: "Modelo",
      owner: "La dueña o el dueño", rate_limit: "Límite de uso", signal: "Nada que hacer",
      suggestion: "¿Quisiste decir…?", too_long: "Demasiado largo", unknown: "Nada encontrado", unsupported: "No admitido" },
    outcome: { answered: "respondido", refused: "rechazado", skipped: "omitido", failed: "falló" },
    stage: { admit: "Admitir", understand: "Entender", remember: "Recordar", flow: "Flujo", keyword: "Palabra clave",
      event: "Evento", model: "Modelo", knowledge: "Conocimiento", suggestion: "Sugerencia", handoff: "Atención humana",
      signal: "Señal" },
  },
};

let language = navigator.language.toLowerCase().startsWith("es") ? "es" : "en";
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
