// The clip on the screen, alone or with another beside it: play, pause, speed, loop, seek, and how long it was looked at.

export const SPEEDS = [0.5, 1, 2, 4];

export class Player {
  // `parts` holds the elements: clip, reference, beside, caption, first, last, play, seek, loop, speeds, screens.
  constructor(parts) {
    this.parts = parts;
    this.calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.looping = !this.calm;
    this.speed = 1;
    this.ready = false;
    this.replays = 0;
    this.looked = 0;
    this.since = null;
    this.waiting = null;
    parts.clip.addEventListener("ended", () => this.#ended());
    parts.clip.addEventListener("timeupdate", () => this.#moved());
    for (const event of ["play", "pause"]) parts.clip.addEventListener(event, () => this.#drawPlay());
    parts.seek.addEventListener("input", () => this.#seek(Number(parts.seek.value)));
    document.addEventListener("visibilitychange", () => this.#watch(!document.hidden));
    this.setLoop(this.looping);
    this.setSpeed(1);
    this.#drawPlay();
  }

  // Show a card from its beginning. Resolves once its pictures are there; rejects where they cannot be had.
  async show(card) {
    const { clip, reference, beside, caption, first, last, screens } = this.parts;
    this.ready = false;
    this.#watch(false);
    [this.replays, this.looked] = [0, 0];
    beside.hidden = caption.hidden = !card.reference;
    screens.classList.toggle("pair", card.reference);
    first.src = `/clip/${card.id}/first.png`;
    last.src = `/clip/${card.id}/last.png`;
    const loads = [loaded(clip, `/clip/${card.id}.mp4`)];
    if (card.reference) loads.push(loaded(reference, `/reference/${card.id}.mp4`));
    else reference.removeAttribute("src");
    await Promise.all([...loads, first.decode(), last.decode()]);
    this.setSpeed(this.speed);
    this.ready = true;
    this.#watch(!document.hidden);
    this.#moved();
    if (!this.calm) this.play();
  }

  stop() {
    this.#watch(false);
    for (const video of this.#videos()) video.pause();
  }

  toggle() {
    if (this.parts.clip.paused) this.play();
    else for (const video of this.#videos()) video.pause();
  }

  play() {
    if (this.parts.clip.ended) this.#again();
    for (const video of this.#videos()) video.play().catch(() => {});
  }

  setSpeed(speed) {
    this.speed = speed;
    for (const video of [this.parts.clip, this.parts.reference]) video.playbackRate = speed;
    for (const button of this.parts.speeds.children) button.setAttribute("aria-pressed", String(Number(button.value) === speed));
  }

  setLoop(looping) {
    this.looping = looping;
    this.parts.loop.setAttribute("aria-pressed", String(looping));
  }

  // Seconds that this card was on a visible page.
  seconds() {
    return this.looked + (this.since === null ? 0 : (performance.now() - this.since) / 1000);
  }

  #videos() {
    return this.parts.beside.hidden ? [this.parts.clip] : [this.parts.clip, this.parts.reference];
  }

  #ended() {
    if (this.looping) this.play();
    else this.#drawPlay();
  }

  #again() {
    this.replays += 1;
    for (const video of this.#videos()) video.currentTime = 0;
  }

  #seek(share) {
    for (const video of this.#videos()) if (video.duration) video.currentTime = share * video.duration;
  }

  #moved() {
    const { clip, seek } = this.parts;
    const share = clip.duration ? clip.currentTime / clip.duration : 0;
    if (document.activeElement !== seek || !clip.paused) seek.value = String(share);
    seek.setAttribute("aria-valuetext", `${clip.currentTime.toFixed(1)} of ${(clip.duration || 0).toFixed(1)} seconds`);
  }

  #drawPlay() {
    this.parts.play.textContent = this.parts.clip.paused ? "Play" : "Pause";
  }

  #watch(visible) {
    this.looked = this.seconds();
    this.since = visible && this.ready ? performance.now() : null;
  }
}

function loaded(video, address) {
  return new Promise((resolve, reject) => {
    video.onloadeddata = resolve;
    video.onerror = () => reject(new Error("the clip cannot be loaded"));
    video.src = address;
    video.load();
  });
}
