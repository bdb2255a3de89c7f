// The page: chats side by side, one of them in front, and the line they share.

const MAX_CHATS = 12;
const narrow = matchMedia("(max-width: 920px)"); // as in the style: the panel lies over the chats

class Page {
  #columns = new Map();
  #front = null;
  #panel = new Panel(() => this.#wire.memory());
  #state = "connecting";
  #opener = null;
  #entrance = document.getElementById("entrance");
  #unsent = store.read("unsent", {});
  #wire = new Wire({
    onEvent: (event) => this.#onEvent(event),
    onState: (state) => this.#onState(state),
    onUnauthorized: () => this.#askForToken(),
  });

  start() {
    tokenFromAddress();
    language = store.read("language", language);
    this.#speak();
    this.#setUpBar();
    this.#setUpEntrance();
    const chats = store.read("chats", []);
    for (const chat of chats) this.#addColumn(chat);
    if (!chats.length) this.#addColumn(this.#newChat());
    this.#bringToFront(this.#columns.values().next().value);
    this.#saveChats();
    this.#panel.shown = !narrow.matches;
    if (!narrow.matches) this.#front.input.focus();
    this.#follow({ fresh: true });
    addEventListener("online", () => this.#nudge());
    // Whether this server is out of reach too, only a new stream can tell: it may be on this machine.
    addEventListener("offline", () => this.#follow());
    addEventListener("visibilitychange", () => {
      this.#watchMemory();
      if (!document.hidden) this.#nudge();
    });
    addEventListener("beforeunload", (event) => this.#hasUnsentFiles() && event.preventDefault());
    addEventListener("storage", (event) => event.key === "tecnobot.chats" && this.#onChatsElsewhere());
    addEventListener("keydown", (event) => event.key === "Escape" && narrow.matches && this.#hidePanel());
    narrow.addEventListener("change", () => this.#setPanel(!narrow.matches));
  }

  #onEvent(event) {
    const column = this.#columns.get(event.chat);
    if (!column) return;
    if (event.type === "conversation") column.onConversation(event);
    else if (event.type === "typing") column.showTyping(event.typing);
    else if (event.type === "message") this.#onMessage(column, event);
    else if (event.type === "turn") this.#onTurn(column, event);
  }

  #onMessage(column, message) {
    column.onMessage(message);
    if (column !== this.#front && message.role === "assistant") this.#tabOf(column)?.classList.add("unread");
  }

  #onTurn(column, turn) {
    const words = column.onTurn(turn);
    this.#panel.add(column.id, turn, words);
    // A message that this page never saw, from before the bot restarted: the history has it now.
    if (words === null) this.#follow({ fresh: true });
  }

  #onState(state) {
    document.getElementById("link").dataset.state = state;
    say(document.getElementById("link-text"), `link_${state}`);
    this.#state = state;
    this.#watchMemory();
    if (state === "up") this.#flush();
  }

  #watchMemory() {
    this.#panel.linked = this.#state === "up";
  }

  #hasUnsentFiles() {
    return [...this.#columns.values()].some((column) => column.unsent.some(({ file }) => file));
  }

  #follow(how) {
    this.#wire.follow([...this.#columns.keys()], how);
  }

  #nudge() {
    this.#wire.nudge();
    this.#flush();
  }

  #flush() {
    for (const column of this.#columns.values()) column.flush();
  }

  // Chats.

  #newChat() {
    const taken = new Set([...this.#columns.values()].map((column) => column.name));
    let number = 1;
    while (taken.has(text("chat", { number }))) number += 1;
    return { id: newId(), name: text("chat", { number }) };
  }

  #addColumn(chat) {
    const column = new Column(chat, this.#unsent[chat.id] ?? [], {
      post: (message) => this.#wire.post(message),
      upload: (message, onProgress) => this.#wire.upload(message, onProgress),
      onRename: () => this.#saveChats(),
      onRemove: () => this.#removeColumn(column),
      onShowTurn: (_, messageId) => this.#showTurn(column, messageId),
      onUnsent: () => this.#saveUnsent(column),
    });
    column.element.style.setProperty("--hue", hueOf(chat.id));
    column.element.addEventListener("focusin", () => this.#bringToFront(column));
    column.element.addEventListener("pointerdown", () => this.#bringToFront(column));
    this.#columns.set(chat.id, column);
    document.getElementById("chats").append(column.element);
    this.#renderTabs();
    return column;
  }

  #removeColumn(column) {
    this.#columns.delete(column.id);
    this.#panel.forget(column.id);
    column.unsent.length = 0;
    column.close();
    this.#saveUnsent(column);
    column.element.remove();
    if (!this.#columns.size) this.#addColumn(this.#newChat());
    this.#bringToFront(this.#columns.values().next().value);
    this.#saveChats();
    this.#front.input.focus();
    this.#follow();
  }

  #bringToFront(column) {
    this.#front = column;
    for (const other of this.#columns.values()) other.element.classList.toggle("front", other === column);
    this.#panel.bringToFront({ id: column.id, name: column.name });
    this.#renderTabs();
  }

  #saveChats() {
    store.write("chats", [...this.#columns.values()].map(({ id, name }) => ({ id, name })));
    this.#bringToFront(this.#front);
  }

  #saveUnsent(column) {
    const { [column.id]: _, ...others } = store.read("unsent", {});
    const words = column.unsent.filter(({ file }) => !file);
    store.write("unsent", words.length ? { ...others, [column.id]: words } : others);
  }

  // Another tab of this browser changed the list of chats.
  #onChatsElsewhere() {
    const added = store.read("chats", []).filter(({ id }) => !this.#columns.has(id));
    for (const chat of added) this.#addColumn(chat);
    if (added.length) this.#follow({ fresh: true });
  }

  #renderTabs() {
    const tabs = document.getElementById("tabs");
    const unread = new Set([...tabs.querySelectorAll(".unread")].map((tab) => tab.dataset.chat));
    tabs.replaceChildren(...[...this.#columns.values()].map((column) => this.#tab(column, unread.has(column.id))));
    document.getElementById("add-chat").disabled = this.#columns.size >= MAX_CHATS;
  }

  #tab(column, unread) {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.dataset.chat = column.id;
    tab.textContent = column.name;
    tab.setAttribute("aria-pressed", String(column === this.#front));
    tab.classList.toggle("unread", unread && column !== this.#front);
    tab.onclick = () => {
      this.#bringToFront(column);
      this.#tabOf(column).focus();
    };
    return tab;
  }

  #tabOf(column) {
    return document.querySelector(`#tabs [data-chat="${column.id}"]`);
  }

  // Bar, panel, entrance.

  #setUpBar() {
    document.getElementById("add-chat").onclick = () => {
      const column = this.#addColumn(this.#newChat());
      this.#bringToFront(column);
      this.#saveChats();
      this.#follow();
      column.element.scrollIntoView({ inline: "nearest" });
      column.input.focus();
    };
    document.getElementById("show-panel").onclick = () => this.#setPanel(!this.#panel.shown);
    document.getElementById("hide-panel").onclick = () => this.#hidePanel();
    document.getElementById("language").onclick = () => {
      language = LANGUAGES[(LANGUAGES.indexOf(language) + 1) % LANGUAGES.length];
      store.write("language", language);
      this.#speak();
    };
  }

  #speak() {
    document.documentElement.lang = language;
    translate(document);
    for (const column of this.#columns.values()) column.suggest();
    if (this.#front) this.#bringToFront(this.#front);
  }

  #showTurn(column, messageId) {
    this.#bringToFront(column);
    this.#setPanel(true);
    this.#panel.point(messageId);
  }

  // On a narrow screen the panel lies over the chats, which then cannot be reached.
  #setPanel(shown) {
    if (shown && narrow.matches) this.#opener = document.activeElement;
    this.#panel.shown = shown;
    this.#watchMemory();
    document.getElementById("talk").inert = shown && narrow.matches;
    if (shown && narrow.matches) document.getElementById("hide-panel").focus();
  }

  #hidePanel() {
    if (!this.#panel.shown) return;
    this.#setPanel(false);
    (this.#opener ?? document.getElementById("show-panel")).focus();
    this.#opener = null;
  }

  #setUpEntrance() {
    this.#entrance.oncancel = (event) => event.preventDefault();
    document.getElementById("entrance-form").onsubmit = (event) => {
      event.preventDefault();
      const token = document.getElementById("token").value.trim();
      // Anything else cannot travel in a header, and is no token of this server.
      if (!/^[\x21-\x7E]+$/.test(token)) {
        say(document.getElementById("token-problem"), "token_wrong");
        return;
      }
      store.token = token;
      this.#entrance.close();
      this.#follow({ fresh: true });
      this.#flush();
    };
  }

  #askForToken() {
    if (this.#entrance.open) return;
    this.#wire.stop();
    const problem = document.getElementById("token-problem");
    if (store.token) say(problem, "token_wrong");
    store.token = "";
    this.#entrance.showModal();
    document.getElementById("token").select();
  }
}

function hueOf(id) {
  return parseInt(id.slice(0, 6), 16) % 360 || 0;
}

new Page().start();
