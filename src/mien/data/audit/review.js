// Deciding by eye: cards of pictures, what was decided of each, and that as a csv.

const told = JSON.parse(document.getElementById("told").textContent);
const rows = new Map(Object.entries(told.rows)); // by their ids
const aliases = new Map(Object.entries(told.aliases)); // of emotions
const pictures = new Set(told.kinds.flatMap((each) => each.pictures.map(({ id }) => id)));
const ofPath = new Map(told.alone.map((id) => [rows.get(id).path, id])); // those of one row
const $ = (id) => document.getElementById(id);

const KEEP = "keep";
const DROP = "drop";
const APART = "apart";
const AT_ONCE = 60;
const KEY = `mien-review-${told.fingerprint}`;
const COLUMNS = ["id", "path", "label", "decision"];

const decided = new Map(); // of pictures of this dataset, not of this page alone, by their keys
const before = []; // for undoing: of each step the keys, and what was decided of them then
let kind = told.kinds[0];
let shown = []; // the pictures of this kind that have cards or will get some
let cards = [];

// --- what is decided ------------------------------------------------------------------------

function entryOf(id, what, path = "", label = "") {
  // A spreadsheet may have made a number of an id.
  const here = rows.has(id) ? id : (ofPath.get(path) ?? ofPath.get(path.trim()));
  if (!here) return [`${id}\n${path}`, { id, path, label, decision: what }];
  const row = rows.get(here);
  const decision = what === row.label ? KEEP : what;
  return [here, { id: here, path: row.path, label: row.label ?? "", decision }];
}

function change(entries) {
  before.push(entries.map(([key]) => [key, decided.get(key)]));
  put(entries);
}

function put(entries) {
  for (const [key, one] of entries) {
    if (one) decided.set(key, one);
    else decided.delete(key);
  }
  try {
    const kept = [...decided.values()].map((one) => [one.id, one.decision, one.path, one.label]);
    localStorage.setItem(KEY, JSON.stringify(kept));
    $("kept").hidden = true;
  } catch {
    $("kept").hidden = false; // private windows, or a full store
  }
}

function recall() {
  before.length = 0; // of this window alone: undoing would take back what another one decided
  decided.clear();
  try {
    for (const entry of JSON.parse(localStorage.getItem(KEY) ?? "[]")) {
      if (meant(entry[1])) decided.set(...entryOf(...entry));
    }
  } catch {
    // Nothing that could be read was kept.
  }
}

// --- csv ------------------------------------------------------------------------------------

function written(value) {
  // A spreadsheet would compute what begins so.
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",;\t\r\n']/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function asCsv() {
  const table = [...decided.values()].map((one) => COLUMNS.map((name) => one[name]));
  return [COLUMNS, ...table].map((row) => `${row.map(written).join(",")}\n`).join("");
}

function asTable(text) {
  const first = text.split("\n", 1)[0];
  const apart = [",", ";", "\t"].reduce((best, each) =>
    first.split(each).length > first.split(best).length ? each : best,
  );
  const table = [[""]];
  let quoted = false;
  for (let i = 0; i < text.length; i += 1) {
    const char = text[i];
    const row = table[table.length - 1];
    if (quoted) {
      if (char !== '"') row[row.length - 1] += char;
      else if (text[i + 1] !== '"') quoted = false;
      else {
        row[row.length - 1] += '"';
        i += 1;
      }
    } else if (char === '"' && row[row.length - 1] === "") {
      quoted = true;
    } else if (char === apart) {
      row.push("");
    } else if (char === "\n") {
      table.push([""]);
    } else {
      row[row.length - 1] += char;
    }
  }
  if (quoted) throw new Error("it ends within quotation marks");
  return table;
}

function meant(said) {
  const name = said.toLowerCase();
  return [KEEP, DROP, APART].includes(name) ? name : aliases.get(name.replace(/[_-]/g, " "));
}

function fromCsv(text) {
  // Whole or not at all, as mien data clean takes it.
  const [first, ...body] = asTable(text.replace(/^\ufeff/, "").replace(/\r\n?/g, "\n"));
  const columns = first.map((name) => name.trim().toLowerCase());
  const places = COLUMNS.map((name) => columns.lastIndexOf(name));
  if (Math.max(places[0], places[1]) < 0 || places[3] < 0) {
    throw new Error("no columns decision and id, or path: expected a file that was saved here");
  }
  const taken = new Map();
  let nameless = 0;
  for (const row of body) {
    const [id, path, label, said] = places.map((place) => row[place] ?? "");
    if (!said.trim()) continue;
    const what = meant(said.trim());
    if (!what) throw new Error(`“${said}” is no decision: expected keep, drop, apart or an emotion`);
    const [key, one] = entryOf(id.trim(), what, path, label);
    const earlier = taken.get(key)?.decision ?? one.decision;
    if (earlier !== one.decision) {
      throw new Error(`${path || id} is decided twice, as ${earlier} and as ${one.decision}`);
    }
    if (one.id) taken.set(key, one);
    else nameless += 1;
  }
  return [[...taken], nameless];
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([asCsv()], { type: "text/csv" }));
  link.download = "decisions.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // some browsers read it later
  say(`Saved ${count(decided.size, "decision")}.`);
}

async function open(file) {
  let taken, nameless;
  try {
    [taken, nameless] = fromCsv(await file.text());
  } catch ({ message }) {
    say(`Nothing of ${file.name} taken: ${message}.`);
    return;
  }
  if (taken.length) change(taken);
  list();
  const others = taken.filter(([key]) => !pictures.has(key)).length;
  const about = [`${count(taken.length, "decision")} of ${file.name} taken.`];
  if (others) about.push(`${others.toLocaleString("en")} of them about pictures that this page has not.`);
  if (nameless) about.push(`${count(nameless, "row")} without an id passed over: this page has no such path, or several pictures of it.`);
  say(about.join(" "));
}

// --- cards ----------------------------------------------------------------------------------

const count = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

function say(text) {
  $("said").textContent = text;
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function emotion(name) {
  return element("span", `emotion e-${told.emotions.includes(name) ? name : "other"}`, name);
}

function button(text, what, title) {
  const made = element("button", "", text);
  made.type = "button";
  made.dataset.what = what;
  made.title = title;
  return made;
}

function choice(picture) {
  const made = document.createElement("select");
  made.setAttribute("aria-label", "it shows another emotion");
  made.append(new Option("other…", ""));
  for (const name of told.emotions) {
    if (name !== rows.get(picture.id).label) made.append(new Option(name, name));
  }
  return made;
}

function imageOf(row) {
  const made = element("img");
  made.src = row.uri;
  made.alt = `labelled ${row.label ?? "nothing"}`;
  made.title = row.path;
  return made;
}

function makeCard(picture) {
  const row = rows.get(picture.id);
  const card = element("li");
  card.tabIndex = -1;
  card.dataset.id = picture.id;
  const other = rows.get(picture.like);
  const images = element("div", "images");
  images.append(...[row, other].filter(Boolean).map(imageOf));
  const label = element("p", "label");
  label.append(row.label ? emotion(row.label) : element("span", "muted", "no label"));
  label.append(element("span", "muted", row.split));
  const verdict = element("p", "verdict");
  const file = element("p", "file", row.path.split("/").pop());
  file.title = row.path;
  const controls = element("div", "controls");
  if (row.label) controls.append(button("right", KEEP, "the label is right (K)"));
  if (picture.rather) {
    const suggested = button("", picture.rather, "it shows this (Enter)");
    suggested.append(emotion(picture.rather));
    controls.append(suggested);
  }
  if (other) controls.append(button("no copy", APART, "the label is right, and it is no copy of the one beside it (A)"));
  controls.append(button("no use", DROP, "leave the picture out (X)"), choice(picture));
  card.append(images, label, verdict);
  if (row.part) card.append(element("p", "part", row.part));
  card.append(file);
  if (other) {
    const beside = element("p", "why", `beside it ${other.path.split("/").pop()} `);
    beside.append(other.label ? emotion(other.label) : "no label", ` ${other.split}`);
    card.append(beside);
  }
  if (picture.why) card.append(element("p", "why", picture.why));
  if (row.excluded) card.append(element("p", "why", `left out already: ${row.excluded}`));
  card.append(controls);
  dress(card);
  return card;
}

function dress(card) {
  const what = decided.get(card.dataset.id)?.decision;
  card.classList.toggle("decided", what !== undefined);
  card.classList.toggle("dropped", what === DROP);
  const verdict = card.querySelector(".verdict");
  verdict.replaceChildren();
  if (what === KEEP) verdict.append("label is right");
  else if (what === DROP) verdict.append("left out");
  else if (what === APART) verdict.append("no copy");
  else if (what) verdict.append("→ ", emotion(what));
  for (const each of card.querySelectorAll("button")) {
    each.setAttribute("aria-pressed", String(each.dataset.what === what));
  }
  const chosen = card.querySelector("select");
  chosen.value = [...chosen.options].some((option) => option.value === what) ? what : "";
}

function decide(card, what) {
  const { id } = card.dataset;
  const entry = what ? entryOf(id, what) : [id, undefined];
  if (decided.get(id)?.decision === entry[1]?.decision) return;
  change([entry]);
  dress(card);
  progress();
  say("");
}

function undo() {
  const step = before.pop();
  if (!step) return;
  put(step);
  if (step.length > 1 || $("undecided").checked) list();
  cards.forEach(dress);
  progress();
  const [key] = step.at(-1);
  const card = cards.find((each) => each.dataset.id === key);
  if (card) go(card);
  say(`Undone: ${step.length === 1 && rows.has(key) ? rows.get(key).path : count(step.length, "decision")}.`);
}

// --- the list -------------------------------------------------------------------------------

function progress() {
  const here = [...pictures].filter((id) => decided.has(id)).length;
  $("progress").textContent = `${here.toLocaleString("en")} of ${count(pictures.size, "picture")} decided`;
  $("bar").value = here / pictures.size;
  $("save").disabled = decided.size === 0;
  $("undo").disabled = before.length === 0;
  for (const [place, tab] of [...$("kinds").children].entries()) {
    const { pictures } = told.kinds[place];
    const done = pictures.filter(({ id }) => decided.has(id)).length;
    tab.lastChild.textContent = ` ${done.toLocaleString("en")} / ${pictures.length.toLocaleString("en")}`;
    tab.setAttribute("aria-pressed", String(told.kinds[place] === kind));
  }
}

function list() {
  const only = $("undecided").checked;
  shown = kind.pictures.filter(({ id }) => !only || !decided.has(id));
  cards = [];
  $("cards").replaceChildren();
  $("says").textContent = `${kind.says}.${
    kind.more ? ` The ${count(kind.pictures.length, "worst picture")} of ${kind.more + kind.pictures.length}.` : ""
  }`;
  $("none").hidden = shown.length > 0;
  more();
  progress();
}

function more() {
  const added = shown.slice(cards.length, cards.length + AT_ONCE).map(makeCard);
  cards.push(...added);
  $("cards").append(...added);
  if (cards.length) current().tabIndex = 0;
  $("more").hidden = cards.length >= shown.length;
  $("more").textContent = `${(shown.length - cards.length).toLocaleString("en")} more`;
}

// --- the keyboard ---------------------------------------------------------------------------

const current = () => cards.find((card) => card.tabIndex === 0) ?? cards[0];

function go(card) {
  current().tabIndex = -1;
  card.tabIndex = 0;
  card.focus();
  card.scrollIntoView({ block: "nearest" });
}

function step(card, by) {
  const place = cards.indexOf(card) + by;
  if (place >= cards.length) more();
  go(cards[Math.max(0, Math.min(place, cards.length - 1))]);
}

const wide = () => cards.filter((card) => card.offsetTop === cards[0].offsetTop).length;

function press(event) {
  const { key: pressed, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const itsOwn = pressed === "Enter" || pressed === " ";
  if (target.closest("select") || (itsOwn && target.closest("button, input"))) return;
  const key = pressed.toLowerCase();
  if (key === "u" && !event.repeat) undo();
  if (key === "u" || !cards.length) return;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -wide(), ArrowDown: wide() };
  const card = target.closest("#cards li") ?? current();
  const picture = shown[cards.indexOf(card)];
  const { label } = rows.get(picture.id);
  let what;
  if (pressed in steps) {
    event.preventDefault();
    step(card, steps[pressed]);
    return;
  }
  if (event.repeat) return;
  if (key === "enter") what = picture.rather;
  else if (key === "k" && label) what = KEEP;
  else if (key === "x") what = DROP;
  else if (key === "a" && picture.like) what = APART;
  else if (/^[1-8]$/.test(key)) what = told.emotions[key - 1];
  if (!what) return;
  event.preventDefault();
  decide(card, what);
  step(card, 1);
}

// --- begin ----------------------------------------------------------------------------------

recall();
for (const each of told.kinds) {
  const tab = element("button", "", each.title);
  tab.type = "button";
  tab.append(element("span", "muted"));
  tab.addEventListener("click", () => {
    kind = each;
    list();
    if (cards.length) go(cards[0]); // for the keys
  });
  $("kinds").append(tab);
}
$("cards").addEventListener("click", (event) => {
  const card = event.target.closest("li");
  const pressed = event.target.closest("button");
  if (pressed) {
    const { what } = pressed.dataset;
    decide(card, decided.get(card.dataset.id)?.decision === what ? undefined : what);
  }
  // So that keys go on from where the mouse was; a click of the keyboard has no detail.
  if (card && event.detail > 0 && !event.target.closest("select")) go(card);
});
let typed = false; // whether keys are what changes a list of emotions
for (const kind of ["keydown", "pointerdown"]) {
  $("cards").addEventListener(kind, () => {
    typed = kind === "keydown";
  });
}
$("cards").addEventListener("change", ({ target }) => {
  const card = target.closest("li");
  decide(card, target.value);
  // Within the list arrows would change it again, which only who walks it by keys means.
  if (!typed) go(card);
});
$("undecided").addEventListener("change", list);
$("more").addEventListener("click", more);
$("undo").addEventListener("click", undo);
$("save").addEventListener("click", save);
$("open").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) open(file);
  event.target.value = "";
});
document.addEventListener("keydown", press);
window.addEventListener("storage", ({ key }) => {
  if (key !== KEY) return; // this page in another window
  recall();
  cards.forEach(dress);
  progress();
});
if (kind) list();
