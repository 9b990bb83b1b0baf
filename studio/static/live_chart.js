// The loss chart of a run. Fed with columns of numbers, first many, then only new ones; keeps what the reader did (zoom,
// axis, scale) through every update, and asks for the stretch that was zoomed into where it has only some of its points.
// Knows nothing about jobs, servers or Gradio.

import { Chart, decimals, frame } from "./chart.js";
import { digits, show } from "./dom.js";
import { drawSmall } from "./small_charts.js";
import { between, smooth } from "./smoothing.js";

const SIGMA = 0.012; // of the steps so far: wide enough to calm the noise, narrow enough to keep the start honest
const LABEL_GAP = 16; // px between the two words at the curve's end
const FEW = 500; // points; so many are drawn in no time
const SELDOM = 1500; // ms until a drawing that nobody could tell from the last
const HEIGHT = 300;
const MARGIN = { l: 40, r: 104, t: 12, b: 34 };

export class LiveChart extends Chart {
  /**
   * `parts`: elements {plot, reset, small: {learning_rate: {line, value, box}, ...}}; `url`: where Plotly is;
   * `ask(from, to)`: gives a promise of the columns of these steps, in more of its points than the whole run has.
   */
  constructor(parts, url, ask) {
    super(parts.plot, url);
    this.parts = parts;
    this.ask = ask;
    this.axis = "step";
    this.scale = "linear";
    this.turn = 0; // raised when the zoom is to be forgotten
    this.later = null; // a drawing that can wait
    this.clear("", 0);
    parts.reset.addEventListener("click", () => this.whole());
  }

  /** Forget the curve and take another one: `series` names it, `steps` is its planned end (0 while unknown). */
  clear(series, steps) {
    this.series = series;
    this.steps = steps;
    this.columns = {};
    this.near = null; // the stretch that was zoomed into: {from, to, columns}
    this.drawnTo = -1; // the step up to which it was drawn
  }

  get length() {
    return this.columns.step?.length ?? 0;
  }

  get last() {
    return this.length ? this.columns.step[this.length - 1] : -1;
  }

  add(columns) {
    for (const [name, values] of Object.entries(columns)) (this.columns[name] ??= []).push(...values);
  }

  /** The same curve from its start, thinned anew. What was zoomed into stays in sight. */
  replace(columns) {
    this.columns = columns;
    if (!this.parts.reset.hidden) this.lookCloser();
  }

  choose(what, value) {
    this[what] = value;
    this.whole();
  }

  whole() {
    this.turn += 1;
    this.near = null;
    show(this.parts.reset, false);
    this.draw();
  }

  /** Draw what was added: at once if it can be seen, else now and then. Most of a long run's steps move it by no pixel. */
  grow() {
    const { from, to } = this.near ?? { from: 0, to: this.end("step") };
    const pixel = (to - from) / Math.max(1, this.plot.clientWidth - MARGIN.l - MARGIN.r);
    const seen = this.last - this.drawnTo >= pixel && this.drawnTo <= to;
    if (this.length <= FEW || seen) this.draw();
    else this.later ??= setTimeout(() => this.drawLater(), SELDOM);
  }

  drawLater() {
    this.later = null;
    this.draw();
  }

  get empty() {
    return !this.series;
  }

  async paint(Plotly) {
    clearTimeout(this.later);
    this.later = null;
    this.drawnTo = this.last;
    const first = !this.drawn;
    await super.paint(Plotly);
    if (first) {
      this.plot.on("plotly_doubleclick", () => this.whole());
      this.plot.on("plotly_relayout", (change) => this.zoomed(change));
    }
    drawSmall(this.parts.small, this.columns, this.end("step"));
  }

  // --- the stretch that was zoomed into ---

  zoomed(change) {
    show(this.parts.reset, "xaxis.range[0]" in change || "yaxis.range[0]" in change || !this.parts.reset.hidden);
    if ("xaxis.range[0]" in change) this.lookCloser();
  }

  /** Ask for the points of the stretch that is seen, where those that are here stand for many. */
  async lookCloser() {
    const { step = [], weight = [] } = this.columns;
    const [left, right] = this.plot.layout.xaxis.range;
    const x = this.along(this.columns);
    const first = Math.max(0, x.findIndex((at) => at >= left) - 1);
    const end = x.findIndex((at) => at > right);
    const last = end < 0 ? x.length - 1 : end;
    if (weight.slice(first, last + 1).every((one) => one === 1)) return;
    const { series, turn } = this;
    const columns = await this.ask(step[first], step[last]);
    if (!columns || series !== this.series || turn !== this.turn) return;
    this.near = { from: step[first], to: step[last], columns };
    this.draw();
  }

  /** Everything that is drawn: the whole run, with the stretch that was zoomed into in its place. */
  shown() {
    const { columns: all, near } = this;
    const { step = [], mean = [], weight = [] } = all;
    const calm = smooth(step, mean, weight, Math.max(1.5, SIGMA * weight.reduce((sum, value) => sum + value, 0)));
    if (!near) return { ...all, calm };
    const from = step.findIndex((at) => at >= near.from);
    const to = step.findLastIndex((at) => at <= near.to) + 1;
    const put = (old, more) => [...old.slice(0, from), ...more, ...old.slice(to)];
    const names = ["step", "loss", "validation_loss", "tokens", "seconds"];
    const joined = Object.fromEntries(names.map((name) => [name, put(all[name], near.columns[name])]));
    return { ...joined, calm: put(calm, between(step, calm, near.columns.step)) };
  }

  // --- the large chart ---

  along({ step = [], tokens = [], seconds = [] }) {
    if (this.axis === "tokens") return tokens;
    return this.axis === "time" ? seconds.map((value) => value / this.unit().seconds) : step;
  }

  unit() {
    const end = this.end("seconds");
    if (end > 5400) return { seconds: 3600, word: "hours" };
    return end > 180 ? { seconds: 60, word: "minutes" } : { seconds: 1, word: "seconds" };
  }

  /** Where the planned end of the run lies on a column: known for steps, worked out from the pace for the others. */
  end(name) {
    const values = this.columns[name] ?? [];
    const at = values.findLast((value) => value != null) ?? 0;
    if (name === "step") return Math.max(this.steps, at, 1);
    return this.last > 0 ? Math.max(at, (at / this.last) * this.steps) : 1;
  }

  right() {
    if (this.axis === "tokens") return this.end("tokens");
    return this.axis === "time" ? this.end("seconds") / this.unit().seconds : this.end("step");
  }

  title() {
    if (!this.steps) return this.axis === "time" ? this.unit().word : this.axis;
    return { step: `step of ${this.steps.toLocaleString("en-US")}`, tokens: "tokens", time: this.unit().word }[this.axis];
  }

  figure(width) {
    const shown = this.shown();
    const { loss = [], validation_loss: validation = [], calm } = shown;
    const range = this.range(loss, validation);
    const seen = { x: this.along(shown), calm, loss, validation, range };
    return { traces: this.traces(seen), layout: this.layout(seen, width) };
  }

  range(loss, validation) {
    const values = [...loss, ...validation].filter((value) => value != null && (this.scale === "linear" || value > 0));
    if (!values.length) return this.scale === "log" ? [-1, 1] : [0, 4];
    let low = Infinity;
    let high = -Infinity;
    for (const value of values) {
      const at = this.scale === "log" ? Math.log10(value) : value;
      low = Math.min(low, at);
      high = Math.max(high, at);
    }
    const room = Math.max((high - low) * 0.08, 0.02);
    return [this.scale === "log" ? low - room : Math.max(0, low - room), high + room];
  }

  traces({ x, calm, loss, validation }) {
    const { s1, s2, surface } = this.ink;
    const points = validation.map((value, i) => [x[i], value]).filter(([, value]) => value != null);
    const best = points.reduce((least, point) => (least == null || point[1] < least[1] ? point : least), null);
    const newest = points.at(-1);
    const fills = points.map((point) => (point === best ? s2 : surface));
    const words = points.map((point) => (point === best && point !== newest ? "best" : ""));
    const pick = (values) => {
      const kept = x.map((at, i) => [at, values[i]]).filter(([at, value]) => at != null && value != null);
      return { x: kept.map(([at]) => at), y: kept.map(([, value]) => value) };
    };
    return [
      { ...pick(loss), mode: "lines", line: { color: s1, width: 1 }, opacity: 0.3, hoverinfo: "skip" },
      { ...pick(calm), name: "training", mode: "lines", line: { color: s1, width: 2 }, hovertemplate: "%{y:.3f}" },
      {
        x: points.map(([at]) => at), y: points.map(([, value]) => value), name: "validation", mode: "lines+markers+text",
        line: { color: s2, width: 2 }, marker: { size: 7, color: fills, line: { color: s2, width: 2 } },
        text: words, textposition: "top center", textfont: { color: s2, size: 12 }, cliponaxis: false,
        hovertemplate: "%{y:.3f}",
      },
    ];
  }

  layout(seen, width) {
    const { layout, xaxis, yaxis } = frame(this.ink, width);
    const log = this.scale === "log";
    return {
      ...layout, height: HEIGHT, margin: MARGIN,
      hovermode: "x unified", dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      uirevision: `${this.series}|${this.axis}|${this.scale}|${this.turn}`,
      xaxis: {
        ...xaxis, range: [0, this.right()], hoverformat: this.axis === "time" ? ".1f" : ",d",
        unifiedhovertitle: { text: this.axis === "time" ? `%{x} ${this.unit().word}` : `${this.axis} %{x}` },
      },
      yaxis: {
        ...yaxis, range: seen.range, type: this.scale, showticklabels: this.length > 0,
        tickformat: log ? "~r" : decimals(seen.range), ...(log ? { tickvals: logTicks(seen.range) } : {}),
      },
      annotations: [this.axisWord(width), ...this.endLabels(seen), ...this.breakWord(seen)],
      shapes: this.breakLine(seen),
    };
  }

  /** Where the loss or its gradient was no longer a number, and the run ended; nothing where it did not. */
  breakAt({ x }) {
    if (this.broke == null) return [];
    return [this.axis === "step" ? this.broke : (x.at(-1) ?? 0)];
  }

  breakLine(seen) {
    const line = { color: this.ink.ink2, width: 1, dash: "dot" };
    return this.breakAt(seen).map((at) => ({ type: "line", x0: at, x1: at, yref: "paper", y0: 0, y1: 1, line }));
  }

  breakWord(seen) {
    const text = `no number at step ${this.broke}`;
    return this.breakAt(seen).map((x) => {
      const side = x > this.right() / 2 ? { xanchor: "right", xshift: -4 } : { xanchor: "left", xshift: 4 };
      return { text, x, ...side, yref: "paper", y: 1, yanchor: "top", showarrow: false, font: { color: this.ink.ink2, size: 12 } };
    });
  }

  axisWord(width) {
    return {
      text: this.title(), showarrow: false, xref: "paper", yref: "paper", x: 1, y: 0, xanchor: "left", yanchor: "middle",
      xshift: 10, yshift: 0, font: { color: this.ink.ink3, size: width < 520 ? 11 : 12 },
    };
  }

  /** `training 1.09` and `validation 1.22` where the curve ends, kept apart where they would lie on each other. */
  endLabels({ x, calm, validation, range }) {
    const lastOf = (values) => values.findLastIndex((value) => value != null);
    const labels = [["training", calm, this.ink.s1], ["validation", validation, this.ink.s2]]
      .map(([name, values, colour]) => ({ name, colour, at: lastOf(values), value: values[lastOf(values)] }))
      .filter((label) => label.at >= 0);
    const end = Math.max(...labels.map((label) => x[label.at]));
    const pixels = (HEIGHT - MARGIN.t - MARGIN.b) / (range[1] - range[0]);
    const place = (value) => (this.scale === "log" ? Math.log10(value) : value);
    const gap = labels.length === 2 ? (place(labels[1].value) - place(labels[0].value)) * pixels : LABEL_GAP;
    const push = Math.max(0, (LABEL_GAP - Math.abs(gap)) / 2) * (gap < 0 ? -1 : 1);
    return labels.map((label, i) => ({
      text: `${label.name} ${digits(label.value)}`, showarrow: false, x: end, y: place(label.value), xanchor: "left",
      xshift: 8, yshift: i === 0 ? -push : push, font: { color: label.colour, size: 12 },
    }));
  }
}

/** Round numbers between two powers of ten given as exponents: about four, whether they lie a decade apart or less. */
function logTicks([low, high]) {
  const steps = high - low > 1.2 ? [1] : high - low > 0.7 ? [1, 2, 5] : high - low > 0.35 ? [1, 1.5, 2, 3, 5, 7] : [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9];
  const powers = Array.from({ length: Math.floor(high) - Math.floor(low) + 1 }, (_, i) => 10 ** (Math.floor(low) + i));
  return powers.flatMap((power) => steps.map((step) => step * power)).filter((value) => Math.log10(value) >= low && Math.log10(value) <= high);
}
