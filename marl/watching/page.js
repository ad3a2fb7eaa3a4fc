"use strict";
// Plays what is in the page: states, actions and rewards of every step, laid out one step after the other.
const film = JSON.parse(document.getElementById("film").textContent);
const kinds = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array, float64: Float64Array };
const decoded = ({ kind, data }) => new kinds[kind](Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer);
const [s, a, r] = [film.s, film.a, film.r].map(decoded);
const { agents, steps, marks, words, stateNames, actionNames, averages } = film;
const n = agents.length;
const [play, back, forward, slider, speed, now, said] = ["play", "back", "forward", "steps", "speed", "now", "said"].map((id) =>
  document.getElementById(id),
);
let source, ring, cursor; // bokeh's
let step = 0;
let picked = -1;
let playing = false;

const largest = r.reduce(([loss, gain], x) => [Math.max(loss, -x), Math.max(gain, x)], [0, 0]);
const shade = (x) => x / (largest[x > 0 ? 1 : 0] || 1); // as reward_shades of marl/plotting.py
const short = (x) => String(Number(x.toPrecision(4)));

function say() {
  const at = step * n + picked;
  const line =
    picked < 0
      ? "click an agent to follow it"
      : `${agents[picked]}: ${words[stateNames[picked][s[at]]]}; ${words[actionNames[picked][a[at]]]}; reward ${short(r[at])}`;
  said.textContent = line; // text, never markup: names come from files
  now.textContent = `step ${step + 1} of ${steps}, average reward so far ${short(averages[step])}`;
}

function show(k) {
  step = Math.min(Math.max(k, 0), steps - 1);
  slider.value = step;
  const [first, end] = [step * n, (step + 1) * n];
  const acts = Array.from(a.subarray(first, end));
  const states = Array.from(s.subarray(first, end), Number);
  const rewards = Array.from(r.subarray(first, end));
  source.data = {
    ...source.data,
    s: states,
    r: rewards,
    shade: rewards.map(shade),
    mark: acts.map((action) => marks[action] ?? marks[0]),
    state: states.map((state, i) => words[stateNames[i][state]]),
    action: acts.map((action, i) => words[actionNames[i][action]]),
  };
  cursor.location = step + 1;
  say();
}

function follow(i) {
  picked = i;
  const { x, y } = source.data;
  ring.data = i < 0 ? { x: [], y: [] } : { x: [x[i]], y: [y[i]] };
  say();
}

function stop() {
  playing = false;
  play.textContent = "Play";
}

async function run() {
  playing = true;
  play.textContent = "Pause";
  if (step === steps - 1) show(0);
  while (playing && step < steps - 1) {
    const begun = performance.now();
    await new Promise(requestAnimationFrame); // what was shown before is drawn
    const rest = 1000 / Number(speed.value) - (performance.now() - begun);
    await new Promise((resolve) => setTimeout(resolve, rest));
    if (playing) show(step + 1);
  }
  stop();
}

function by(count) {
  stop();
  show(step + count);
}

const toggle = () => (playing ? stop() : run());

async function begin() {
  for (const figure of film.figures) await Bokeh.embed.embed_item(figure);
  const found = (name) => Bokeh.documents.map((part) => part.get_model_by_name(name)).find((model) => model !== null);
  [source, ring, cursor] = ["agents", "picked", "cursor"].map(found);
  slider.max = steps - 1;
  source.selected.properties.indices.change.connect(() => follow(source.selected.indices[0] ?? -1));
  play.addEventListener("click", toggle);
  back.addEventListener("click", () => by(-1));
  forward.addEventListener("click", () => by(1));
  slider.addEventListener("input", () => by(Number(slider.value) - step));
  document.addEventListener("keydown", (event) => {
    if (["BUTTON", "SELECT", "INPUT"].includes(event.target.tagName)) return; // they have keys of their own
    const does = { " ": toggle, ArrowLeft: () => by(-1), ArrowRight: () => by(1) }[event.key];
    if (does) {
      event.preventDefault();
      does();
    }
  });
  show(0);
  document.body.dataset.ready = "true";
}
begin();
