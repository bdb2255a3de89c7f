// The microphone: one recording at a time, kept in memory until it is sent or thrown away.

const RECORDING_TYPES = ["audio/ogg;codecs=opus", "audio/webm;codecs=opus", "audio/mp4"];
const RECORDING_BITS_PER_S = 32_000;
const RECORDING_MAX_S = 600;

class Recorder {
  #recorder = null;
  #chunks = [];
  #ticking = 0;
  #begunMs = 0;

  /** Browsers give a microphone only to pages from https or this machine. */
  static get isPossible() {
    return Boolean(navigator.mediaDevices?.getUserMedia && globalThis.MediaRecorder);
  }

  /** Ask for the microphone and begin; *onTick* gets the seconds so far, *onLimit* is called when it is long enough. */
  async start(onTick, onLimit) {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const mimeType = RECORDING_TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    this.#chunks = [];
    this.#recorder = new MediaRecorder(stream, { mimeType, audioBitsPerSecond: RECORDING_BITS_PER_S });
    this.#recorder.ondataavailable = ({ data }) => this.#chunks.push(data);
    this.#recorder.start(1000);
    this.#begunMs = performance.now();
    this.#ticking = setInterval(() => this.#tick(onTick, onLimit), 250);
    onTick(0);
  }

  /** End, and give the recording as a file. */
  async stop() {
    const recorder = this.#recorder;
    const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve, { once: true }));
    this.#end();
    await stopped;
    const type = recorder.mimeType.split(";")[0];
    return new File(this.#chunks, `recording.${type.split("/")[1]}`, { type });
  }

  cancel() {
    if (this.#recorder) this.#end();
    this.#chunks = [];
  }

  #tick(onTick, onLimit) {
    const seconds = (performance.now() - this.#begunMs) / 1000;
    onTick(seconds);
    if (seconds >= RECORDING_MAX_S) onLimit();
  }

  // Stopping the tracks too, or the browser would go on showing that it listens.
  #end() {
    clearInterval(this.#ticking);
    if (this.#recorder.state !== "inactive") this.#recorder.stop();
    for (const track of this.#recorder.stream.getTracks()) track.stop();
    this.#recorder = null;
  }
}
