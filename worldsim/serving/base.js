// What pages of worldsim share: finding elements, asking the program, saying how it goes.

export const at = (id) => document.getElementById(id);

// Make an element. `children` may be texts, which stay texts.
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// The program behind the page. `gone` is said when it does not answer; of the statuses in `spoken` its own line is said.
export class Program {
  constructor(gone, spoken) {
    [this.gone, this.spoken, this.csrf] = [gone, spoken, ""];
  }

  async ask(path, body) {
    const headers = { "content-type": "application/json", "x-csrf-token": this.csrf };
    let response;
    try {
      response = await fetch(path, body === undefined ? {} : { method: "POST", headers, body: JSON.stringify(body) });
    } catch {
      throw new Error(this.gone);
    }
    if (response.ok) return response.json();
    const said = this.spoken.includes(response.status) ? (await response.json()).detail : `The program refused this (${response.status}).`;
    throw Object.assign(new Error(said), { status: response.status });
  }
}

// The line of status; `bad` marks what went wrong.
export function say(text, bad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", bad);
}

// What was pressed with a pointer lets go of the focus, or the next Space would press it again
export const letGo = () =>
  document.addEventListener("pointerup", (event) => setTimeout(() => event.target.closest("button, input")?.blur()));
