// The frames of a game as a strip to go back in, and its branches. Knows nothing of how frames are made.

import { at, make } from "/base.js";

export class Strip {
  // `go` is called with a moment that the person wants to be at.
  constructor(go) {
    [this.go, this.moments, this.children, this.line, this.buttons] = [go, new Map(), new Map(), [], []];
    this.current = null;
  }

  add(moment) {
    this.moments.set(moment.id, moment);
    const siblings = this.children.get(moment.parent) ?? [];
    this.children.set(moment.parent, [...siblings, moment.id]);
  }

  // Forget all moments but those that are held.
  keep(held) {
    const known = new Set(held);
    for (const id of this.moments.keys()) if (!known.has(id)) this.moments.delete(id);
    for (const [parent, ids] of this.children) this.children.set(parent, ids.filter((id) => known.has(id)));
  }

  get(id) {
    return this.moments.get(id);
  }

  // The moment before or after the current one on the line that is shown.
  beside(offset) {
    return this.moments.get(this.line[this.line.indexOf(this.current) + offset]);
  }

  // Show a moment as the current one: on the line that is shown where it lies there, else on its own.
  show(id) {
    const last = this.line.at(-1);
    const parent = this.moments.get(id).parent;
    if (!this.line.includes(id)) {
      if (parent !== null && parent === last) this.#append(id);
      else this.#lay(this.#ending(id));
      this.#branches();
    }
    this.current = id;
    this.#mark();
  }

  #ending(id) {
    const line = [];
    for (let each = id; each !== null && each !== undefined; each = this.moments.get(each)?.parent) line.unshift(each);
    return line;
  }

  #lay(line) {
    [this.line, this.buttons] = [[], []];
    at("frames").replaceChildren();
    for (const id of line) this.#append(id);
  }

  #append(id) {
    const moment = this.moments.get(id);
    const picture = make("img", { src: `/imagined/${id}.png`, alt: "", loading: "lazy" });
    const button = make("button", { type: "button", title: this.#words(moment) }, picture, make("span", {}, String(moment.step)));
    button.setAttribute("aria-label", `Frame ${moment.step}`);
    button.addEventListener("click", () => this.go(moment));
    this.line.push(id);
    this.buttons.push(button);
    at("frames").append(button);
  }

  #words(moment) {
    return moment.by ? `frame ${moment.step}, by ${moment.by}` : `start ${moment.start}`;
  }

  #mark() {
    const place = this.line.indexOf(this.current);
    this.buttons.forEach((button, i) => {
      const moment = this.moments.get(this.line[i]);
      button.classList.toggle("ahead", i > place);
      button.classList.toggle("fork", (this.children.get(this.line[i]) ?? []).length > 1);
      button.classList.toggle("policy", Boolean(moment?.by) && moment.by !== "you");
      button.classList.toggle("broken", Boolean(moment?.fault));
      button.setAttribute("aria-current", String(i === place));
    });
    const [box, button] = [at("frames"), this.buttons[place]];
    const [left, right] = [button.offsetLeft - box.offsetLeft, button.offsetLeft - box.offsetLeft + button.offsetWidth];
    if (right > box.scrollLeft + box.clientWidth) box.scrollLeft = right - box.clientWidth + 3;
    else if (left < box.scrollLeft + 3) box.scrollLeft = left - 3;
  }

  #branches() {
    const ends = [...this.moments.keys()].filter((id) => !(this.children.get(id) ?? []).length);
    at("lines").hidden = ends.length < 2;
    const chips = ends.map((id, number) => {
      const moment = this.moments.get(id);
      const chip = make("button", { type: "button", title: `start ${moment.start}, seed ${moment.seed}` }, `${number + 1} · ${moment.step} steps`);
      chip.setAttribute("aria-pressed", String(id === this.line.at(-1)));
      chip.addEventListener("click", () => this.go(moment));
      return chip;
    });
    at("lines").replaceChildren(...chips);
    chips[ends.indexOf(this.line.at(-1))]?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}
