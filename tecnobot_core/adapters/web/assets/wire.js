// The line to the bot: one stream of events for all chats, and messages posted until they are taken.

const SILENCE_MS = 40_000; // the server says something every 15 s
const POST_TIMEOUT_MS = 15_000;
const UPLOAD_SILENCE_MS = 45_000; // the server waits 30 s for more of a file, and 5 s for the bot
const REFUSALS = new Set([400, 403, 413, 415]);
const UPLOAD_REFUSALS = { 400: "refused", 403: "refused", 404: "refused", 413: "refused_too_big", 415: "refused_type", 507: "refused_no_room" };

/** A wait that can be cut short. */
class Pause {
  #end = () => {};

  wait(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#end = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  end() {
    this.#end();
  }
}

function backoffMs(attempt, maxMs) {
  return Math.min(500 * 2 ** Math.min(attempt, 10), maxMs) * (0.75 + Math.random() / 2);
}

class Wire {
  #hooks;
  #stop = new AbortController();
  #pause = new Pause();
  #since = "";

  /** *hooks*: onEvent(event), onState(name), onUnauthorized(). */
  constructor(hooks) {
    this.#hooks = hooks;
  }

  /** Follow *chats* instead of those before; *fresh* asks for their conversations anew, not only for what was missed. */
  follow(chats, { fresh = false } = {}) {
    if (fresh) this.#since = "";
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#follow(chats, this.#stop.signal);
  }

  stop() {
    this.#stop.abort();
  }

  /** Try again now. */
  nudge() {
    this.#pause.end();
  }

  /** "accepted", "refused" for good, or "again" later with the same id. */
  async post(message) {
    try {
      const response = await fetch("chat/messages", {
        method: "POST",
        headers: { ...this.#headers(), "Content-Type": "application/json" },
        body: JSON.stringify(message),
        signal: AbortSignal.timeout(POST_TIMEOUT_MS),
      });
      if (response.status === 401) this.#hooks.onUnauthorized();
      if (response.ok) return "accepted";
      return REFUSALS.has(response.status) ? "refused" : "again";
    } catch {
      return "again";
    }
  }

  /** As post, for a file: *onProgress* gets the share that has left; a refusal is the key of a text that says why. */
  upload({ chat, id, kind, name, file }, onProgress) {
    // Not fetch, which does not tell how much of a body has left.
    const request = new XMLHttpRequest();
    let watchdog = 0;
    const rearm = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => request.abort(), UPLOAD_SILENCE_MS);
    };
    return new Promise((resolve) => {
      request.open("POST", `chat/media?${new URLSearchParams({ chat, id, kind, name })}`);
      for (const [header, value] of Object.entries(this.#headers())) request.setRequestHeader(header, value);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.upload.onprogress = ({ loaded, total }) => {
        rearm();
        onProgress(loaded / total);
      };
      request.onloadend = () => {
        clearTimeout(watchdog);
        if (request.status === 401) this.#hooks.onUnauthorized();
        resolve(request.status === 202 ? "accepted" : (UPLOAD_REFUSALS[request.status] ?? "again"));
      };
      rearm();
      request.send(file);
    });
  }

  /** What the server says of its memory: a reading, null when it cannot tell, undefined when there is no answer. */
  async memory() {
    try {
      const response = await fetch("chat/memory", { headers: this.#headers(), cache: "no-store" });
      return response.ok ? (await response.json()).memory : undefined;
    } catch {
      return undefined;
    }
  }

  #headers() {
    return store.token ? { Authorization: `Bearer ${store.token}` } : {};
  }

  async #follow(chats, stop) {
    for (let attempt = 0; !stop.aborted; attempt += 1) {
      try {
        await this.#stream(chats, stop, () => {
          attempt = 0;
          this.#hooks.onState("up");
        });
      } catch {
        // Every way to lose the stream has the same answer: open it again.
      }
      if (stop.aborted) return;
      this.#hooks.onState(navigator.onLine ? "reconnecting" : "offline");
      await this.#pause.wait(backoffMs(attempt, 10_000));
    }
  }

  async #stream(chats, stop, onOpen) {
    const silence = new AbortController();
    const signal = AbortSignal.any([stop, silence.signal]);
    let watchdog = setTimeout(() => silence.abort(), SILENCE_MS);
    try {
      const query = new URLSearchParams([...chats.map((chat) => ["chat", chat]), ["since", this.#since]]);
      const response = await fetch(`chat/events?${query}`, { headers: this.#headers(), cache: "no-store", signal });
      if (response.status === 401) {
        this.#hooks.onUnauthorized();
        return;
      }
      if (!response.ok) throw new Error(`the stream answered ${response.status}`);
      onOpen();
      for await (const frame of frames(response.body)) {
        clearTimeout(watchdog);
        watchdog = setTimeout(() => silence.abort(), SILENCE_MS);
        if (signal.aborted) return;
        this.#take(frame);
      }
    } finally {
      clearTimeout(watchdog);
    }
  }

  #take({ id, data }) {
    // First the id: the event may make the page follow anew, without a past.
    if (id) this.#since = id;
    if (data) this.#hooks.onEvent(JSON.parse(data));
  }
}

/** The server-sent events of *body*: {id, data}. */
async function* frames(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) yield fieldsOf(part);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function fieldsOf(frame) {
  const fields = { id: "", data: "" };
  for (const line of frame.split("\n")) {
    const colon = line.indexOf(": ");
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2);
  }
  return fields;
}
