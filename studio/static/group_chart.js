// The validation losses of the runs of one grid in one chart: a line a run, the best in colour, the others behind them in
// grey. Fed with what is new of each. Knows nothing about jobs, servers or Gradio.

import { Chart, colour, decimals, frame } from "./chart.js";
import { digits } from "./dom.js";

const HEIGHT = 260;
const MARGIN = { l: 40, r: 16, t: 18, b: 44 };
export const IN_COLOUR = 6; // lines that can be told apart

export class GroupChart extends Chart {
  constructor(plot, url) {
    super(plot, url);
    this.clear();
  }

  clear() {
    this.lines = new Map(); // by run: {series, step, loss}
    this.places = new Map(); // by run: which of the colours is its own
    this.rows = [];
    this.steps = 0;
  }

  /** What the chart holds of each run: the name of its curve, and its last step. */
  known() {
    return Object.fromEntries([...this.lines].map(([key, line]) => [key, [line.series, line.step.at(-1) ?? -1]]));
  }

  add({ steps, lines }) {
    this.steps = steps;
    for (const { key, series, reset, step, loss } of lines) {
      const line = reset ? { series, step: [], loss: [] } : this.lines.get(key);
      this.lines.set(key, { series, step: [...line.step, ...step], loss: [...line.loss, ...loss] });
    }
  }

  /** Say which runs there are, the best first, and which is open; the best keep their colours while they are among the best. */
  order(rows, open) {
    this.rows = rows;
    this.open = open;
    const best = rows.filter(({ key }) => this.has(key)).slice(0, IN_COLOUR).map(({ key }) => key);
    for (const key of this.places.keys()) if (!best.includes(key)) this.places.delete(key);
    const free = Array.from({ length: IN_COLOUR }, (_, i) => i + 1).filter((place) => ![...this.places.values()].includes(place));
    // By number rather than by rank, so that the first colours do not depend on who leads at first.
    for (const key of best.filter((one) => !this.places.has(one)).sort((a, b) => a - b)) this.places.set(key, free.shift());
  }

  has(key) {
    return (this.lines.get(key)?.step.length ?? 0) > 0;
  }

  get empty() {
    return !this.rows.some(({ key }) => this.has(key));
  }

  /** The name of the colour of a run, as CSS has it. */
  colour(key) {
    const place = this.places.get(key);
    return place ? `--s${place}` : key === this.open ? "--ink" : "--line-2";
  }

  figure(width) {
    return { traces: this.traces(), layout: this.layout(width) };
  }

  /** The worst first, so that the best lie on top. */
  traces() {
    const seen = this.rows.filter(({ key }) => this.has(key));
    return seen.map((row, rank) => this.trace(row, rank === 0, colour(this.plot, this.colour(row.key)))).reverse();
  }

  trace({ key, given }, best, color) {
    const { step, loss } = this.lines.get(key);
    const chosen = this.places.has(key) || key === this.open;
    const least = best ? loss.indexOf(Math.min(...loss)) : -1;
    return {
      x: step, y: loss, name: given, mode: chosen ? "lines+markers+text" : "lines", hoverlabel: { namelength: -1 },
      line: { color, width: key === this.open ? 3 : chosen ? 2 : 1 },
      marker: { size: step.map((_, i) => (i === least ? 9 : step.length > 1 ? 4 : 7)), color },
      text: step.map((_, i) => (i === least ? "best" : "")), textposition: least > 0 && least === step.length - 1 ? "top left" : "top center", textfont: { color: this.ink.ink, size: 12 },
      hovertemplate: `step %{x:,d}: %{y:.4f}<extra>${plain(given)}</extra>`, cliponaxis: false,
    };
  }

  layout(width) {
    const { layout, xaxis, yaxis } = frame(this.ink, width);
    const losses = [...this.lines.values()].flatMap(({ loss }) => loss);
    const low = losses.reduce((a, b) => Math.min(a, b));
    const high = losses.reduce((a, b) => Math.max(a, b));
    const room = Math.max((high - low) * 0.08, 0.02);
    const range = [Math.max(0, low - room), high + room];
    const last = Math.max(this.steps, ...[...this.lines.values()].map(({ step }) => step.at(-1) ?? 0), 1);
    return {
      ...layout, height: HEIGHT, margin: MARGIN, hovermode: "closest", dragmode: false,
      xaxis: { ...xaxis, range: [0, last], fixedrange: true },
      yaxis: { ...yaxis, range, fixedrange: true, tickformat: decimals(range) },
      annotations: [{ text: "step", showarrow: false, xref: "paper", yref: "paper", x: 1, y: 0, xanchor: "right", yanchor: "top", yshift: -24, font: layout.font }],
    };
  }

  /** What the chart shows, in a sentence. */
  get sentence() {
    const best = this.rows.find(({ key }) => this.has(key));
    if (!best) return "";
    const least = this.lines.get(best.key).loss.reduce((a, b) => Math.min(a, b));
    return `Validation loss by step of ${this.rows.length} runs. The best: ${best.given}, ${digits(least)}.`;
  }
}

/** Text as Plotly's markup takes it for text. */
function plain(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/%\{/g, "% {");
}
