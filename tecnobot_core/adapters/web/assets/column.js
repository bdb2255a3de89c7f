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
  #staysAtEnd = true;
  #scrolledTo = 0;

  #previews = new Map();
  #composer;

  /** *hooks*: post(message), upload(message, onProgress), onRename(column), onRemove(column), onShowTurn(column, messageId), onUnsent(column). */
  constructor({ id, name }, unsent, hooks) {
    this.id = id;
    this.unsent = unsent;
    this.#hooks = hooks;
    this.element = fromTemplate("column-template");
    this.view = this.#find(".view");
    this.log = this.#find(".log");
    this.#composer = new Composer(this.#find(".composer"), {
      onWords: (words) => this.send(words),
      onFile: (kind, file) => this.sendFile(kind, file),
    });
    this.input = this.#composer.input;
    this.#setUpHeader();
    this.view.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    // An image takes its room when it is decoded, and a complaint takes some of the view's: who was at the end stays.
    const sizes = new ResizeObserver(() => this.#staysAtEnd && this.#scrollDown());
    for (const element of [this.view, this.log]) sizes.observe(element);
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
    this.#send({ id: newId(), text: words, at: Date.now() / 1000 });
  }

  /** As send, for an image or a recording. It is in this page's memory alone until it is taken. */
  sendFile(kind, file) {
    const message = { id: newId(), text: "", at: Date.now() / 1000, media: [kind, file.name], file };
    this.#previews.set(message.id, URL.createObjectURL(file));
    this.#send(message);
  }

  /** Give back what the browser holds for it. */
  close() {
    this.#composer.close();
    this.#forgetPreviews(() => true);
  }

  #send(message) {
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
      const result = await this.#post(message);
      if (result === "again") {
        this.#mark(message.id, "retrying");
        await this.#pause.wait(backoffMs(attempt, 30_000));
        continue;
      }
      attempt = -1;
      this.unsent.shift();
      this.#hooks.onUnsent(this);
      if (result === "accepted") this.#mark(message.id, "delivered");
      else this.#bubbles.get(message.id)?.refuse(result);
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
    this.#forgetPreviews((id) => !this.#bubbles.has(id));
    this.log.removeAttribute("aria-busy");
    this.#scrollDown();
  }

  onMessage(message) {
    if (this.#bubbles.has(message.id)) return;
    if (message.role === "user") {
      this.#add(message).state = "delivered";
    } else {
      this.showTyping(false);
      if (!this.#adopt(message)) this.#add(message);
    }
    if (this.#staysAtEnd) this.#scrollDown();
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
    this.#find(".typing").hidden = !shown;
    this.#find(".typing-text").textContent = shown ? text("typing") : "";
    if (shown) this.#typingTimer = setTimeout(() => this.showTyping(false), TYPING_MS);
    if (shown && this.#staysAtEnd) this.#scrollDown();
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }

  #add(message) {
    const bubble = new Bubble(message, (answer) => this.send(answer), this.#previews.get(message.id));
    if (message.id) this.#bubbles.set(message.id, bubble);
    if (message.role === "user") this.#adoptable = [];
    this.log.append(bubble.element);
    this.element.classList.add("begun");
    return bubble;
  }

  async #post(message) {
    const { id, text, media, file } = message;
    if (!file) return this.#hooks.post({ chat: this.id, id, text });
    const show = (share) => {
      const bubble = this.#bubbles.get(id);
      if (bubble) bubble.progress = share;
    };
    show(0);
    const result = await this.#hooks.upload({ chat: this.id, id, kind: media[0], name: media[1], file }, show);
    show(null);
    return result;
  }

  #forgetPreviews(isOver) {
    for (const [id, address] of this.#previews) {
      if (!isOver(id)) continue;
      URL.revokeObjectURL(address);
      this.#previews.delete(id);
    }
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
    this.#staysAtEnd = true;
    this.view.scrollTop = this.view.scrollHeight;
    this.#offerJump();
  }

  #onScroll() {
    // Only who scrolls up leaves the end: what grows below moves nothing, but may be told late.
    if (this.#isAtEnd()) this.#staysAtEnd = true;
    else if (this.view.scrollTop < this.#scrolledTo) this.#staysAtEnd = false;
    this.#scrolledTo = this.view.scrollTop;
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
}

/** The first letters of the first and the last word. */
function initials(name) {
  const letters = name.trim().split(/\s+/).map((word) => [...word][0] ?? "");
  return [letters[0], letters.length > 1 ? letters.at(-1) : ""].join("").toUpperCase();
}
