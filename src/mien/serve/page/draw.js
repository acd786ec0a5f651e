// What is drawn: boxes over the picture, a card of bars for each face, strips of the last seconds.

const SPAN_S = 30;
const STRIPS = 4;

const colourOf = (element, emotion) => {
  const style = getComputedStyle(element);
  return style.getPropertyValue(`--${emotion}`).trim() || style.getPropertyValue("--other").trim();
};

const variableOf = (emotion) => `var(--${CSS.escape(emotion)}, var(--other))`;

const percent = (share) => `${Math.round(100 * share)} %`;

// Give a canvas the screen's own pixels; return its context, scaled to CSS pixels.
const fitted = (canvas) => {
  const ratio = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
};

// Where a picture of some size lies in a place that shows it whole.
const placed = (picture, place) => {
  const scale = Math.min(place.width / picture.width, place.height / picture.height);
  return {
    scale,
    left: (place.width - scale * picture.width) / 2,
    top: (place.height - scale * picture.height) / 2,
    width: scale * picture.width,
  };
};

export function drawBoxes(canvas, reading, mirrored) {
  const { context, width, height } = fitted(canvas);
  if (!reading?.width) {
    canvas.setAttribute("aria-label", "no face yet");
    return;
  }
  const at = placed(reading, { width, height });
  const taken = [];
  // As on the cards; alone in a picture, a face needs no number.
  const numbers = reading.faces.map((face, i) => `${face.track ?? (reading.faces.length > 1 ? i + 1 : "")}`);
  const names = reading.faces.map((face, i) => `${numbers[i]}  ${face.emotion} ${percent(face.confidence)}`.trim());
  for (const [i, face] of reading.faces.entries()) {
    const [x, y, w, h] = face.box.map((value) => value * at.scale);
    const box = { x: at.left + (mirrored ? at.width - x - w : x), y: at.top + y, w, h };
    const colour = colourOf(canvas, face.emotion);
    for (const [line, stroke] of [[5, "rgb(20 24 29 / .55)"], [2.5, colour]]) {
      context.lineWidth = line;
      context.strokeStyle = stroke;
      context.beginPath();
      context.roundRect(box.x, box.y, w, h, 8);
      context.stroke();
    }
    taken.push(drawLabel(context, [names[i], numbers[i] || names[i]], colour, box, taken, { width, height }));
  }
  canvas.setAttribute("aria-label", names.join(", ") || "no face found");
}

const meet = (a, b) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

// Write the first text that has room beside a box: above it, or below where the edge or another face's name is
// in the way. Where none has, the last is written inside.
function drawLabel(context, texts, colour, box, taken, { width, height }) {
  const size = width < 520 ? 12 : 15;
  context.font = `600 ${size}px ui-sans-serif, system-ui, sans-serif`;
  context.textBaseline = "middle";
  const h = Math.round(1.75 * size);
  const places = texts.flatMap((text) => {
    const w = context.measureText(text).width + 1.2 * size;
    const x = Math.max(2, Math.min(box.x, width - w - 2));
    const below = { text, x, y: Math.min(box.y + box.h + 4, height - h - 2), w, h };
    return box.y - h - 4 < 2 ? [below] : [{ ...below, y: box.y - h - 4 }, below];
  });
  const free = places.find((place) => !taken.some((other) => meet(place, other)));
  const label = free ?? { ...places.at(-1), y: box.y + 4 };
  const w = label.w;
  context.fillStyle = "rgb(20 24 29 / .85)";
  context.beginPath();
  context.roundRect(label.x, label.y, w, h, 7);
  context.fill();
  context.fillStyle = colour;
  context.fillText(label.text, label.x + 0.6 * size, label.y + h / 2 + 1);
  return label;
}

const element = (name, classes = "", text = "") => {
  const made = document.createElement(name);
  made.className = classes;
  made.textContent = text;
  return made;
};

export class Cards {
  #cards = new Map();

  constructor(root) {
    this.root = root;
  }

  update(faces) {
    const seen = new Set();
    faces.forEach((face, place) => {
      const key = `${face.track ?? `place ${place}`} ${Object.keys(face.probabilities)}`;
      seen.add(key);
      if (!this.#cards.has(key)) this.#cards.set(key, this.#make(face, place));
      this.#fill(this.#cards.get(key), face);
    });
    for (const [key, card] of this.#cards) {
      if (seen.has(key)) continue;
      card.root.remove();
      this.#cards.delete(key);
    }
  }

  #make(face, place) {
    const root = element("section", "face");
    const title = element("h3");
    const name = element("span");
    title.append(name, element("small", "", `face ${face.track ?? place + 1}`));
    const list = element("dl");
    const rows = {};
    for (const emotion of Object.keys(face.probabilities)) {
      const bar = element("dd", "bar");
      const fill = element("i");
      fill.style.setProperty("--c", variableOf(emotion));
      bar.append(fill);
      const share = element("dd", "share");
      list.append(element("dt", "", emotion), bar, share);
      rows[emotion] = { fill, share };
    }
    root.append(title, list);
    this.root.append(root);
    return { root, name, rows };
  }

  #fill(card, face) {
    card.root.style.setProperty("--c", variableOf(face.emotion));
    card.name.textContent = face.emotion;
    for (const [emotion, share] of Object.entries(face.probabilities)) {
      card.rows[emotion].fill.style.transform = `scaleX(${share})`;
      card.rows[emotion].share.textContent = percent(share);
    }
  }
}

export class Strips {
  #strips = new Map();

  constructor(root) {
    this.root = root;
  }

  get any() {
    return this.#strips.size > 0;
  }

  clear() {
    this.#strips.clear();
    this.root.replaceChildren();
  }

  update(faces, now) {
    for (const face of faces) {
      if (!this.#strips.has(face.track)) {
        if (this.#strips.size >= STRIPS && !this.#leaveOut(faces)) continue;
        this.#strips.set(face.track, this.#make(face.track));
      }
      this.#strips.get(face.track).points.push({ time: now, shares: face.probabilities });
    }
    for (const [track, strip] of this.#strips) {
      while (strip.points.length && strip.points[0].time < now - SPAN_S - 1) strip.points.shift();
      if (strip.points.length) {
        drawStrip(strip.canvas, strip.points, now);
      } else {
        this.#remove(track);
      }
    }
  }

  // Make room by the strip of whoever is longest out of sight; false where all are in sight.
  #leaveOut(faces) {
    const inSight = new Set(faces.map((face) => face.track));
    const last = (track) => this.#strips.get(track).points.at(-1)?.time ?? 0;
    const gone = [...this.#strips.keys()].filter((track) => !inSight.has(track)).sort((a, b) => last(a) - last(b));
    if (gone.length) this.#remove(gone[0]);
    return gone.length > 0;
  }

  #remove(track) {
    this.#strips.get(track).root.remove();
    this.#strips.delete(track);
  }

  #make(track) {
    const root = element("div", "strip");
    const canvas = element("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `face ${track}: emotions over the last ${SPAN_S} seconds`);
    root.append(element("span", "muted", `face ${track}`), canvas);
    this.root.append(root);
    return { root, canvas, points: [] };
  }
}

const GAP_S = 1; // a face that was away this long leaves a gap, and longer where answers take long

function drawStrip(canvas, points, now) {
  const { context, width, height } = fitted(canvas);
  const x = (time) => width * (1 - (now - time) / SPAN_S);
  const runs = [];
  const steps = points.slice(1).map((point, i) => point.time - points[i].time).sort((a, b) => a - b);
  const gap = Math.max(GAP_S, 2 * (steps[steps.length >> 1] ?? 0));
  for (const point of points) {
    const last = runs.at(-1)?.at(-1);
    if (last && point.time - last.time < gap) runs.at(-1).push(point);
    else runs.push([point]);
  }
  for (const run of runs) {
    const floor = run.map(() => 0);
    for (const emotion of Object.keys(run[0].shares)) {
      context.fillStyle = colourOf(canvas, emotion);
      context.beginPath();
      run.forEach((point, i) => context.lineTo(x(point.time), height * (1 - floor[i])));
      for (let i = run.length - 1; i >= 0; i--) {
        floor[i] += run[i].shares[emotion];
        context.lineTo(x(run[i].time), height * (1 - floor[i]));
      }
      context.fill();
    }
  }
}
