// What the pipeline did with each message of the chat in front.

const TURNS_KEPT = 50;

class Panel {
  #chats = new Map();
  #front = { id: "", name: "" };
  #element = document.getElementById("panel");
  #list = document.getElementById("turns");
  #memory;

  /** *askForMemory* gives the server's reading. */
  constructor(askForMemory) {
    this.#memory = new Memory(askForMemory);
  }

  /** Follow the memory while there is a server, and somebody to see it. */
  set linked(up) {
    this.#memory.watching = up && this.shown && !document.hidden;
  }

  /** Note a turn of *chat* about a message that said *words*. */
  add(chat, turn, words) {
    const turns = this.#chats.get(chat) ?? [];
    this.#chats.set(chat, [{ turn, words }, ...turns].slice(0, TURNS_KEPT));
    if (chat === this.#front.id) this.#render();
  }

  forget(chat) {
    this.#chats.delete(chat);
  }

  /** Show the turns of this chat. */
  bringToFront(chat) {
    this.#front = chat;
    this.#render();
  }

  /** Bring the turn that handled *messageId* into sight and focus. */
  point(messageId) {
    const element = this.#list.querySelector(`[data-ids~="${CSS.escape(messageId)}"]`);
    element?.scrollIntoView({ block: "nearest" });
    element?.focus();
  }

  get shown() {
    return !this.#element.hidden;
  }

  set shown(shown) {
    this.#element.hidden = !shown;
    document.getElementById("show-panel").setAttribute("aria-expanded", String(shown));
  }

  #render() {
    const turns = this.#chats.get(this.#front.id) ?? [];
    document.getElementById("panel-chat").textContent = this.#front.name;
    document.getElementById("panel-empty").hidden = turns.length > 0;
    this.#list.replaceChildren(...turns.map(({ turn, words }) => turnCard(turn, words)));
  }
}

function turnCard(turn, words) {
  const card = fromTemplate("turn-template");
  card.dataset.ids = turn.ids.join(" ");
  const said = card.querySelector(".said");
  if (words) said.textContent = words.slice(0, 200);
  else say(said, "nothing_said");
  const badge = card.querySelector(".badge");
  badge.dataset.outcome = turn.outcome;
  badge.textContent = nameOf("outcome", turn.outcome);
  say(card.querySelector(".summary"), "summary", {
    by: () => nameOf("by", turn.answered_by),
    ms: () => milliseconds(turn.took_ms),
  });
  const longest = Math.max(...turn.steps.map((step) => step.ms), 0.001);
  card.querySelector(".steps").append(...turn.steps.map((step) => stepRow(step, step.ms / longest)));
  return card;
}

function stepRow(step, share) {
  const row = fromTemplate("step-template");
  row.querySelector(".stage").textContent = nameOf("stage", step.stage);
  row.querySelector(".ms").textContent = milliseconds(step.ms);
  row.querySelector(".detail").textContent = detailOf(step.detail);
  row.querySelector(".share").style.setProperty("--share", share);
  return row;
}
