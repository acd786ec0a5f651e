// Frames to the server, readings back. One frame is on its way at a time, and only the newest is
// sent: the server answers as fast as it can, and the picture is never late.

const LARGEST = 640; // pixels of the longer side; faces of 24 pixels are still found
const QUALITY = 0.85;
const LONGEST_WAIT_S = 8;
const TRY_LATER = 1013;
const IN_VAIN = new Set([1003, 1008, 1009]); // what was asked for cannot be had: no use to go on

export class Stream {
  #socket = null;
  #awaiting = false;
  #closed = false;
  #wait = 1;
  #canvas = document.createElement("canvas");

  // onReading(reading), onTrouble(text), onReady() when a frame may be sent
  constructor({ model, onReading, onTrouble, onReady }) {
    const address = new URL("v1/stream", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    if (model) address.searchParams.set("model", model);
    this.address = address;
    this.onReading = onReading;
    this.onTrouble = onTrouble;
    this.onReady = onReady;
    this.#connect();
  }

  // Send what a video shows now; false where that must wait until onReady is called.
  offer(video) {
    if (!this.#socket) this.#connect();
    if (this.#awaiting || this.#socket.readyState !== WebSocket.OPEN) return false;
    const scale = Math.min(1, LARGEST / Math.max(video.videoWidth, video.videoHeight));
    this.#canvas.width = Math.round(video.videoWidth * scale);
    this.#canvas.height = Math.round(video.videoHeight * scale);
    this.#canvas.getContext("2d").drawImage(video, 0, 0, this.#canvas.width, this.#canvas.height);
    this.#awaiting = true;
    const socket = this.#socket;
    this.#canvas.toBlob((blob) => {
      if (blob && socket.readyState === WebSocket.OPEN) socket.send(blob);
      else this.#awaiting = false;
    }, "image/jpeg", QUALITY);
    return true;
  }

  close() {
    this.#closed = true;
    this.#socket?.close();
  }

  #connect() {
    const socket = new WebSocket(this.address);
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#awaiting = false;
      if (!this.#closed) this.onReady();
    };
    socket.onmessage = (event) => {
      this.#awaiting = false;
      if (this.#closed) return;
      this.#wait = 1; // only now: a stream that is one too many is opened and closed again
      this.onReading(JSON.parse(event.data));
      this.onReady();
    };
    socket.onclose = async (event) => {
      if (this.#closed) return;
      // The server closes streams that were silent, as a hidden tab's is: no trouble at all. The
      // place is left to others until there is something to send.
      if (event.code === 1000) {
        this.#socket = null;
        this.onReady();
        return;
      }
      const why = event.reason || (!opened && (await whyRefused())) || "the server does not answer";
      if (this.#closed) return;
      if (IN_VAIN.has(event.code)) {
        this.onTrouble(why);
        return;
      }
      this.onTrouble(`${why}; trying again`);
      const waitS = event.code === TRY_LATER ? LONGEST_WAIT_S : this.#wait;
      this.#wait = Math.min(LONGEST_WAIT_S, 2 * waitS);
      setTimeout(() => this.#closed || this.#connect(), 1000 * waitS);
    };
    this.#socket = socket;
  }
}

// A browser does not tell why a socket was refused; another request does.
async function whyRefused() {
  const said = await ask("v1/models", { signal: AbortSignal.timeout(3000) });
  return said.lost ? null : said.error;
}

export async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    return { error: "the server does not answer: is 'mien serve' still running?", lost: true };
  }
  try {
    return await response.json();
  } catch {
    // What stands between page and server refuses in words of its own.
    return { error: `the server answers ${response.status}` };
  }
}
