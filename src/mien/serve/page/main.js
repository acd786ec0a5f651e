// The page: one source at a time (camera, video or picture), read by the server.

import { Cards, Strips, drawBoxes } from "./draw.js";
import { Stream, ask } from "./stream.js";

const $ = (id) => document.getElementById(id);
const video = $("video");
const picture = $("picture");
const cards = new Cards($("faces"));
const strips = new Strips($("strips"));

const RATE_OVER_S = 2;
const SPEAK_EVERY_S = 3;

let source = null; // "camera", "video", "picture" or null
let stream = null;
let reading = null;
let mirrored = true;
let playing = false; // since the first frame
let camera = null; // the device that was chosen
let opened = null; // the file, its address, and whether the browser shows it
let missed = false; // whether a frame came while another was on its way
let answers = [];
let spokenAt = 0;
let turn = new AbortController(); // another with every source, so that an old one's answers are dropped

// --- telling --------------------------------------------------------------------------------

const trouble = (text) => {
  $("alert").hidden = !text;
  $("alert").textContent = text ?? "";
};

function show(found) {
  reading = found;
  if (!reading) {
    answers = [];
    $("rate").textContent = "";
  }
  const faces = reading?.faces ?? [];
  const live = source === "camera" || source === "video";
  drawBoxes($("overlay"), reading, source === "camera" && mirrored);
  cards.update(faces);
  $("nobody").hidden = faces.length > 0;
  $("nobody").textContent = reading ? "No face found." : "Nobody yet.";
  if (live && reading) {
    const now = performance.now() / 1000;
    strips.update(faces, now);
    answers = [...answers.filter((time) => time > now - RATE_OVER_S), now];
    const seconds = now - answers[0];
    $("rate").textContent = seconds > 0.5 ? `${Math.round((answers.length - 1) / seconds)} a second` : "";
  }
  $("over-time").hidden = !(live && strips.any);
  $("rate").hidden = !(live && $("rate").textContent);
  speak(faces, live);
}

function speak(faces, live) {
  const now = performance.now() / 1000;
  if (!reading || (live && now - spokenAt < SPEAK_EVERY_S)) return;
  const said = faces.map((face, i) => `face ${face.track ?? i + 1}: ${face.emotion}`).join(", ") || "no face found";
  if ($("spoken").textContent !== said) $("spoken").textContent = said;
  spokenAt = now;
}

// --- sources --------------------------------------------------------------------------------

function nextTurn() {
  turn.abort();
  turn = new AbortController();
}

function stop() {
  nextTurn();
  stream?.close();
  stream = null;
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  video.removeAttribute("src");
  video.load();
  picture.removeAttribute("src");
  if (opened) URL.revokeObjectURL(opened.address);
  opened = null;
  source = null;
  playing = false;
  trouble(null);
  strips.clear();
  $("spoken").textContent = "";
  arrange();
  show(null);
}

function arrange() {
  const live = source === "camera" || source === "video";
  video.hidden = !live;
  video.controls = source === "video";
  video.classList.toggle("mirrored", source === "camera" && mirrored);
  picture.hidden = source !== "picture";
  $("empty").hidden = source !== null;
  $("camera").textContent = source === "camera" ? "Stop camera" : "Start camera";
  $("pause").disabled = !playing;
  $("pause").setAttribute("aria-pressed", String(live && video.paused));
  $("pause").textContent = live && video.paused ? "Go on" : "Pause";
  $("mirror").disabled = source !== "camera";
  $("mirror").setAttribute("aria-pressed", String(mirrored));
  if (source === null) $("stage").style.aspectRatio = "";
}

async function startCamera(device = camera) {
  stop();
  const mine = turn;
  if (!navigator.mediaDevices) {
    trouble("browsers give the camera to pages of this machine, and over https, only");
    return;
  }
  try {
    const wanted = { width: { ideal: 640 }, height: { ideal: 480 } };
    if (device) wanted.deviceId = { exact: device };
    const found = await navigator.mediaDevices.getUserMedia({ video: wanted });
    if (mine !== turn) {
      found.getTracks().forEach((track) => track.stop());
      return;
    }
    const [track] = found.getVideoTracks();
    const { deviceId, facingMode } = track.getSettings();
    // Only who looks at oneself expects a mirror.
    if (deviceId !== camera) mirrored = facingMode !== "environment";
    camera = deviceId;
    source = "camera";
    video.srcObject = found;
    track.onended = () => {
      stop();
      trouble("the camera is gone: plug it in and start it again");
    };
    await watch();
    if (mine === turn) await listCameras();
  } catch (error) {
    if (mine === turn && device && error.name === "OverconstrainedError") {
      camera = null; // it was taken away: any other will do
      startCamera();
    } else if (mine === turn) {
      $("cameras").value = camera ?? "";
      stop();
      trouble(whyNoCamera(error));
    }
  }
}

const whyNoCamera = (error) =>
  ({
    NotAllowedError: "the camera was not allowed: allow it in the address bar and try again",
    NotFoundError: "there is no camera: plug one in, or open a file",
    NotReadableError: "the camera is busy: close the other program that uses it",
  })[error.name] ?? `the camera cannot be used: ${error.message}`;

async function listCameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const found = devices.filter((device) => device.kind === "videoinput");
  $("cameras").replaceChildren(
    ...found.map((device, i) => new Option(device.label || `camera ${i + 1}`, device.deviceId, false, device.deviceId === camera)),
  );
  $("cameras").hidden = found.length < 2;
}

function send() {
  if (video.videoWidth) missed = !stream.offer(video);
}

function connect() {
  stream?.close();
  let told = false; // whether the trouble that is shown is the stream's
  stream = new Stream({
    model: $("model").value,
    onTrouble: (text) => {
      told = true;
      trouble(text);
      // What was read is no longer what is seen, and that is to be read again.
      show(null);
      missed = true;
    },
    onReading: (found) => {
      if (told || found.error) trouble(found.error);
      told = Boolean(found.error);
      if (!found.error) show(found);
    },
    onReady: () => missed && send(),
  });
}

async function watch() {
  const mine = turn;
  missed = false;
  connect();
  arrange();
  // Whoever pauses at once breaks that off, and may go on.
  await video.play().catch((error) => {
    if (error.name !== "AbortError") throw error;
  });
  if (mine !== turn) return;
  if (video.readyState && !video.videoWidth) throw new Error("there is no picture in it");
  playing = true;
  arrange();
  const framed = video.requestVideoFrameCallback?.bind(video); // calls for new frames only
  const next = framed ?? requestAnimationFrame;
  const tick = () => {
    if (mine !== turn) return;
    if (framed || !video.paused) send();
    next(tick);
  };
  tick(); // the first frame is there already
}

function fitStage(width, height) {
  if (width && height) $("stage").style.aspectRatio = `${width} / ${height}`;
}

// Not every system knows the type of every video that 'mien predict' reads.
const VIDEO_NAME = /\.(mp4|m4v|mov|avi|mkv|webm|mpe?g|wmv|flv|3gp|mts|m2ts|ogv)$/i;

function cannotPlay() {
  const { name } = opened.file;
  stop();
  trouble(`this browser cannot play ${name}: 'mien predict' reads it`);
}

async function openFile(file) {
  stop();
  const mine = turn;
  opened = { file, address: URL.createObjectURL(file), shown: null };
  if (file.type.startsWith("video/") || (!file.type.startsWith("image/") && VIDEO_NAME.test(file.name))) {
    source = "video";
    video.src = opened.address;
    video.loop = false;
    try {
      await watch();
    } catch {
      if (mine === turn) cannotPlay();
    }
    return;
  }
  source = "picture";
  picture.src = opened.address;
  arrange();
  opened.shown = new Promise((settle) => {
    picture.onload = () => {
      fitStage(picture.naturalWidth, picture.naturalHeight);
      settle(true);
    };
    picture.onerror = () => settle(false);
  });
  await readPicture();
}

function openFirst(files) {
  if (!files.length) {
    trouble("there is no file in it: save the picture or the video, and open that");
    return;
  }
  openFile(files[0]);
  if (files.length > 1) {
    trouble(`opened 1 of ${files.length}: the page takes one file at a time, 'mien predict' reads folders`);
  }
}

async function readPicture() {
  const mine = turn;
  const { file, shown } = opened;
  const found = await predict(file, mine.signal);
  if (mine !== turn) return;
  if (found.error) {
    trouble(`${file.name}: ${found.error}`);
    return;
  }
  show(found);
  // Only now: why a picture was not read is told instead of this.
  if (!(await shown) && mine === turn) {
    trouble(`this browser cannot show ${file.name}: its reading is under Faces`);
  }
}

async function predict(file, signal) {
  try {
    const reader = file.stream().getReader();
    await reader.read();
    reader.cancel();
  } catch {
    return { error: "the browser cannot read it: it is a folder, or no longer there" };
  }
  const query = $("model").value ? `?model=${encodeURIComponent($("model").value)}` : "";
  const headers = { "Content-Type": file.type || "application/octet-stream" };
  return ask(`v1/predict${query}`, { method: "POST", body: file, headers, signal });
}

// What is open stays so, and is read by the model that was chosen.
function readAgain() {
  if (source === null) return;
  trouble(null);
  strips.clear();
  show(null);
  if (source === "picture") {
    nextTurn();
    readPicture();
  } else {
    missed = true;
    connect();
  }
}

// --- controls -------------------------------------------------------------------------------

const actions = {
  c: () => (source === "camera" ? stop() : startCamera()),
  o: () => $("file").click(),
  p: () => {
    if (!playing) return;
    if (video.paused) video.play();
    else video.pause();
  },
  m: () => {
    if (source !== "camera") return;
    mirrored = !mirrored;
    arrange();
    show(reading);
  },
};

$("camera").onclick = actions.c;
$("open").onclick = actions.o;
$("pause").onclick = actions.p;
$("mirror").onclick = actions.m;
video.onplay = video.onpause = arrange;
video.onresize = () => fitStage(video.videoWidth, video.videoHeight); // at the start, and when a phone is turned
video.onerror = () => source === "video" && cannotPlay();
$("cameras").onchange = (event) => startCamera(event.target.value);
$("file").onchange = (event) => {
  const files = [...event.target.files];
  event.target.value = "";
  if (files.length) openFirst(files);
};

addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("select, input, video");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (actions[event.key]) {
    event.preventDefault();
    actions[event.key]();
  }
});

addEventListener("dragover", (event) => {
  event.preventDefault();
  $("stage").classList.add("over");
});
addEventListener("dragleave", () => $("stage").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  $("stage").classList.remove("over");
  openFirst(event.dataTransfer.files);
});
addEventListener("paste", (event) => openFirst(event.clipboardData.files));
new ResizeObserver(() => drawBoxes($("overlay"), reading, source === "camera" && mirrored)).observe($("stage"));

// --- models ---------------------------------------------------------------------------------

const models = await ask("v1/models");
if (models.error) {
  trouble(models.error);
} else {
  $("model").replaceChildren(...models.map((model) => new Option(model.name, model.name, model.default, model.default)));
  $("models").hidden = models.length < 2;
  $("model").onchange = readAgain;
}
