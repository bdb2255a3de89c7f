// Where a message begins: words, a file, or a recording.

const MAX_FILE_BYTES = {
  voice: Number(document.body.dataset.maxVoiceBytes ?? 0),
  image: Number(document.body.dataset.maxImageBytes ?? 0),
};

class Composer {
  #form;
  #hooks;
  #recorder = new Recorder();

  /** *hooks*: onWords(words), onFile(kind, file). */
  constructor(form, hooks) {
    this.#form = form;
    this.#hooks = hooks;
    this.input = this.#find("textarea");
    this.#setUpWords();
    if (MAX_FILE_BYTES.voice) this.#setUpFiles();
  }

  /** Whether a recording runs. */
  get isRecording() {
    return this.#form.classList.contains("recording");
  }

  /** Let the microphone go. */
  close() {
    this.#recorder.cancel();
  }

  #setUpWords() {
    this.#form.onsubmit = (event) => {
      event.preventDefault();
      if (this.isRecording) this.#sendRecording();
      else this.#sendWords();
    };
    this.input.oninput = () => this.#fit();
    this.input.onkeydown = (event) => {
      // While an input method composes a character, Enter only ends that.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#form.requestSubmit();
    };
  }

  #sendWords() {
    if (!this.input.value.trim()) return;
    this.#hooks.onWords(this.input.value);
    this.input.value = "";
    this.#fit();
    this.input.focus();
  }

  #setUpFiles() {
    const files = this.#find("[type=file]");
    const attach = this.#find(".attach");
    attach.hidden = false;
    attach.onclick = () => files.click();
    files.onchange = () => {
      for (const file of files.files) this.#sendFile(file.type.startsWith("image/") ? "image" : "voice", file);
      files.value = "";
      this.input.focus();
    };
    const record = this.#find(".record");
    record.hidden = !Recorder.isPossible;
    record.onclick = () => this.#record();
    this.#find(".discard").onclick = () => this.#endRecording();
    this.#form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.isRecording) return;
      event.stopPropagation();
      this.#endRecording();
    });
  }

  #sendFile(kind, file) {
    this.#complain();
    if (file.size === 0) this.#complain("file_empty", { name: file.name });
    else if (file.size > MAX_FILE_BYTES[kind]) {
      this.#complain(`file_too_big_${kind}`, { name: file.name, size: megabytes(file.size), max: megabytes(MAX_FILE_BYTES[kind]) });
    } else this.#hooks.onFile(kind, file);
  }

  async #record() {
    const button = this.#find(".record");
    this.#complain();
    button.disabled = true;
    try {
      await this.#recorder.start((seconds) => this.#showSeconds(seconds), () => this.#sendRecording());
    } catch {
      this.#complain("microphone_refused");
      return;
    } finally {
      button.disabled = false;
    }
    if (!this.#form.isConnected) this.close(); // the chat was removed while the browser asked
    this.#showRecording(true);
    this.#find(".send").focus();
  }

  async #sendRecording() {
    if (!this.isRecording) return;
    this.#showRecording(false);
    this.input.focus();
    this.#sendFile("voice", await this.#recorder.stop());
  }

  #endRecording() {
    this.#recorder.cancel();
    this.#showRecording(false);
    this.input.focus();
  }

  #showRecording(shown) {
    this.#form.classList.toggle("recording", shown);
    this.#find(".recorder").hidden = !shown;
    for (const part of [this.input, this.#find(".attach"), this.#find(".record")]) part.hidden = shown;
    say(this.#find(".send"), shown ? "send_recording" : "send", {}, "label");
  }

  #showSeconds(seconds) {
    this.#find(".recorder .time").textContent = `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  }

  /** Say what is wrong with the last try; nothing, when there is no *key*. */
  #complain(key, values) {
    const place = this.#find(".complaint");
    place.hidden = !key;
    if (key) say(place, key, values);
  }

  #fit() {
    this.input.style.height = "auto";
    this.input.style.height = `${this.input.scrollHeight}px`;
  }

  #find(selector) {
    return this.#form.querySelector(selector);
  }
}
