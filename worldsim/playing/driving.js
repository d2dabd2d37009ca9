// What a person presses, from keys, buttons of the page, the mouse and a gamepad, as the command of one step. Knows no game.

import { make } from "/base.js";

// Two keys for each component, by their place on the keyboard: less, more
const PAIRS = [
  ["ArrowLeft", "ArrowRight"], ["ArrowDown", "ArrowUp"], ["KeyS", "KeyW"], ["KeyA", "KeyD"], ["KeyQ", "KeyE"],
  ["KeyF", "KeyR"], ["KeyG", "KeyT"], ["KeyH", "KeyY"], ["KeyJ", "KeyU"],
];
const PRESSES = {
  w: "KeyW", a: "KeyA", s: "KeyS", d: "KeyD", space: "Space", ctrl: "KeyC", shift: "ShiftLeft", 1: "Digit1", 2: "Digit2", 3: "Digit3", r: "KeyR",
};
const CLICKS = { left: "KeyF", right: "KeyG" };
const LOOKS = {
  ArrowLeft: ["look left", [-1, 0]], ArrowRight: ["look right", [1, 0]], ArrowUp: ["look up", [0, -1]], ArrowDown: ["look down", [0, 1]],
};
const LOOK = 60; // pixels of the recording that a look takes in one step at full force
const STICKS = [[0, 1], [1, -1], [3, -1], [2, 1]]; // of a standard gamepad: axis and the sign that means more
const BUTTONS = { 0: "space", 1: "ctrl", 2: "r", 4: "1", 5: "2", 10: "shift" };
const TRIGGERS = { 7: "left", 6: "right" };
const DEAD = 0.15;
const MOST_TAPS = 100; // that wait for a slow world

function keyName(code) {
  const arrows = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", ShiftLeft: "Shift", Space: "Space" };
  return arrows[code] ?? code.replace(/^(Key|Digit)/, "").toLowerCase();
}

// A control is what one key or button does; it has a `name`, a `code` (or none) and a `button` on the page.
export class Driver {
  constructor(about, picture, wake) {
    [this.about, this.wake] = [about, wake];
    [this.held, this.taps, this.mouse, this.force] = [new Set(), [], [0, 0], 1];
    this.places = new Map(); // where components that stay where they were pushed are
    this.controls = about.kind === "presses" ? presses(about) : components(about);
    this.byCode = new Map(this.controls.filter((each) => each.code).map((each) => [each.code, each]));
    for (const control of this.controls) this.#bind(control);
    if (about.kind === "presses") this.#follow(picture);
    this.pad = setInterval(() => this.#gamepad().length && this.wake(), 50);
  }

  // Whether a key is one of the controls; presses it then.
  keyDown(code, repeat) {
    const control = this.byCode.get(code);
    if (control && !repeat) this.press(control);
    return Boolean(control);
  }

  keyUp(code) {
    const control = this.byCode.get(code);
    if (control) this.release(control);
  }

  // A press counts for one step at least, however short it is; keys that are down together count for the same one.
  press(control) {
    const last = this.taps.at(-1);
    const together = last && !last.has(control) && [...last].every((each) => this.held.has(each));
    if (together) last.add(control);
    else if (this.taps.length < MOST_TAPS) this.taps.push(new Set([control]));
    this.held.add(control);
    control.button.classList.add("down");
    this.wake();
  }

  release(control) {
    this.held.delete(control);
    control.button.classList.remove("down");
  }

  letGo() {
    for (const control of [...this.held]) this.release(control);
    [this.taps, this.mouse] = [[], [0, 0]];
  }

  get waiting() {
    return this.taps.length > 0;
  }

  get active() {
    return this.held.size > 0 || this.waiting || this.mouse.some(Boolean) || this.#gamepad().length > 0;
  }

  // The command of the next step; what was only tapped is used up.
  take() {
    const tapped = this.taps.shift() ?? [];
    const now = new Set([...[...this.held].filter((each) => !this.taps.some((later) => later.has(each))), ...tapped]);
    const command = this.about.kind === "presses" ? this.#presses(now) : this.#components(now);
    this.mouse = [0, 0];
    return command;
  }

  #bind(control) {
    const down = (event) => {
      event.preventDefault();
      control.button.setPointerCapture?.(event.pointerId);
      this.press(control);
    };
    control.button.addEventListener("pointerdown", down);
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) control.button.addEventListener(end, () => this.release(control));
    control.button.addEventListener("contextmenu", (event) => event.preventDefault());
    control.button.addEventListener("click", (event) => event.detail === 0 && (this.press(control), this.release(control))); // by keyboard
  }

  // Dragging over the picture moves the mouse of the world.
  #follow(picture) {
    picture.addEventListener("pointerdown", (event) => picture.setPointerCapture(event.pointerId));
    picture.addEventListener("pointermove", (event) => {
      if (!event.buttons) return;
      this.mouse = [this.mouse[0] + event.movementX, this.mouse[1] + event.movementY];
      this.wake();
    });
  }

  #components(now) {
    const push = {};
    for (const axis of this.about.axes) if (axis.held) push[axis.name] = this.places.get(axis.name) ?? (axis.rest === axis.high ? 1 : -1);
    for (const { axis, sign } of now) push[axis.name] = axis.held ? sign : (push[axis.name] ?? 0) + sign * this.force;
    for (const [place, value] of this.#gamepad()) {
      const axis = this.about.axes[place];
      if (axis && !axis.held) push[axis.name] = value * this.force;
    }
    for (const [name, value] of Object.entries(push)) push[name] = Math.max(-1, Math.min(1, value));
    for (const axis of this.about.axes) if (axis.held) this.places.set(axis.name, push[axis.name]);
    return { push };
  }

  #presses(now) {
    const of = (kind) => [...new Set([...now].filter((each) => each.kind === kind).map((each) => each.value))];
    let [keys, clicks, [x, y]] = [of("key"), of("click"), this.mouse];
    for (const { value } of [...now].filter((each) => each.kind === "look")) [x, y] = [x + value[0] * LOOK * this.force, y + value[1] * LOOK * this.force];
    for (const [place, value] of this.#gamepad()) {
      if (place === 0) keys.push(value > 0 ? "d" : "a");
      if (place === 1) keys.push(value > 0 ? "w" : "s");
      if (place === 3) x += value * LOOK * this.force;
      if (place === 2) y -= value * LOOK * this.force;
      if (typeof place === "string") (Object.values(TRIGGERS).includes(place) ? clicks : keys).push(place);
    }
    return { keys: [...new Set(keys)], clicks: [...new Set(clicks)], mouse_x: x, mouse_y: y };
  }

  // What is pushed on the first gamepad: [component, from -1 to 1], and buttons by name where the world has them.
  #gamepad() {
    const pad = [...(navigator.getGamepads?.() ?? [])].find(Boolean);
    if (!pad) return [];
    const found = STICKS.map(([axis, sign], place) => [place, sign * (pad.axes[axis] ?? 0)]).filter(([, value]) => Math.abs(value) > DEAD);
    if (this.about.kind !== "presses") return found;
    const names = Object.entries({ ...BUTTONS, ...TRIGGERS }).filter(([place]) => pad.buttons[place]?.pressed);
    return [...found, ...names.map(([, name]) => [name, 1])];
  }
}

function button(text, code, name) {
  const keys = code ? [" ", make("kbd", {}, keyName(code))] : [];
  const element = make("button", { type: "button", className: "push" }, text, ...keys);
  element.setAttribute("aria-label", name);
  return element;
}

function components(about) {
  return about.axes.flatMap((axis, place) =>
    [-1, 1].map((sign) => {
      const code = PAIRS[place]?.[sign > 0 ? 1 : 0];
      const name = `${axis.name} ${sign > 0 ? "more" : "less"}`;
      return { axis, sign, code, name, button: button(sign > 0 ? "+" : "−", code, name) };
    }),
  );
}

function presses(about) {
  const keys = about.keys.map((key) => ({ kind: "key", value: key, code: PRESSES[key], name: key, shown: key === "ctrl" ? "crouch" : key }));
  const clicks = about.clicks.map((click) => ({ kind: "click", value: click, code: CLICKS[click], name: `${click} button`, shown: `${click} click` }));
  const looks = Object.entries(LOOKS).map(([code, [name, value]]) => ({ kind: "look", value, code, name, shown: keyName(code) }));
  return [...keys, ...clicks, ...looks].map((each) => {
    const own = each.code && each.shown === keyName(each.code).toLowerCase();
    return { ...each, own, button: button(each.shown, own ? null : each.code, each.name) };
  });
}

// What the keys do, as rows of [names of keys, words].
export function keyRows(driver) {
  const named = (controls) => controls.filter((each) => each.code).map((each) => keyName(each.code));
  const rows =
    driver.about.kind === "presses"
      ? [
          [named(driver.controls.filter((each) => each.own && each.kind === "key")), "as in the game"],
          ...driver.controls.filter((each) => !each.own).map((each) => [named([each]), each.shown]),
          [Object.keys(LOOKS).map(keyName), "look around; or drag the picture"],
        ]
      : driver.about.axes.map((axis, place) => [named(driver.controls.slice(2 * place, 2 * place + 2)), `${axis.name}: less, more`]);
  return rows.filter(([keys]) => keys.length);
}

// The controls on the page, which also show the action that was taken. Returns what draws an action.
export function lay(driver, names, box) {
  return driver.about.kind === "presses" ? layPresses(driver, names, box) : layComponents(driver, box);
}

function layComponents(driver, box) {
  const rows = driver.about.axes.map((axis, place) => {
    const [less, more] = driver.controls.slice(2 * place, 2 * place + 2);
    const [fill, said] = [make("i"), make("span")];
    const output = make("output", {}, make("span", { className: "bar" }, fill), said);
    box.append(make("div", { className: "axis" }, make("span", { className: "name", title: axis.name }, axis.name), less.button, output, more.button));
    return { axis, fill, said };
  });
  return (action) =>
    rows.forEach(({ axis, fill, said }, place) => {
      const share = (value) => (axis.high > axis.low ? (100 * (value - axis.low)) / (axis.high - axis.low) : 0);
      const [value, from] = [action ? action[place] : axis.rest, share(Math.min(Math.max(0, axis.low), axis.high))];
      fill.style.left = `${Math.min(from, share(value))}%`;
      fill.style.width = `${Math.abs(share(value) - from)}%`;
      said.textContent = action ? value.toFixed(2) : "–";
    });
}

function layPresses(driver, names, box) {
  const way = make("span", { className: "way" });
  const of = (kind) => driver.controls.filter((each) => each.kind === kind).map((each) => each.button);
  const word = (text = "", name = "gap") => make("span", { className: name }, text);
  box.append(make("div", { className: "presses" }, ...of("key"), word(), ...of("click"), word("look", "way"), ...of("look"), way));
  return (action) => {
    const taken = new Set(action ? names.filter((_, place) => action[place] === 1) : []);
    for (const each of driver.controls) {
      if (each.kind !== "look") each.button.setAttribute("aria-pressed", String(taken.has(`${each.kind}_${each.value}`)));
    }
    const moved = (axis) => [...taken].find((name) => name.startsWith(`mouse_${axis}_`))?.split("_")[2] ?? "0";
    way.textContent = `mouse ${moved("x")}, ${moved("y")}`;
  };
}
