// The page that a world is played on: takes what is pressed, asks for the next frame, shows it. All text of others is set as text.

import { at, letGo, make, Program, say } from "/base.js";
import { Driver, keyRows, lay } from "/driving.js";
import { Strip } from "/strip.js";

const GONE = "The program has ended or cannot be reached. Recordings are on disk; type worldsim play to go on.";
const program = new Program(GONE, [400, 409, 507]);
const RECENT = 2000; // milliseconds over which frames per second are counted

let about, seat, driver, draw;
let here; // the moment that is shown
let running = false; // the world goes on though nothing is pressed
let pilot = ""; // the policy that drives, if any
let busy = false; // a request is on its way
let driving = false; // steps are being taken
const waiting = []; // what is to be done as soon as nobody drives
const shown = []; // when the last frames were shown
const strip = new Strip((moment) => pause(() => show(moment)));

const send = (path, body = {}) => program.ask(path, { seat, ...body });

// One thing at a time; what goes wrong is said, and stops what was going on.
async function work(what) {
  if (busy) return;
  busy = true;
  document.body.dataset.busy = "true";
  try {
    await what();
  } catch (error) {
    [running, pilot] = [false, ""];
    driver?.letGo();
    drawModes();
    if (error.status === 409) [at("play").hidden, at("elsewhere").hidden] = [true, false];
    say(error.status === 409 ? "" : error.message, true);
    at("status").classList.toggle("bad", error.status !== 409);
  } finally {
    busy = false;
    delete document.body.dataset.busy;
  }
}

// Do something else than driving: whoever drives stops first, and nobody drives before all of it is done.
async function pause(what) {
  [running, pilot] = [false, ""];
  driver.letGo();
  drawModes();
  waiting.push(what);
  if (waiting.length > 1) return;
  while (waiting.length) {
    while (busy || driving) await new Promise((resolve) => setTimeout(resolve, 4));
    await work(async () => (say(""), await waiting[0]()));
    waiting.shift();
  }
  wake();
}

async function show(moment) {
  here = moment;
  strip.show(moment.id);
  at("imagined").src = `/imagined/${moment.id}.png`;
  if (about.truth) at("truth").src = `/truth/${moment.id}.png`;
  draw(moment.action);
  const who = !moment.by ? `start ${moment.start}, seed ${moment.seed}` : moment.by === "you" ? "" : `by ${moment.by}`;
  at("imagined-note").textContent = [`step ${moment.step}`, who].filter(Boolean).join(" · ");
  const states = Object.entries(moment.states).map(([name, value]) => `${name} ${value.toFixed(3)}`);
  const apart = moment.apart === null ? [] : [`${moment.apart.toFixed(1)} grey levels away`];
  at("truth-note").textContent = [...apart, ...states].join(" · ");
  at("back").disabled = moment.parent === null;
  if (moment.fault) say(`The world broke: ${moment.fault}. Go back, or take a new start.`, true);
  await Promise.all([at("imagined").decode(), about.truth ? at("truth").decode() : null]);
  document.body.dataset.moment = String(moment.id);
  if (at("unroll").getAttribute("aria-pressed") === "true" && !driver.active && !running && waiting.length < 2) await unroll();
}

function count() {
  const now = performance.now();
  shown.push(now);
  while (now - shown[0] > RECENT) shown.shift();
  const spans = shown.length - 1;
  if (spans > 2) at("rate").textContent = `${((1000 * spans) / (now - shown[0])).toFixed(1)} frames/s`;
}

// Takes steps as long as there is a reason to. The next one is made while the last is still being shown.
async function drive() {
  let showing = null;
  while ((running || driver.active) && !waiting.length && !at("keys").open) {
    const begun = performance.now();
    const handed = pilot && !driver.active;
    if (pilot && !handed) [running, pilot] = [false, ""];
    await work(async () => {
      const moment = await send("/api/step", { at: here.id, ...(handed ? { by: pilot } : driver.take()) });
      await showing;
      strip.add(moment);
      showing = show(moment).then(count);
    });
    drawModes();
    const left = (1000 * Number(at("pace").value)) / about.fps - (performance.now() - begun);
    if (left > 0 && !driver.waiting) await new Promise((resolve) => setTimeout(resolve, left));
    if (here.fault) [running, pilot] = [false, ""];
  }
  await work(() => showing);
  shown.length = 0;
}

async function wake() {
  if (driving || busy || waiting.length || !here || !(running || driver.active)) return;
  driving = true;
  say("");
  try {
    await drive();
  } finally {
    driving = false;
  }
}

function drawModes() {
  at("run").setAttribute("aria-pressed", String(running && !pilot));
  at("hand").setAttribute("aria-pressed", String(Boolean(pilot)));
  at("hand").firstChild.textContent = pilot ? "Take back from " : "Hand over to ";
}

function toggleRun() {
  [running, pilot] = [!running || Boolean(pilot), ""];
  drawModes();
  wake();
}

function toggleHand() {
  if (!about.pilots.length) return;
  pilot = pilot ? "" : at("pilot").value;
  running = Boolean(pilot);
  drawModes();
  wake();
}

function whole(id) {
  const value = at(id).value.trim();
  return /^\d{1,15}$/.test(value) ? Number(value) : null;
}

async function begin(start) {
  const { moment, held } = await send("/api/begin", { start, seed: whole("seed") });
  strip.add(moment);
  strip.keep(held);
  await show(moment);
  nameStart(moment);
}

function nameStart(moment) {
  at("seed").value = moment.seed;
  at("start").value = moment.number;
  at("instruction").textContent = moment.instruction;
}

function tune() {
  const asked = { steps: Number(at("steps").value), guidance: Number(at("guidance").value), history: at("history").value };
  pause(async () => {
    try {
      about.tuning = await send("/api/tune", asked);
      say("From here on frames are drawn so.");
    } finally {
      if (waiting.length < 2) for (const [name, value] of Object.entries(about.tuning)) at(name).value = value;
    }
  });
}

async function record() {
  const { files } = await send("/api/record", { at: here.id });
  say(`Recorded: ${files.join(" and ")}`);
}

async function unroll() {
  const [samples, expected] = (await send("/api/unroll", { at: here.id })).counts;
  const row = (number, count, words) =>
    make("div", { className: "row" }, ...Array.from({ length: count }, (_, place) =>
      make("figure", {}, make("img", { src: `/unrolled/${here.id}/${number}/${place}.png`, alt: words(place) }), make("figcaption", {}, words(place)))));
  const steps = (place) => `after ${place} step${place === 1 ? "" : "s"}`;
  at("unrolled").replaceChildren(
    make("p", {}, `Frame ${here.step} out of noise: what stood there after each denoising step`),
    row(0, samples, (place) => (place ? steps(place) : "noise")),
    make("p", {}, "and the finished frame that the network expected at each"),
    row(1, expected, (place) => `step ${place + 1}`),
  );
}

const toggleUnroll = () =>
  pause(async () => {
    const open = at("unroll").getAttribute("aria-pressed") !== "true";
    if (open) await unroll();
    at("unroll").setAttribute("aria-pressed", String(open));
    at("unrolled").hidden = !open;
    if (open) at("unrolled").scrollIntoView({ block: "nearest" });
  });

const go = (offset) =>
  pause(async () => {
    const moment = offset < 0 ? strip.get(here.parent) : strip.beside(offset);
    if (moment) await show(moment);
  });

const COMMANDS = {
  Enter: [toggleRun, "run on without you, or wait for you"],
  Backspace: [() => go(-1), "back by one frame; act there to branch off"],
  ",": [() => go(-1), "back by one frame"],
  ".": [() => go(1), "forward again"],
  n: [() => pause(() => begin(null)), "the next start of the task"],
  k: [() => pause(record), "record from the start to this frame"],
  m: [toggleHand, "hand over to the policy, or take back"],
  v: [toggleUnroll, "how this frame came out of noise"],
  "?": [() => at("keys").showModal(), "these keys"],
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || !here || at("play").hidden || at("keys").open) return;
  if (event.target.closest("input:not([type=range]), select")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  // Space and Enter press whatever was reached with the Tab key, as everywhere; arrows move what takes arrows
  const reached = event.target.matches(":focus-visible") && event.target.closest("button, input");
  if (reached && [" ", "Enter", ...(event.target.matches("input") ? ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"] : [])].includes(key)) return;
  if (driver.keyDown(event.code, event.repeat)) return event.preventDefault();
  if (!(key in COMMANDS)) return;
  event.preventDefault();
  if (!event.repeat || key in { Backspace: 1, ",": 1, ".": 1 }) COMMANDS[key][0]();
});
document.addEventListener("keyup", (event) => driver?.keyUp(event.code));
for (const event of ["blur", "pagehide"]) addEventListener(event, () => driver?.letGo());
document.addEventListener("visibilitychange", () => document.hidden && ((running = false), (pilot = ""), driver?.letGo(), drawModes()));
letGo();

for (const [id, key] of Object.entries({ run: "Enter", back: "Backspace", new: "n", record: "k", hand: "m", unroll: "v", help: "?" })) {
  at(id).addEventListener("click", () => COMMANDS[key][0]());
}
at("keys-close").addEventListener("click", () => at("keys").close());
at("here").addEventListener("click", () => location.reload());
for (const id of ["steps", "guidance", "history"]) at(id).addEventListener("change", tune);
at("start").addEventListener("change", () => whole("start") !== null && pause(() => begin(whole("start"))));
at("seed").addEventListener("change", () => whole("seed") !== null && pause(() => begin(here.number)));
at("pixels").addEventListener("change", () => document.body.style.setProperty("--pixels", at("pixels").value));
at("force").addEventListener("input", () => {
  driver.force = Number(at("force").value);
  at("force-said").textContent = `${Math.round(100 * driver.force)} %`;
});
for (const id of ["pace", "pixels", "history", "pilot"]) at(id).addEventListener("change", () => at(id).blur());

function setUp() {
  at("title").textContent = `· ${about.title}`;
  at("truth-box").hidden = !about.truth;
  at("screens").classList.toggle("pair", about.truth);
  at("screens").classList.toggle("wide", !about.truth && about.width > 1.3 * about.height);
  at("screens").classList.toggle("look", about.controls.kind === "presses");
  for (const id of ["imagined", "truth"]) at(id).style.aspectRatio = `${about.width} / ${about.height}`;
  at("frames").style.setProperty("--shape", `${about.width} / ${about.height}`);
  at("start").max = about.starts - 1;
  at("tuning").hidden = at("unroll").hidden = !about.tuning;
  at("history").replaceChildren(...about.histories.map((mode) => make("option", { value: mode }, mode)));
  for (const [name, value] of Object.entries(about.tuning ?? {})) at(name).value = value;
  at("pilot-box").hidden = !about.pilots.length;
  at("pilot").replaceChildren(...about.pilots.map((name) => make("option", { value: name }, name)));
  driver = new Driver(about.controls, at("imagined"), wake);
  draw = lay(driver, about.names, at("controls"));
  const row = (keys, words) => make("tr", {}, make("td", {}, ...keys.flatMap((key) => [make("kbd", {}, key), " "])), make("td", {}, words));
  const commands = Object.entries(COMMANDS).map(([key, [, words]]) => [[key], words]);
  at("keys-rows").replaceChildren(...[...keyRows(driver), ...commands].map(([keys, words]) => row(keys, words)));
}

work(async () => {
  program.csrf = (await program.ask("/api/keys")).csrf;
  about = await program.ask("/api/sit", {});
  seat = about.seat;
  setUp();
  for (const moment of about.moments) strip.add(moment);
  at("play").hidden = false;
  const latest = strip.get(about.latest);
  say("");
  await show(latest);
  nameStart(latest);
});
