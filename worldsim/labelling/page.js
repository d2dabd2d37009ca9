// The label page: asks the server for a clip, shows it, sends the answer, and goes on. All text from the run is set as text, never as HTML.

import { at, letGo, make, Program, say } from "/base.js";
import { Player, SPEEDS } from "/player.js";

const WORDS = { y: "Success", n: "Failure", u: "Cannot tell" };
const GONE = "The program has ended or cannot be reached. What you labelled is saved; type the same command to go on.";
const program = new Program(GONE, [410, 507]);

for (const speed of SPEEDS) {
  const button = make("button", { type: "button", value: String(speed) }, `${speed}×`);
  button.setAttribute("aria-label", `Speed ${speed} times`);
  at("speeds").append(button);
}

const names = ["clip", "reference", "beside", "first", "last", "play", "seek", "loop", "speeds", "screens"];
const player = new Player({ ...Object.fromEntries(names.map((name) => [name, at(name)])), caption: at("clip-caption") });

let state = null; // what the server said last: card, last, done, total, counts
let busy = true; // an answer is on its way or a clip is being loaded; keys are ignored, so that no clip is judged unseen

// One step of work: nothing else is done until it is over, and what goes wrong is said.
async function step(work) {
  if (busy) return;
  busy = true;
  try {
    await work();
  } catch (error) {
    say(error.message, true);
  } finally {
    busy = false;
    document.body.dataset.ready = String(state && state.card ? `${state.card.id} ${state.card.label ?? ""}` : "end");
  }
}

async function show(next) {
  delete document.body.dataset.ready;
  state = next;
  at("progress").max = state.total;
  at("progress").value = state.done;
  at("count").textContent = `${state.done} of ${state.total} labelled`;
  at("work").hidden = !state.card;
  at("end").hidden = Boolean(state.card);
  at("keys").hidden = !state.card;
  if (!state.card) return showEnd();
  const { instruction, place, before, label } = state.card;
  at("instruction").textContent = instruction;
  at("back").disabled = !before;
  at("on").hidden = !label;
  for (const answer of Object.keys(WORDS)) at(`answer-${answer}`).setAttribute("aria-pressed", String(label === answer));
  say(`Clip ${place} of ${state.total}. ${label ? `You said: ${WORDS[label]}. Answer again to change it.` : ""}`);
  await player.show(state.card);
}

function showEnd() {
  player.stop();
  say("");
  const rows = Object.entries(state.counts).map(([answer, count]) => {
    return make("tr", {}, make("td", {}, WORDS[answer]), make("td", {}, String(count)));
  });
  at("counts").replaceChildren(...rows);
  at("end-title").focus();
}

const answer = (said) =>
  step(async () => {
    if (!state.card || !player.ready) return;
    const { id } = state.card;
    await show(await program.ask("/api/label", { card: id, answer: said, seconds: player.seconds(), replays: player.replays }));
  });

const back = () =>
  step(async () => {
    const before = state.card ? state.card.before : state.last;
    if (before) await show(await program.ask(`/api/card/${before}`));
  });

const goOn = () => step(async () => state.card?.label && show(await program.ask("/api/card")));

const finish = () =>
  step(async () => {
    await program.ask("/api/finish", {});
    at("end").hidden = true;
    at("over").hidden = false;
    document.body.dataset.over = "true";
  });

const KEYS = {
  y: () => answer("y"),
  n: () => answer("n"),
  u: () => answer("u"),
  b: back,
  Backspace: back,
  Enter: goOn,
  " ": () => player.toggle(),
  l: () => player.setLoop(!player.looping),
  ...Object.fromEntries(SPEEDS.map((speed, place) => [String(place + 1), () => player.setSpeed(speed)])),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || document.body.dataset.over) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  // Space and Enter press whatever was reached with the Tab key, as everywhere
  const pressed = [" ", "Enter"].includes(key) && event.target.closest("button, summary, input");
  if (!(key in KEYS) || (pressed && event.target.matches(":focus-visible"))) return;
  event.preventDefault();
  if (!event.repeat) KEYS[key]();
});

letGo();
for (const said of Object.keys(WORDS)) at(`answer-${said}`).addEventListener("click", () => answer(said));
at("back").addEventListener("click", back);
at("back-end").addEventListener("click", back);
at("on").addEventListener("click", goOn);
at("finish").addEventListener("click", finish);
at("play").addEventListener("click", () => player.toggle());
at("loop").addEventListener("click", () => player.setLoop(!player.looping));
at("speeds").addEventListener("click", (event) => event.target.value && player.setSpeed(Number(event.target.value)));

busy = false;
step(async () => {
  const about = await program.ask("/api/sitting");
  program.csrf = about.csrf;
  at("rater").textContent = `· rater ${about.rater}`;
  at("rule").textContent = about.rule;
  at("rubric").textContent = about.rubric;
  at("rubric-box").hidden = !about.rubric;
  at("rubric-box").open = Boolean(about.rubric) && about.rubric.length < 400 && innerWidth > 640;
  await show(await program.ask("/api/card"));
});
