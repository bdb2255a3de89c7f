// The bot's memory in the panel: level, used of limit, and how it was lately.

const MEMORY_EVERY_MS = 5000;
const MIB = 1024 * 1024;

class Memory {
  #ask;
  #asking = 0;
  #element = document.getElementById("memory");

  /** *ask* gives a reading {level, used_bytes, limit_bytes, history} or null. */
  constructor(ask) {
    this.#ask = ask;
  }

  /** Ask again and again while *wanted*. */
  set watching(wanted) {
    if (wanted === Boolean(this.#asking)) return;
    clearInterval(this.#asking);
    this.#asking = wanted ? setInterval(() => this.#refresh(), MEMORY_EVERY_MS) : 0;
    if (wanted) this.#refresh();
  }

  async #refresh() {
    const reading = await this.#ask();
    if (reading) this.#show(reading);
    // Null: this server cannot tell, now or ever; undefined: no answer, so what is shown stays.
    if (reading !== undefined) this.#element.hidden = !reading;
  }

  #show({ level, used_bytes: used, limit_bytes: limit, history }) {
    const sign = document.getElementById("memory-level");
    sign.dataset.level = level;
    sign.textContent = nameOf("level", level);
    say(document.getElementById("memory-used"), "memory_used", {
      used: () => mebibytes(used), limit: () => mebibytes(limit), share: () => percent(used / limit),
    });
    const points = [...history, [Date.now() / 1000, used]];
    const line = document.getElementById("memory-line");
    const along = points.map(([, bytes], index) => `${place(index, points.length)},${height(bytes / limit)}`).join(" ");
    line.querySelector("polyline").setAttribute("points", along);
    line.querySelector("polygon").setAttribute("points", `${place(0, points.length)},40 ${along} 240,40`);
    const seen = points.map(([, bytes]) => bytes);
    say(line, "memory_lately", {
      minutes: () => Math.max(1, Math.round((points.at(-1)[0] - points[0][0]) / 60)),
      least: () => mebibytes(Math.min(...seen)), most: () => mebibytes(Math.max(...seen)),
    }, "label");
  }
}

// The picture is 240 wide, for 121 readings, and 40 high, for the limit; the newest is at the right.
function place(index, count) {
  return 240 - (count - 1 - index) * 2;
}

function height(share) {
  return (40 - 38 * Math.min(share, 1)).toFixed(1);
}

function mebibytes(bytes) {
  return Math.round(bytes / MIB).toLocaleString(language);
}

// Rounded up, so that what is above a limit looks so.
function megabytes(bytes) {
  return `${(Math.ceil((bytes / MIB) * 10) / 10).toLocaleString(language)} MB`;
}

function percent(share) {
  return share.toLocaleString(language, { style: "percent" });
}
