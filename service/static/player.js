// Steps and plays through the times of a forecast.
import { at } from "./page.js";
import { drawLead } from "./screen.js";
import { state } from "./state.js";

const FRAME_MILLISECONDS = 700;
let timer = 0;

/** Show the next time (1) or the one before (-1); after the last comes the first. */
export function step(by) {
  const n = state.grid.times.length;
  state.lead = (state.lead + by + n) % n;
  drawLead();
}

export function pause() {
  clearInterval(timer);
  timer = 0;
  at("play").textContent = "Play";
  at("play").setAttribute("aria-pressed", "false");
}

export function toggle() {
  if (timer) {
    pause();
    return;
  }
  timer = setInterval(() => step(1), FRAME_MILLISECONDS);
  at("play").textContent = "Pause";
  at("play").setAttribute("aria-pressed", "true");
}
