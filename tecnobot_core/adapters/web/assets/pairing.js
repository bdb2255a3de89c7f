// The pairing page: asks every second what is offered, and draws it.

const PAIRING_TEXTS = {
  en: {
    because: {}, // the bot says it in English
    code: "Or choose “Link with phone number instead” there, and enter:",
    enter: "Enter",
    failed: "It did not work.",
    no_token: "This page needs a token: the owner of this bot set it as WEB_TOKEN.",
    offered: "Scan the code with the phone whose account the bot is to use.",
    offline: "The bot does not answer. Trying again…",
    paired: "The phone is linked. There is nothing to do here.",
    step_devices: "Choose “Linked devices”, then “Link a device”.",
    step_open: "Open WhatsApp on the phone.",
    step_scan: "Point the phone at this code. A new one comes by itself.",
    title: "Link the phone",
    token: "Token",
    waiting: "Waiting for a code…",
    wrong: "That is not the token.",
  },
  es: {
    because: {
      attempts_exhausted: "Fallaron todos los intentos: revisa la red y el servidor, y vuelve a iniciar.",
      auth_failed: "El servidor rechaza las credenciales: revísalas, o vincula otra vez.",
      banned: "La cuenta no puede conectarse por ahora: mira el teléfono, y envía menos cuando pueda otra vez.",
      logged_out: "La cuenta quitó este dispositivo: vincúlalo otra vez.",
      outdated: "El servidor rechaza esta versión: actualiza el paquete del transporte.",
      pairing_failed: "La vinculación no fue válida: empieza otra vez con un código nuevo.",
      pairing_timeout: "Nadie confirmó la vinculación a tiempo: empieza otra vez con el teléfono a mano.",
      replaced: "La misma sesión se abrió en otro lugar: detén la otra copia y vuelve a iniciar esta.",
      store_error:
        "No se puede usar la sesión: revisa el archivo indicado, sus permisos y el espacio libre del disco; si está dañada, restaura una copia guardada, o vincula otra vez.",
    },
    code: "O elige ahí «Vincular con el número de teléfono» y escribe:",
    enter: "Entrar",
    failed: "No funcionó.",
    no_token: "Esta página pide un token: quien lleva este bot lo puso en WEB_TOKEN.",
    offered: "Escanea el código con el teléfono cuya cuenta va a usar el bot.",
    offline: "El bot no responde. Se intenta otra vez…",
    paired: "El teléfono está vinculado. Aquí no hay nada que hacer.",
    step_devices: "Elige «Dispositivos vinculados» y luego «Vincular un dispositivo».",
    step_open: "Abre WhatsApp en el teléfono.",
    step_scan: "Apunta el teléfono a este código. Uno nuevo llega solo.",
    title: "Vincular el teléfono",
    token: "Token",
    waiting: "Esperando un código…",
    wrong: "Ese no es el token.",
  },
  pt: {
    because: {
      attempts_exhausted: "Todas as tentativas falharam: verifique a rede e o servidor, e inicie de novo.",
      auth_failed: "O servidor recusa as credenciais: verifique-as, ou conecte de novo.",
      banned: "A conta não pode se conectar por enquanto: olhe o telefone, e envie menos quando puder de novo.",
      logged_out: "A conta removeu este dispositivo: conecte-o de novo.",
      outdated: "O servidor recusa esta versão: atualize o pacote do transporte.",
      pairing_failed: "A conexão não foi válida: comece de novo com um código novo.",
      pairing_timeout: "Ninguém confirmou a conexão a tempo: comece de novo com o telefone à mão.",
      replaced: "A mesma sessão foi aberta em outro lugar: pare a outra cópia e inicie esta de novo.",
      store_error:
        "Não é possível usar a sessão: veja o arquivo indicado, suas permissões e o espaço livre do disco; se estiver danificada, restaure uma cópia salva, ou conecte de novo.",
    },
    code: "Ou escolha ali «Conectar com número de telefone» e digite:",
    enter: "Entrar",
    failed: "Não funcionou.",
    no_token: "Esta página pede um token: quem cuida deste bot o definiu em WEB_TOKEN.",
    offered: "Escaneie o código com o telefone cuja conta o bot vai usar.",
    offline: "O bot não responde. Tentando de novo…",
    paired: "O telefone está conectado. Não há nada a fazer aqui.",
    step_devices: "Escolha «Dispositivos conectados» e depois «Conectar dispositivo».",
    step_open: "Abra o WhatsApp no telefone.",
    step_scan: "Aponte o telefone para este código. Um novo chega sozinho.",
    title: "Conectar o telefone",
    token: "Token",
    waiting: "Esperando um código…",
    wrong: "Esse não é o token.",
  },
};

const ASK_EVERY_MS = 1000;
const ASK_TIMEOUT_MS = 10_000;

const language = navigator.languages.map((name) => name.slice(0, 2)).find((name) => name in PAIRING_TEXTS) ?? "en";
const texts = PAIRING_TEXTS[language];
const element = (id) => document.getElementById(id);

/** Show *state*, and what is offered in it; nothing of an earlier offer stays. */
function show(state, { qr = null, code = null, detail = "", reason = "" } = {}) {
  document.body.dataset.state = state;
  element("says").textContent = texts[state];
  const why = texts.because[reason] ?? detail;
  element("detail").textContent = why;
  element("detail").hidden = !why;
  element("entrance").hidden = state !== "no_token" && state !== "wrong";
  element("qr").hidden = element("steps").hidden = !qr;
  const svg = document.querySelector("#qr svg");
  svg.setAttribute("viewBox", qr ? `0 0 ${qr.size} ${qr.size}` : "0 0 1 1");
  svg.setAttribute("aria-label", "QR");
  svg.firstElementChild.setAttribute("d", qr?.path ?? "");
  element("code").hidden = !code;
  document.querySelector("#code strong").textContent = code ?? "";
}

async function ask() {
  const headers = store.token ? { Authorization: `Bearer ${store.token}` } : {};
  const response = await fetch("v1/pairing", { headers, signal: AbortSignal.timeout(ASK_TIMEOUT_MS) });
  if (response.status === 401) {
    const wrong = store.token !== "";
    store.token = "";
    show(wrong ? "wrong" : "no_token");
    return false;
  }
  const value = await response.json();
  if (response.ok) show(value.state, value);
  else show("failed", { detail: value.error });
  return true;
}

/** Ask until a token is wanted, which begins anew. */
async function follow() {
  for (let goes = true; goes; await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS))) {
    try {
      if (!document.hidden) goes = await ask();
    } catch {
      show("offline");
    }
  }
}

document.documentElement.lang = language;
document.title = `${texts.title} · TecnoBot`;
for (const labelled of document.querySelectorAll("[data-text]")) labelled.textContent = texts[labelled.dataset.text];
element("entrance").addEventListener("submit", (event) => {
  event.preventDefault();
  store.token = element("token").value.trim();
  element("token").value = "";
  element("entrance").hidden = true;
  follow();
});
tokenFromAddress();
show("waiting");
follow();
