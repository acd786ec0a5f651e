// Frames to the server, readings back. One frame is on its way at a time, and only the newest is
// sent: the server answers as fast as it can, and the picture is never late.

const LARGEST = 640; // pixels of the longer side; faces of 24 pixels are still found
const QUALITY = 0.85;
const LONGEST_WAIT_S = 8;
const TRY_LATER = 1013;

export class Stream {
  #socket = null;
  #awaiting = false;
  #closed = false;
  #wait = 1;
  #canvas = document.createElement("canvas");

  // onReading(reading), onTrouble(text or null)
  constructor({ model, onReading, onTrouble }) {
    const address = new URL("/v1/stream", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    if (model) address.searchParams.set("model", model);
    this.address = address;
    this.onReading = onReading;
    this.onTrouble = onTrouble;
    this.#connect();
  }

  get ready() {
    return this.#socket?.readyState === WebSocket.OPEN && !this.#awaiting;
  }

  send(video) {
    const scale = Math.min(1, LARGEST / Math.max(video.videoWidth, video.videoHeight));
    this.#canvas.width = Math.round(video.videoWidth * scale);
    this.#canvas.height = Math.round(video.videoHeight * scale);
    this.#canvas.getContext("2d").drawImage(video, 0, 0, this.#canvas.width, this.#canvas.height);
    this.#awaiting = true;
    const socket = this.#socket;
    this.#canvas.toBlob((blob) => {
      if (blob && socket.readyState === WebSocket.OPEN) socket.send(blob);
    }, "image/jpeg", QUALITY);
  }

  close() {
    this.#closed = true;
    this.#socket?.close();
  }

  #connect() {
    if (this.#closed) return;
    const socket = new WebSocket(this.address);
    socket.onopen = () => {
      this.#awaiting = false;
      this.#wait = 1;
      this.onTrouble(null);
    };
    socket.onmessage = (event) => {
      this.#awaiting = false;
      if (!this.#closed) this.onReading(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      if (this.#closed) return;
      // The server closes streams that were silent, as a hidden tab's is: no trouble at all.
      const silent = event.code === 1000;
      const waitS = silent ? 0 : this.#wait;
      if (!silent) {
        const why = event.reason || "the server does not answer";
        this.onTrouble(`${why}; trying again`);
        this.#wait = event.code === TRY_LATER ? LONGEST_WAIT_S : Math.min(LONGEST_WAIT_S, 2 * this.#wait);
      }
      setTimeout(() => this.#connect(), 1000 * waitS);
    };
    this.#socket = socket;
  }
}
