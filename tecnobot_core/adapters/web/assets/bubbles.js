// One message as a bubble. Text only ever becomes text nodes.

const PROGRESS = ["sending", "retrying", "refused", "delivered", "handled"];
const COLLAPSE_ABOVE = 800;
const FORMAT_BELOW = 10_000;
const MARKS = { "*": "strong", _: "em", "~": "s", "`": "code" };
const INLINE = /(?<link>https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]}])|(?<![\p{L}\p{N}])(?<mark>[*_~`])(?=\S)(?<inside>(?:(?!\k<mark>)[^\n])+)(?<=\S)\k<mark>(?![\p{L}\p{N}])/gu;
const CHOICE = /^\s*(?:\*?(?<digits>\d{1,2})[.):-]\*?|(?<keycap>\d)\uFE0F?\u20E3)\s+(?<label>\S.*)$/u;

function fromTemplate(id) {
  const element = document.getElementById(id).content.firstElementChild.cloneNode(true);
  translate(element);
  return element;
}

class Bubble {
  constructor({ id = "", role, text: words, at = null, buttons = [], media = null }, onReply, preview = "") {
    this.id = id;
    this.role = role;
    this.words = words || (media && nameOf("media", media[0])) || "";
    this.onReply = onReply;
    this.element = fromTemplate("bubble-template");
    this.element.classList.add(role);
    say(this.#find(".said"), role === "user" ? "you_said" : "bot_said");
    if (media && preview) this.#showPreview(media, preview);
    const label = media && !preview ? `[${[nameOf("media", media[0]), media[1]].filter(Boolean).join(": ")}]` : "";
    this.#showText([label, words].filter(Boolean).join("\n"));
    this.offer(buttons);
    if (at) this.#showTime(at);
  }

  /** Show how far the message got: one of PROGRESS. What comes late changes nothing back. */
  set state(name) {
    const sign = this.#find(".state");
    if (PROGRESS.indexOf(name) < PROGRESS.indexOf(sign.dataset.state)) return;
    sign.hidden = false;
    sign.dataset.state = name;
    sign.querySelector("use").setAttribute("href", `#icon-${name}`);
    say(sign, `state_${name}`, {}, "label");
  }

  /** Show that it was not taken, and why: *key* of a text. */
  refuse(key) {
    this.state = "refused";
    say(this.#find(".state"), `state_${key}`, {}, "label");
  }

  /** Show which share of its file has left; null when that is over. */
  set progress(share) {
    const bar = this.#find(".progress");
    bar.hidden = share === null;
    bar.value = share ?? 1;
  }

  offer(buttons) {
    const replies = this.#find(".replies");
    replies.replaceChildren(...buttons.map((label) => this.#reply(label, label)));
    replies.hidden = buttons.length === 0;
  }

  /** Show who answered and how long it took; pressing it calls *onShow*. */
  showOutcome(turn, onShow) {
    const button = this.#find(".outcome");
    const values = { by: () => nameOf("by", turn.answered_by), ms: () => milliseconds(turn.took_ms) };
    button.hidden = false;
    button.dataset.outcome = turn.outcome;
    say(button, "summary", values);
    say(button, "show_outcome", values, "label");
    button.onclick = onShow;
    this.state = "handled";
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }

  /** The image or the recording itself, from the memory of this page. */
  #showPreview([kind, name], address) {
    const element = document.createElement(kind === "image" ? "img" : "audio");
    if (kind === "image") element.alt = name;
    else Object.assign(element, { controls: true, preload: "metadata" });
    element.src = address;
    say(element, "media_of", { kind: () => nameOf("media", kind), name }, "label");
    const place = this.#find(".media");
    place.hidden = false;
    place.append(element);
  }

  #showText(words) {
    const place = this.#find(".text");
    if (words.length <= COLLAPSE_ABOVE) {
      place.append(...this.#lines(words));
      return;
    }
    // The cut must not fall between the halves of a surrogate pair.
    place.textContent = words.slice(0, COLLAPSE_ABOVE).replace(/[\uD800-\uDBFF]$/, "") + "…";
    const more = this.#find(".more");
    more.hidden = false;
    say(more, "show_all", { count: () => [...words].length.toLocaleString(language) });
    more.onclick = () => {
      place.replaceChildren(...this.#lines(words));
      more.remove();
    };
  }

  #showTime(at) {
    const date = new Date(at * 1000);
    const time = this.#find("time");
    time.dateTime = date.toISOString();
    time.textContent = date.toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit" });
  }

  *#lines(words) {
    if (words.length > FORMAT_BELOW) {
      yield words;
      return;
    }
    const lines = words.split("\n");
    const choices = this.role === "assistant" ? choicesIn(lines) : new Map();
    let plain = [];
    for (const [index, line] of lines.entries()) {
      if (!choices.has(index)) {
        plain.push(line);
        continue;
      }
      if (plain.length) yield* formatted(plain.join("\n"));
      plain = [];
      yield this.#choice(choices.get(index));
    }
    if (plain.length) yield* formatted(plain.join("\n"));
  }

  #choice({ number, label }) {
    const button = this.#reply("", number);
    const sign = document.createElement("span");
    sign.className = "number";
    sign.textContent = number;
    const words = document.createElement("span");
    words.append(...formatted(label));
    button.className = "choice";
    button.append(sign, " ", words);
    return button;
  }

  #reply(label, answer) {
    const button = document.createElement("button");
    button.type = "button";
    button.dir = "auto";
    button.textContent = label;
    button.onclick = () => this.onReply(answer);
    return button;
  }
}

/** The numbered choices among *lines*, by line: two or more that count from 1. */
function choicesIn(lines) {
  const choices = new Map();
  for (const [index, line] of lines.entries()) {
    const groups = line.length < 300 ? CHOICE.exec(line)?.groups : null;
    const number = groups?.digits ?? groups?.keycap;
    if (Number(number) === choices.size + 1) choices.set(index, { number, label: groups.label });
  }
  return choices.size > 1 ? choices : new Map();
}

/** *words* with links, *bold*, _italic_, ~struck~ and `code`, as nodes. */
function* formatted(words) {
  let end = 0;
  for (const match of words.matchAll(INLINE)) {
    if (match.index > end) yield words.slice(end, match.index);
    end = match.index + match[0].length;
    yield match.groups.link ? link(match.groups.link) : marked(match.groups);
  }
  if (end < words.length) yield words.slice(end);
}

function link(address) {
  const element = document.createElement("a");
  element.href = address;
  element.target = "_blank";
  element.rel = "noopener noreferrer nofollow";
  element.textContent = address;
  return element;
}

function marked({ mark, inside }) {
  const element = document.createElement(MARKS[mark]);
  element.append(...(mark === "`" ? [inside] : formatted(inside)));
  return element;
}
