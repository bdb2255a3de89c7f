// One chat: its bubbles, its composer, and its messages on their way.

const NEAR_END_PX = 120;
const ADOPT_MS = 10_000;
const TYPING_MS = 60_000;

class Column {
  #hooks;
  #bubbles = new Map();
  #adoptable = [];
  #adoptUntil = 0;
  #sending = false;
  #pause = new Pause();
  #typingTimer = 0;

  /** *hooks*: post(message), onRename(column), onRemove(column), onShowTurn(column, messageId), onUnsent(column). */
  constructor({ id, name }, unsent, hooks) {
    this.id = id;
    this.unsent = unsent;
    this.#hooks = hooks;
    this.element = fromTemplate("column-template");
    this.view = this.#find(".view");
    this.log = this.#find(".log");
    this.input = this.#find("textarea");
    this.#setUpHeader();
    this.#setUpComposer();
    this.view.addEventListener("scroll", () => this.#offerJump(), { passive: true });
    this.#find(".jump").onclick = () => this.#scrollDown();
    this.rename(name);
    this.suggest();
    for (const message of unsent) this.#add({ ...message, role: "user" }).state = "sending";
  }

  rename(name) {
    this.name = name;
    this.#find(".name").value = name;
    this.#find(".avatar").textContent = initials(name);
    say(this.log, "conversation", { name }, "label");
    this.element.setAttribute("aria-label", name);
  }

  suggest() {
    const buttons = TEXTS[language].suggestions.map((words) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = words;
      button.onclick = () => this.send(words);
      return button;
    });
    this.#find(".suggestions").replaceChildren(...buttons);
  }

  /** Send *words* and keep trying; messages of a chat go one after the other, so that they arrive in order. */
  send(words) {
    const message = { id: newId(), text: words, at: Date.now() / 1000 };
    this.#add({ ...message, role: "user" }).state = "sending";
    this.unsent.push(message);
    this.#hooks.onUnsent(this);
    this.#scrollDown();
    this.flush();
  }

  /** Try to send what is unsent, now. */
  async flush() {
    this.#pause.end();
    if (this.#sending) return;
    this.#sending = true;
    for (let attempt = 0; this.unsent.length; attempt += 1) {
      const [message] = this.unsent;
      const result = await this.#hooks.post({ chat: this.id, id: message.id, text: message.text });
      if (result === "again") {
        this.#mark(message.id, "retrying");
        await this.#pause.wait(backoffMs(attempt, 30_000));
        continue;
      }
      attempt = -1;
      this.unsent.shift();
      this.#hooks.onUnsent(this);
      this.#mark(message.id, result === "accepted" ? "delivered" : "refused");
    }
    this.#sending = false;
  }

  /** The conversation as the bot knows it, in place of what is shown; messages on their way stay. */
  onConversation({ messages, unanswered }) {
    this.#find(".notice").hidden = messages !== null;
    if (messages === null) return;
    this.log.setAttribute("aria-busy", "true");
    this.log.replaceChildren();
    this.#bubbles.clear();
    const rows = messages.map((row) => this.#add(row));
    for (const message of unanswered) this.#add({ ...message, role: "user" }).state = "delivered";
    const unknown = this.unsent.filter(({ id }) => !this.#bubbles.has(id));
    for (const message of unknown) this.#add({ ...message, role: "user" }).state = "sending";
    this.#adoptable = rows.slice(rows.findLastIndex((row) => row.role === "user") + 1);
    this.#adoptUntil = Date.now() + ADOPT_MS;
    this.showTyping(unanswered.length > 0);
    this.log.removeAttribute("aria-busy");
    this.#scrollDown();
  }

  onMessage(message) {
    if (this.#bubbles.has(message.id)) return;
    const atEnd = this.#isAtEnd();
    if (message.role === "user") {
      this.#add(message).state = "delivered";
    } else {
      this.showTyping(false);
      if (!this.#adopt(message)) this.#add(message);
    }
    if (atEnd) this.#scrollDown();
    else this.#offerJump();
  }

  /** Mark what a turn handled; returns the words of its first message, null when the page does not know one of them. */
  onTurn(turn) {
    const handled = turn.ids.map((id) => this.#bubbles.get(id));
    for (const bubble of handled) bubble?.showOutcome(turn, () => this.#hooks.onShowTurn(this, bubble.id));
    if (turn.outcome !== "answered") this.showTyping(false);
    return handled.every(Boolean) ? (handled[0]?.words ?? "") : null;
  }

  showTyping(shown) {
    clearTimeout(this.#typingTimer);
    const atEnd = this.#isAtEnd();
    this.#find(".typing").hidden = !shown;
    this.#find(".typing-text").textContent = shown ? text("typing") : "";
    if (shown) this.#typingTimer = setTimeout(() => this.showTyping(false), TYPING_MS);
    if (shown && atEnd) this.#scrollDown();
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }

  #add(message) {
    const bubble = new Bubble(message, (answer) => this.send(answer));
    if (message.id) this.#bubbles.set(message.id, bubble);
    if (message.role === "user") this.#adoptable = [];
    this.log.append(bubble.element);
    this.element.classList.add("begun");
    return bubble;
  }

  // An answer is in the history before it is sent, so a page loaded in between is told of it twice; only the first
  // time without an id.
  #adopt(message) {
    const index = this.#adoptable.findIndex((bubble) => bubble.words === message.text);
    if (index < 0 || Date.now() > this.#adoptUntil) return false;
    const [bubble] = this.#adoptable.splice(index, 1);
    bubble.id = message.id;
    bubble.offer(message.buttons);
    this.#bubbles.set(message.id, bubble);
    return true;
  }

  #mark(id, state) {
    const bubble = this.#bubbles.get(id);
    if (bubble) bubble.state = state;
  }

  #isAtEnd() {
    return this.view.scrollHeight - this.view.scrollTop - this.view.clientHeight < NEAR_END_PX;
  }

  #scrollDown() {
    this.view.scrollTop = this.view.scrollHeight;
    this.#offerJump();
  }

  #offerJump() {
    this.#find(".jump").hidden = this.#isAtEnd();
  }

  #setUpHeader() {
    const name = this.#find(".name");
    name.onchange = () => {
      this.rename(name.value.trim() || this.name);
      this.#hooks.onRename(this);
    };
    name.onkeydown = (event) => {
      if (event.key === "Escape") name.value = this.name;
      if (event.key === "Escape" || event.key === "Enter") name.blur();
    };
    const remove = this.#find(".remove");
    remove.onclick = () => {
      if (remove.classList.contains("sure")) this.#hooks.onRemove(this);
      else say(remove.querySelector("span"), "remove_sure");
      remove.classList.add("sure");
    };
    remove.onblur = () => remove.classList.remove("sure");
  }

  #setUpComposer() {
    const form = this.#find(".composer");
    form.onsubmit = (event) => {
      event.preventDefault();
      if (!this.input.value.trim()) return;
      this.send(this.input.value);
      this.input.value = "";
      this.#fit();
      this.input.focus();
    };
    this.input.oninput = () => this.#fit();
    this.input.onkeydown = (event) => {
      // While an input method composes a character, Enter only ends that.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    };
  }

  #fit() {
    this.input.style.height = "auto";
    this.input.style.height = `${this.input.scrollHeight}px`;
  }
}

/** The first letters of the first and the last word. */
function initials(name) {
  const letters = name.trim().split(/\s+/).map((word) => [...word][0] ?? "");
  return [letters[0], letters.length > 1 ? letters.at(-1) : ""].join("").toUpperCase();
}
