// Draws a net and its loss curve; all numbers come from bpnet.
const SVG = "http://www.w3.org/2000/svg";
const UP = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

export function make(parent, tag, attributes = {}, text = "") {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  parent.append(node);
  return node;
}

export function short(value, digits = 4) {
  const size = Math.abs(value);
  if (size && (size < 1e-3 || size >= 1e4))
    return value.toExponential(1).replace("-", "−").replace("e-", "e−");
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}

const tens = (k) => "10" + [...String(k)].map((c) => UP[c]).join("");

// Of several samples in a batch, a neuron's name holds the number of the one that is shown.
export function nameOf(kind, l, index, row) {
  return `${kind}[${l}][${[...row, ...index].join(", ")}]`;
}

export function drawNet(svg, view, { row = [], picked = "", label = null } = {}) {
  const { sizes, W, b, a, delta, y, phase = 4 } = view;
  const widest = Math.max(...sizes),
    small = widest > 4 || sizes.length > 4;
  const room = ((svg.clientWidth || 600) - 150) / (sizes.length - 1); // so that a phone can show it
  const dx = Math.min(Math.max(room, 105), small ? 150 : 210),
    dy = small ? 90 : 104,
    r = small ? 25 : 31;
  const width = (sizes.length - 1) * dx + 150,
    height = widest * dy + 26;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const x = (l) => 45 + (l - 1) * dx;
  const top = (l, i) => height / 2 + (i - (sizes[l - 1] - 1) / 2) * dy;
  const heaviest = Math.max(1, ...Object.values(W).flat(2).map(Math.abs));
  const focusable = (name, text, classes) => ({
    class: `${classes} ${name === picked ? "picked" : ""}`,
    ...(label && { role: "button", tabindex: -1, "data-name": name, "aria-label": text }),
  });
  const texts = make(svg, "g", { class: "texts", "aria-hidden": true });
  const write = (x, y, kind, text) => make(texts, "text", { x, y, class: kind }, text);
  for (let l = 2; l <= sizes.length; l++) {
    W[l].forEach((weights, i) =>
      weights.forEach((w, j) => {
        const name = nameOf("W", l, [i, j], []);
        const g = make(svg, "g", focusable(name, label?.("weight", { l, i, j, w: short(w) }), "edge"));
        const ends = { x1: x(l - 1) + r, y1: top(l - 1, j), x2: x(l) - r, y2: top(l, i) };
        make(g, "line", { ...ends, class: "reach" });
        make(g, "line", {
          ...ends,
          class: w < 0 ? "neg" : "pos",
          "stroke-width": 1.2 + (6 * Math.abs(w)) / heaviest,
        });
        if (widest > 3 || dx < 140) return;
        const t = 0.3;
        write(ends.x1 + t * (ends.x2 - ends.x1), ends.y1 + t * (ends.y2 - ends.y1) - 5, "weight", short(w));
      }),
    );
  }
  sizes.forEach((n, k) => {
    const l = k + 1;
    for (let i = 0; i < n; i++) {
      const known = l === 1 || phase >= 1,
        wrong = l > 1 && phase >= 3;
      const said = {
        l,
        i,
        a: known ? short(a[l][i]) : "",
        delta: wrong ? short(delta[l][i], small ? 2 : 4) : "",
      };
      const g = make(svg, "g", focusable(nameOf("a", l, [i], row), label?.("neuron", said), "neuron"));
      const cx = x(l),
        cy = top(l, i),
        fill = known ? 0.08 + 0.42 * Math.min(1, Math.abs(a[l][i])) : 0;
      make(g, "circle", { cx, cy, r, class: "back" });
      make(g, "circle", { cx, cy, r, class: "fill", "fill-opacity": fill });
      write(cx, cy + 5, small ? "a low" : "a", known ? short(a[l][i], 3) : "a");
      if (l > 1) write(cx, cy - r - 5, "b", `b ${short(b[l][i])}`);
      if (wrong) write(cx, cy + r + 15, "delta", `δ ${said.delta}`);
      if (l === sizes.length) write(cx + r + 7, cy + 5, "y", `y ${short(y[i])}`);
    }
  });
  svg.append(texts);
}

export function drawCurve(svg, { curve, marks, steps }, { label = "" } = {}) {
  const width = Math.min(Math.max(svg.clientWidth, 300), 560),
    height = 250,
    left = 52,
    bottom = 30,
    right = 14,
    roof = 12;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const positive = [...curve, ...marks].map(([, E]) => E).filter((E) => E > 0);
  const least = Math.min(...positive, 1),
    most = Math.max(...positive, 1e-12);
  const low = Math.floor(Math.log10(least)),
    high = Math.max(low + 1, Math.ceil(Math.log10(most)));
  const last = Math.max(10, steps, curve[curve.length - 1][0], ...marks.map(([k]) => k));
  const from = Math.log10(0.5),
    to = Math.log10(last); // step 0 stands where ½ would
  const x = (k) => left + ((Math.log10(Math.max(k, 0.5)) - from) / (to - from)) * (width - left - right);
  const y = (E) =>
    roof + ((high - Math.log10(Math.max(E, 10 ** low))) / (high - low)) * (height - bottom - roof);
  const grid = (line, at, text) => {
    make(svg, "line", { ...line, class: "grid" });
    make(svg, "text", at, text);
  };
  for (let k = low, by = Math.ceil((high - low) / 7); k <= high; k += by) {
    const level = y(10 ** k);
    grid(
      { x1: left, x2: width - right, y1: level, y2: level },
      { x: left - 6, y: level + 4, class: "tick end" },
      tens(k),
    );
  }
  grid(
    { x1: x(0), x2: x(0), y1: roof, y2: height - bottom },
    { x: x(0), y: height - 12, class: "tick" },
    "0",
  );
  for (let k = 0; k <= to; k++) {
    const side = x(10 ** k);
    grid(
      { x1: side, x2: side, y1: roof, y2: height - bottom },
      { x: side, y: height - 12, class: "tick" },
      k ? tens(k) : "1",
    );
  }
  make(svg, "polyline", {
    class: "curve",
    points: curve.map(([k, E]) => `${x(k).toFixed(1)},${y(E).toFixed(1)}`).join(" "),
  });
  for (const [k, E] of marks) {
    make(svg, "circle", { cx: x(k), cy: y(E), r: 5, class: "mark" });
    const ends = x(k) > width * 0.8;
    make(
      svg,
      "text",
      { x: x(k) + (ends ? -9 : 9), y: y(E) - 6, class: ends ? "tick end" : "tick start" },
      E.toFixed(6),
    );
  }
  const shown = curve.filter(([k]) => k <= steps).pop() || curve[0];
  make(svg, "circle", { cx: x(shown[0]), cy: y(shown[1]), r: 4.5, class: "now" });
  if (label) svg.setAttribute("aria-label", label);
}
