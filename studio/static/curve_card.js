// The card with the curve of the open run: the place of the chart, its tools, and the four small charts beneath it. Builds
// the elements and names them in `parts`; what is drawn into them is in live_chart.js and small_charts.js.

import { h } from "./dom.js";

const SMALL = { learning_rate: "Learning rate", gradient_norm: "Gradient norm", tokens_per_second: "Tokens/s", memory_bytes: "Memory" };

/** The card. Adds plot, reset, csv, small and curve to `parts`. */
export function curveCard(parts) {
  parts.plot = h("div", { class: "plot", role: "img" });
  parts.reset = h("button", { type: "button", class: "small", hidden: true }, "Whole run");
  parts.csv = h("a", { class: "quiet-link", download: true }, "CSV");
  const tools = h("div", { class: "chart-tools" }, parts.reset, choice("Along", "axis", ["Step", "Tokens", "Time"]), choice("Scale", "scale", ["Linear", "Log"]), parts.csv);
  parts.small = {};
  const small = h("div", { class: "small-charts" }, Object.entries(SMALL).map(([name, label]) => smallChart(parts.small, name, label)));
  parts.curve = h("section", { class: "card curve-card" }, h("div", { class: "card-head" }, h("h2", {}, "Loss"), tools), parts.plot, small);
  return parts.curve;
}

function smallChart(into, name, label) {
  const line = svg("polyline", { fill: "none", "vector-effect": "non-scaling-stroke" });
  const value = h("span", { class: "small-value" }, "–");
  const box = h("div", { class: "small-chart" }, h("div", { class: "small-head" }, h("span", {}, label), value),
    svg("svg", { viewBox: "0 0 240 44", preserveAspectRatio: "none", "aria-hidden": "true" }, line));
  into[name] = { box, line, value };
  return box;
}

function choice(label, what, words) {
  const options = words.map((word, i) =>
    h("label", {}, h("input", { type: "radio", name: `chart-${what}`, value: word.toLowerCase(), checked: i === 0 }), h("span", {}, word)));
  return h("div", { class: "seg", "data-what": what }, h("div", { class: "wrap", role: "radiogroup", "aria-label": label }, options));
}

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
