// The page: shows what bpnet answers, and asks it. Nothing of the net is computed here.
import { drawCurve, drawNet, nameOf, short } from "./draw.js";
import { connect } from "./bridge.js";
import { words } from "./words.js";

const at = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const session = [...crypto.getRandomValues(new Uint32Array(4))].map((n) => n.toString(36)).join("");
const PHASES = ["forward", "loss", "backward", "update"],
  CELLS = 12;
const NAME = /^(new\.)?(\w+)(?:\[(\d+)\])?(?:\[([\d, ]+)\])?$/;
const TEMPLATE = `import numpy as np

# E is the half squared error, its mean over the samples (rows of x and y).
options = dict(depth=3, activation="sigmoid", loss="half_squared_error")

def sigmoid(z):
    return 1 / (1 + np.exp(-z))

def forward(W, b, x):
    a2 = sigmoid(x @ W[0].T + b[0])
    a3 = sigmoid(a2 @ W[1].T + b[1])
    return a3, (x, a2, a3)

def backward(W, b, cache, y):
    x, a2, a3 = cache
    delta3 = (a3 - y) * a3 * (1 - a3) / len(x)
    delta2 = delta3 @ W[1]
    dW = [delta2.T @ x, delta3.T @ a2]
    db = [delta2.sum(axis=0), delta3.sum(axis=0)]
    return dW, db
`;

let view = null,
  language = "en",
  sample = 0,
  trail = [],
  picked = "",
  riddles = [];
let stopping = false,
  playing = false,
  training = false,
  queue = Promise.resolve(),
  regionsAt = 0;
const t = (key, fields) => words(language, key, fields);
const tell = (text, bad = false) => {
  at("status").textContent = text;
  at("status").classList.toggle("bad", bad);
};
const bridge = connect((text) => tell(text));

function ask(request) {
  const reply = queue
    .then(() => bridge({ session, language, sample, ...request }))
    .catch(() => ({ error: t("ended") }));
  queue = reply;
  return reply;
}

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const math = (inner) => {
  const node = element("span");
  node.innerHTML = `<math>${inner}</math>`;
  return node.firstChild;
};

// What changes the state: shown when it is done, else a line that says why not.
async function change(request, { quiet = false } = {}) {
  const reply = await ask(request);
  if (reply.error) {
    tell(reply.error, true);
    return null;
  }
  view = reply;
  if (!quiet) tell(t("done", { steps: view.steps.toLocaleString(), E: view.E.toPrecision(9) }));
  render(quiet);
  return reply;
}

const rowOf = () => (view.rows[1] - view.rows[0] > 1 ? [view.sample - view.rows[0]] : []);

function say(kind, { l, i, j, w, a, delta }) {
  if (kind === "weight") return t("weight", { l, i: i + 1, j: j + 1, w });
  const head = t(l === 1 ? "input" : "neuron", { l, i: i + 1 });
  return [head, a && `a = ${a}`, delta && `δ = ${delta}`].filter(Boolean).join(", ");
}

function render(light = false) {
  const held = document.activeElement?.closest?.("#diagram [data-name]")?.dataset.name;
  drawNet(at("diagram"), view, { row: rowOf(), picked, label: say });
  at("diagram").classList.toggle("large", view.sizes.length > 4);
  const spots = all("#diagram [data-name]");
  const stop =
    spots.find((spot) => spot.dataset.name === (held || picked)) ||
    spots.find((spot) => spot.matches(".neuron"));
  stop.setAttribute("tabindex", 0);
  if (held) stop.focus();
  const [first, last] = view.curve.length
    ? [view.curve[0], view.curve[view.curve.length - 1]]
    : [
        [0, 0],
        [0, 0],
      ];
  drawCurve(at("curve"), view, { label: t("curvesay", { first: short(first[1]), E: short(last[1]) }) });
  at("printed").hidden = !view.marks.length;
  const [from, to] = view.rows,
    rows = to - from > 1 ? `${from + 1}–${to}` : `${to}`;
  at("readout").textContent =
    view.phase < 2 && !view.steps
      ? t("waiting", { steps: 0 })
      : t("readout", {
          steps: view.steps.toLocaleString(),
          E: last[1].toPrecision(9),
          rows,
          m: view.data.x.length,
        });
  all("[data-go]").forEach((button) =>
    button.setAttribute("aria-pressed", view.phase >= 1 + PHASES.indexOf(button.dataset.go)),
  );
  at("back").disabled = !view.back;
  at("plane").hidden = !plane();
  if (!light || performance.now() - regionsAt > 400) regions();
  if (light) return;
  fields();
  if (trail.length) point(trail[trail.length - 1], trail);
  else at("entries").replaceChildren(element("p", { className: "hint" }, t("nothing")));
}

// Fields: what is written goes to bpnet, and what it says against it stands beside the field.
function line(input) {
  const field = input.dataset.field,
    id = `error-${field}`;
  let error = at(id);
  if (!error) {
    error = element("p", { id, className: "error", role: "alert" });
    input.after(error);
    input.setAttribute("aria-describedby", id);
  }
  return error;
}

function fill(input, value) {
  line(input).textContent = "";
  input.removeAttribute("aria-invalid");
  input.value = value;
}

async function edit(input) {
  const reply = await ask({ do: "set", field: input.dataset.field, value: input.value });
  if (!reply.error) {
    view = reply;
    tell("");
    render();
    return;
  }
  line(input).textContent = reply.error;
  input.setAttribute("aria-invalid", "true");
}

function options(select, names) {
  if (select.options.length !== names.length)
    select.replaceChildren(...names.map((name) => new Option(name, name)));
}

function csv({ x, y }) {
  const head = [...x[0].map((_, i) => `x${i + 1}`), ...y[0].map((_, i) => `y${i + 1}`)];
  return [head, ...x.map((row, k) => [...row, ...y[k]])].map((row) => row.join(", ")).join("\n");
}

function cell(field, value, text) {
  return element(
    "td",
    {},
    element("input", { "data-field": field, value, inputMode: "decimal", "aria-label": text }),
  );
}

function fields() {
  const { x, y } = view.data,
    layers = at("activations");
  options(document.querySelector("[data-field=loss]"), view.choices.loss);
  options(document.querySelector("[data-field=optimizer]"), view.choices.optimizer);
  if (layers.children.length !== view.activation.length || layers.lang !== language) {
    layers.lang = language;
    layers.replaceChildren(
      ...view.activation.map((_, k) =>
        element(
          "label",
          {},
          element("span", {}, t(k + 1 < view.activation.length ? "layer" : "outputlayer", { l: k + 2 })),
          element("select", { "data-field": `activation.${k + 2}` }),
        ),
      ),
    );
  }
  view.activation.forEach((name, k) => {
    const select = document.querySelector(`[data-field="activation.${k + 2}"]`);
    options(select, view.choices.activation);
    fill(select, name);
  });
  for (const name of ["loss", "optimizer", "rate", "size", "seed"])
    fill(document.querySelector(`[data-field=${name}]`), view[name]);
  fill(document.querySelector("[data-field=sizes]"), view.sizes.join("-"));
  fill(document.querySelector("[data-field=data]"), csv(view.data));
  const held = document.activeElement?.dataset?.field;
  at("samples").replaceChildren(
    ...x.slice(0, CELLS).map((row, k) =>
      element(
        "tr",
        { className: k < view.rows[0] || k >= view.rows[1] ? "out" : "" },
        element(
          "th",
          { scope: "row" },
          element(
            "button",
            {
              "data-sample": k,
              "aria-pressed": String(k === view.sample),
              "aria-label": t("show", { k: k + 1 }),
            },
            `${k + 1}`,
          ),
        ),
        ...row.map((value, i) => cell(`x.${k}.${i}`, value, `x${i + 1}, ${k + 1}`)),
        ...y[k].map((value, i) => cell(`y.${k}.${i}`, value, `y${i + 1}, ${k + 1}`)),
      ),
    ),
  );
  if (x.length > CELLS)
    at("samples").append(element("caption", {}, t("hidden", { count: x.length - CELLS })));
  if (held) document.querySelector(`[data-field="${held}"]`)?.focus();
}

// The worked solution of what is pointed at, and the way that led to it.
async function point(name, way) {
  const reply = await ask({ do: "explain", name });
  const held = at("solution").contains(document.activeElement) ? document.activeElement.dataset : null;
  trail = way;
  picked = PHASES.includes(name) ? "" : spotOf(name);
  all("#diagram [data-name]").forEach((spot) =>
    spot.classList.toggle("picked", spot.dataset.name === picked),
  );
  at("path").replaceChildren(
    ...trail.map((step, k) =>
      element(
        "li",
        {},
        element(
          "button",
          { "data-walk": k, "aria-current": k === trail.length - 1 ? "step" : "false" },
          step,
        ),
      ),
    ),
  );
  if (reply.error) {
    at("entries").replaceChildren(element("p", { className: "error" }, reply.error));
    return;
  }
  at("entries").replaceChildren(...reply.entries.map((entry) => written(entry, name)));
  if (reply.left_out) at("entries").append(element("p", {}, t("more", { count: reply.left_out })));
  editors(picked);
  if (!held || held.name) return;
  const again = held.field && at("edit").querySelector(`[data-field="${held.field}"]`);
  (again || document.querySelector(".entry.asked"))?.focus(); // what had the focus is another now
}

function spotOf(name) {
  const [, , kind = "", l, index = ""] = NAME.exec(name) || [];
  if (!l)
    return kind === "y" || kind === "E"
      ? nameOf("a", view.sizes.length, index ? index.split(", ") : [0], [])
      : "";
  if (kind === "b" || kind === "db") return nameOf("a", l, [index], rowOf());
  return `${kind.endsWith("W") ? "W" : "a"}[${l}][${index}]`;
}

function written(entry, asked) {
  const lines = entry.rows.map((row, k) =>
    element(
      "div",
      { className: "line", tabIndex: 0 },
      math(k ? `<mrow><mo>=</mo>${row}</mrow>` : `<mrow>${entry.symbol}<mo>=</mo>${row}</mrow>`),
    ),
  );
  const node = element(
    "article",
    {
      className: entry.name === asked ? "entry asked" : "entry",
      "data-of": entry.name,
      tabIndex: -1,
      "aria-label": entry.name,
    },
    ...lines,
  );
  if (entry.difference)
    node.append(
      element(
        "div",
        { className: "line difference" },
        `${t("difference")} `,
        math(`<mrow><mo>≈</mo>${entry.difference}</mrow>`),
      ),
    );
  for (const note of entry.notes) {
    node.append(element("p", { className: "hint" }));
    node.lastChild.innerHTML = note;
  }
  node.append(...entry.lines.map((code) => element("code", {}, code)));
  const from = entry.from.map(({ name, symbol, value }) =>
    element(
      "button",
      { "data-from": name },
      element("span", { className: "unseen" }, name),
      math(`<mrow>${symbol}<mo>=</mo>${value}</mrow>`),
    ),
  );
  node.append(
    element("p", { className: "from" }, element("span", {}, t(from.length ? "from" : "given")), ...from),
  );
  return node;
}

function editors(spot) {
  const [, , kind, l, index] = NAME.exec(spot) || [],
    found = [];
  if (!kind) {
    at("edit").replaceChildren();
    return;
  }
  const numbers = index.split(", ").map(Number),
    i = numbers[numbers.length - 1],
    layer = Number(l);
  if (kind === "W") found.push([`W.${l}.${numbers.join(".")}`, spot, view.W[l][numbers[0]][numbers[1]]]);
  else if (layer === 1) found.push([`x.${view.sample}.${i}`, `x${i + 1}`, view.data.x[view.sample][i]]);
  else found.push([`b.${l}.${i}`, `b[${l}][${i}]`, view.b[l][i]]);
  if (kind !== "W" && layer === view.sizes.length)
    found.push([`y.${view.sample}.${i}`, `y${i + 1}`, view.data.y[view.sample][i]]);
  at("edit").replaceChildren(
    ...found.map(([field, name, value]) =>
      element(
        "label",
        {},
        element("span", {}, t("value of", { name })),
        element("input", { "data-field": field, value, inputMode: "decimal" }),
      ),
    ),
  );
}

const plane = () => view.sizes[0] === 2 && view.data.x.length > 1;

async function regions() {
  if (!plane()) return;
  regionsAt = performance.now();
  const { count, ends, values, error } = await ask({ do: "regions" });
  if (error) return;
  const canvas = at("regions"),
    ink = canvas.getContext("2d"),
    size = canvas.width / count;
  values.forEach((value, k) => {
    ink.fillStyle = `rgb(${[230, 126, 34].map((low, c) => low + value * ([52, 120, 219][c] - low)).join(" ")})`;
    ink.fillRect((k % count) * size, canvas.height - (Math.floor(k / count) + 1) * size, size + 1, size + 1);
  });
  const place = (value, [from, to]) => ((value - from) / (to - from)) * canvas.width;
  view.data.x.forEach(([x1, x2], k) => {
    ink.beginPath();
    ink.arc(place(x1, ends[0]), canvas.height - place(x2, ends[1]), 6, 0, 7);
    ink.fillStyle = view.data.y[k][0] > 0.5 ? "#0b2f66" : "#6b2b00";
    ink.strokeStyle = "#ffffff";
    ink.lineWidth = 2;
    ink.fill();
    ink.stroke();
  });
}

// Training in slices, so that it shows how far it is and can be stopped.
async function train(count, more = false) {
  if (training) return;
  training = true;
  stopping = false;
  at("stop").disabled = false;
  let left = count;
  at("progress").hidden = count < 100;
  while (left > 0 && !stopping) {
    const reply = await change({ do: "run", count: left, more }, { quiet: true });
    if (!reply) break;
    more = true;
    left -= reply.did;
    at("progress").value = 1 - left / count;
    await new Promise(requestAnimationFrame);
  }
  training = false;
  at("stop").disabled = true;
  at("progress").hidden = true;
  if (left < count)
    tell(t(left ? "stopped" : "done", { steps: view.steps.toLocaleString(), E: view.E.toPrecision(9) }));
  render();
  return left;
}

async function play() {
  playing = !playing;
  at("play").textContent = t(playing ? "pause" : "play");
  for (let more = false; playing; more = true) {
    const reply = await change({ do: "run", count: 1, more }, { quiet: true });
    if (!reply) break;
    await new Promise((done) => setTimeout(done, 60));
  }
  playing = false;
  at("play").textContent = t("play");
  render();
}

async function riddle() {
  riddles = (await ask({ do: "riddle" })).losses || [];
  at("riddle").replaceChildren(
    ...riddles.map(({ loss, done }, k) =>
      element(
        "button",
        { role: "radio", "aria-checked": "false", tabIndex: k ? -1 : 0, "data-riddle": done },
        loss,
      ),
    ),
  );
  at("answer").replaceChildren();
}

function solve(done) {
  const { right, verdict, words: said, code } = riddles.find((one) => one.done === done);
  all("[data-riddle]").forEach((button) => {
    button.setAttribute("aria-checked", button.dataset.riddle === done);
    button.tabIndex = button.dataset.riddle === done ? 0 : -1;
  });
  const text = element("span");
  text.innerHTML = said;
  at("answer").replaceChildren(
    element("p", {}, element("strong", { className: right ? "right" : "wrong" }, verdict), ": ", text),
    element("pre", { tabIndex: 0 }, code),
  );
}

async function judge() {
  const box = at("verdict");
  box.hidden = false;
  box.className = "";
  box.textContent = t("judging");
  at("judge").disabled = true;
  const reply = await bridge({ do: "own", code: at("code").value }).catch(() => ({ own: t("ended") }));
  at("judge").disabled = false;
  box.className = reply.ok ? "right" : "wrong";
  box.textContent = [reply.printed, reply.own || reply.error].filter(Boolean).join("\n");
}

function download(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
  tell(t("saved", { name }));
}

async function take(what) {
  const { text, error } = await ask({ do: "take", what });
  if (error) {
    tell(error, true);
    return;
  }
  if (what === "film") {
    download("film.html", text, "text/html");
    return;
  }
  if (what === "json") {
    download("net.json", text, "application/json");
    return;
  }
  if (what === "link") history.replaceState(null, "", `#${text}`);
  at("taken").hidden = false;
  at("takentitle").textContent = what === "link" ? t("linked") : "Python";
  at("text").value = what === "link" ? location.href : text;
  at("text").select();
}

async function open(request) {
  trail = [];
  sample = 0;
  at("edit").replaceChildren();
  at("path").replaceChildren();
  picked = "";
  const reply = await change(request);
  if (reply?.todo) await train(reply.todo, true);
  return reply;
}

async function speak(chosen) {
  language = chosen;
  document.documentElement.lang = chosen;
  tell("");
  at("language").value = chosen;
  all("[data-t]").forEach((node) => {
    node.textContent = t(node.dataset.t);
  });
  all("[data-a]").forEach((node) => node.setAttribute("aria-label", t(node.dataset.a)));
  await riddle();
  if (view) render();
}

// Arrows go through the layers and their neurons, w through the weights that lead to a neuron.
function walk(event) {
  const spot = event.target.closest("#diagram [data-name]");
  if (!spot) return;
  const [, , kind, l, index] = NAME.exec(spot.dataset.name),
    numbers = index.split(", ").map(Number);
  let layer = Number(l),
    i = kind === "W" ? numbers[0] : numbers[numbers.length - 1],
    name = null;
  const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    point(spot.dataset.name, [spot.dataset.name]);
    return;
  }
  if (event.key === "w" && layer > 1)
    name = nameOf("W", layer, [i, kind === "W" ? (numbers[1] + 1) % view.sizes[layer - 2] : 0], []);
  if (move) {
    layer = Math.min(Math.max(layer + move[0], 1), view.sizes.length);
    i = Math.min(Math.max(i + move[1], 0), view.sizes[layer - 1] - 1);
    name = nameOf("a", layer, [i], rowOf());
  }
  if (!name) return;
  event.preventDefault();
  const next = all("#diagram [data-name]").find((other) => other.dataset.name === name);
  spot.setAttribute("tabindex", -1);
  next.setAttribute("tabindex", 0);
  next.focus();
  point(name, [name]);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button, [data-name]");
  if (!button) return;
  const { name, from, walk: step, preset, go, run, sample: row, riddle: done, take: what } = button.dataset;
  if (name) point(name, [name]);
  if (from) point(from, [...trail, from]);
  if (step) point(trail[step], trail.slice(0, Number(step) + 1));
  if (preset) open({ do: "open", name: preset });
  if (go) change({ do: "go", to: go });
  if (run) train(Number(run));
  if (row) {
    sample = Number(row);
    trail = [];
    ask({ do: "view" }).then((reply) => {
      if (!reply.error) {
        view = reply;
        render();
      }
    });
  }
  if (done) solve(done);
  if (what) take(what);
});
document.addEventListener("change", (event) => {
  if (event.target.dataset.field) edit(event.target);
  if (event.target === at("language")) speak(event.target.value);
});
at("diagram").addEventListener("keydown", walk);
at("riddle").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const buttons = all("[data-riddle]"),
    k = (buttons.indexOf(event.target) + step + buttons.length) % buttons.length;
  solve(buttons[k].dataset.riddle);
  buttons[k].focus();
});
at("play").addEventListener("click", play);
at("stop").addEventListener("click", () => {
  stopping = true;
  playing = false;
});
at("back").addEventListener("click", () => change({ do: "back" }));
at("reset").addEventListener("click", () => change({ do: "reset" }));
at("judge").addEventListener("click", judge);
at("template").addEventListener("click", () => {
  at("code").value = TEMPLATE;
});

at("code").value = TEMPLATE;
const link = location.hash.slice(1);
speak(navigator.language.startsWith("zh") ? "zh" : "en");
(link
  ? open({ do: "open", link }).then((reply) => reply || open({ do: "open" }))
  : open({ do: "open" })
).then(() => {
  document.documentElement.dataset.ready = "yes";
});
