// Rows of a data set as a base model will see them: their tokens, which of them are learned and which are cut off, and
// how long all rows are. Every text goes in as text. Knows nothing about how a row becomes tokens.

import { SETTINGS, colours, frame, plotly } from "./chart.js";
import { showRows } from "./data_rows.js";
import { h, keyed, say, show, whole } from "./dom.js";

const TYPED = 500; // ms after the last key
const MUCH = 0.2; // share of rows, beyond which what is lost is warned of
const HEIGHT = 180;

export class DataTokens {
  /** `ask` as for DataRows; `url`: where Plotly is; `changed()` hears of other settings; `go(row)` leads to a row. */
  constructor(ask, url, changed, go) {
    Object.assign(this, { ask, url, changed, go });
    this.build();
    new MutationObserver(() => this.draw()).observe(document.body, { attributes: true, attributeFilter: ["class"] });
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  /** What can be chosen; what was chosen stays while it is there. */
  offer({ bases, loss_on: lossOn, chat_template: templates, length }) {
    const before = this.base.value;
    keyed(this.base, bases.map(([key, name]) => ({ key, name })), ({ key }) => h("option", { value: key }), (node, { name }) => say(node, name));
    if (!this.base.value) this.base.value = before || bases[0]?.[0];
    if (!this.loss.children.length) this.loss.append(...lossOn.map(([value, word]) => h("option", { value }, word)));
    if (!this.template.children.length) this.template.append(...templates.map(([value, word]) => h("option", { value }, word)));
    if (!this.length.value) this.length.value = length;
  }

  /** Another set, or out of sight. */
  open(set, seen) {
    if (this.set?.id !== set.id) {
      this.counted = null;
      show(this.body, false);
    }
    this.set = set;
    this.seen = seen;
    show(this.card, seen && Boolean(this.counted));
    if (seen) this.count();
  }

  settings() {
    return { base: Number(this.base.value), length: Number(this.length.value), loss_on: this.loss.value, chat_template: this.template.value };
  }

  change() {
    const settings = JSON.stringify(this.settings());
    if (settings === this.asked) return; // typed, and then left
    this.asked = settings;
    this.changed();
    this.count();
  }

  /** The list items of some rows; null where they cannot be had. */
  async rows(asked, told) {
    const answer = await this.ask("data_view", { ...asked, ...this.settings() }, told);
    return answer && answer.rows.map(makeRow);
  }

  async count() {
    const question = { id: this.set.id, ...this.settings() };
    const key = JSON.stringify(question);
    if (this.counted?.key === key || this.counting === key) return;
    this.counting = key;
    say(this.fact, "counting…");
    show(this.card, true);
    const found = await this.ask("data_lengths", question, this.told);
    if (this.counting !== key) return;
    this.counting = null;
    say(this.fact, "");
    if (found) this.showLengths({ ...found, key });
    show(this.body, Boolean(this.counted));
  }

  // --- lengths ---

  showLengths(found) {
    this.counted = found;
    say(this.fact, found.template ? `chat template: ${found.template}` : "plain words");
    say(this.warning, found.warning ?? "");
    const figures = [["Rows", found.rows], ["Tokens in all rows", found.tokens], ["Answer tokens", found.answer_tokens], ["Longest row", found.max], ["95 % have at most", found.p95]];
    keyed(this.figures, figures.map(([key, value]) => ({ key, value })), makeFigure, updateFigure);
    this.showRows("cut", found.cut, found.cut_total, (rows) => `${rows} longer than ${whole(found.length)} tokens, so the end is cut.`, "Raise Length to keep them whole.");
    this.showRows("masked", found.masked, found.masked_total, (rows) => `${rows} left with nothing to learn, so they are passed over.`, "Look at them: the answer may be empty, or cut off.");
    this.draw();
  }

  showRows(name, rows, total, words, remedy) {
    const { box, pill, line, list } = this.parts[name];
    const share = total / Math.max(1, this.counted.rows);
    show(box, total > 0);
    show(pill, share > MUCH);
    const said = `${whole(total)} of ${whole(this.counted.rows)} rows (${percent(share)}) ${total === 1 ? "is" : "are"}`;
    say(line, `${words(said)} ${share > MUCH ? remedy : ""}`);
    showRows(list, rows, total, this.go);
  }

  async draw() {
    if (!this.counted || !this.seen) return;
    try {
      const Plotly = await plotly(this.url);
      if (this.plot.clientWidth > 0 && this.counted) await Plotly.react(this.plot, ...this.figure());
    } catch (error) {
      say(this.told, `${error.message} Reload the page to try again.`);
    }
  }

  figure() {
    const { bins, length, max, rows, p95 } = this.counted;
    const ink = colours(this.plot);
    const { layout, xaxis, yaxis } = frame(ink, this.plot.clientWidth);
    const { font } = layout;
    const cut = bins.map(([from]) => from > length);
    const end = Math.max(max * 1.02, Math.min(length, max * 1.5), 8);
    this.plot.setAttribute("aria-label", `Lengths of ${whole(rows)} rows in tokens: 95 % have at most ${whole(p95)}, the longest ${whole(max)}. Rows are cut at ${whole(length)}.`);
    const bars = {
      type: "bar", x: bins.map(([from, to]) => (from + to) / 2), width: bins.map(([from, to]) => (to - from) * 0.92), y: bins.map(([, , count]) => count),
      marker: { color: cut.map((beyond) => (beyond ? ink.line2 : ink.s1)) }, customdata: bins.map(([from, to]) => [from, to - 1]),
      hovertemplate: "%{y:,} rows of %{customdata[0]:,} to %{customdata[1]:,} tokens<extra></extra>",
    };
    const line = { type: "line", x0: length, x1: length, yref: "paper", y0: 0, y1: 1, line: { color: ink.ink3, width: 1, dash: "dot" } };
    const word = { text: `cut at ${whole(length)}`, x: length, yref: "paper", y: 1, yanchor: "bottom", xanchor: length > end * 0.85 ? "right" : "left", showarrow: false, font };
    const shown = length <= end;
    const words = { text: "tokens", showarrow: false, xref: "paper", yref: "paper", x: 1, y: 0, xanchor: "left", yanchor: "middle", xshift: 8, font };
    return [[bars], {
      ...layout, height: HEIGHT, margin: { l: 44, r: 60, t: 20, b: 30 }, dragmode: false, bargap: 0,
      xaxis: { ...xaxis, range: [0, end], nticks: 8, fixedrange: true },
      yaxis: { ...yaxis, nticks: 4, tickformat: ",d", rangemode: "tozero", fixedrange: true },
      shapes: shown ? [line] : [],
      annotations: shown ? [word, words] : [words],
    }, SETTINGS];
  }

  // --- building ---

  build() {
    this.base = h("select", { "aria-label": "Base model to look through", onchange: () => this.change() });
    this.loss = h("select", { "aria-label": "Loss on", onchange: () => this.change() });
    this.template = h("select", { "aria-label": "Chat template to look through", onchange: () => this.change() });
    this.length = h("input", { type: "number", "aria-label": "Length, tokens", min: 8, step: 1, oninput: () => this.typed(), onchange: () => this.typed() });
    const named = (word, field) => h("label", { class: "named" }, word, field);
    this.fields = h("div", { class: "data-line", hidden: true }, named("Base model", this.base), named("Length, tokens", this.length), named("Loss on", this.loss), named("Chat template", this.template));
    this.proof = h("p", { class: "proof", hidden: true }, h("span", { class: "learned" }, "Marked"), " tokens are learned, grey ones are context, ",
      h("span", { class: "special" }, "framed"), " ones are the base model's own signs, and ", h("span", { class: "beyond" }, "struck"), " ones are cut off.");
    this.told = h("p", { class: "problems", role: "alert" });
    this.fact = h("span", { class: "fact", role: "status" });
    this.warning = h("p", { class: "help" });
    this.figures = h("dl", { class: "figures" });
    this.plot = h("div", { class: "data-plot", role: "img" });
    this.parts = { cut: makeLost("cut"), masked: makeLost("nothing to learn") };
    this.body = h("div", { class: "data-lengths", hidden: true }, this.warning, this.figures, this.plot, this.parts.cut.box, this.parts.masked.box);
    this.card = h("section", { class: "card", hidden: true }, h("div", { class: "card-head" }, h("h2", {}, "Lengths"), this.fact), this.told, this.body);
  }

  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.change(), TYPED);
  }
}

function makeRow({ index, tokens, answer_tokens: learned, cut, problem, pieces, hidden }) {
  const said = problem ? h("p", { class: "problems" }, problem) : h("div", { class: "tokens" }, pieces.map(makeToken));
  const lost = cut ? `, ${whole(cut)} cut off` : "";
  const more = hidden ? ` ${whole(hidden)} more characters are not shown.` : "";
  const fact = problem ? [] : [h("p", { class: "proof" }, `${whole(tokens)} tokens, ${whole(learned)} learned${lost}.${more}`)];
  return h("li", { "data-key": index }, h("span", { class: "n" }, whole(index + 1)), h("div", { class: "pieces" }, said, ...fact));
}

function makeToken({ text, learned, special, beyond }) {
  return h("span", { class: [learned && "learned", special && "special", beyond && "beyond"].filter(Boolean).join(" ") || null }, text);
}

function makeLost(word) {
  const [pill, line, list] = [h("span", { class: "pill warn" }, word), h("p", {}), h("span", { class: "row-numbers" })];
  return { box: h("div", { class: "data-lost", hidden: true }, pill, line, list), pill, line, list };
}

function makeFigure() {
  return h("div", { class: "figure" }, h("dt", { class: "what" }), h("dd", { class: "value" }));
}

function updateFigure(node, { key, value }) {
  say(node.firstChild, key);
  say(node.lastChild, whole(value));
}

function percent(share) {
  const value = 100 * share;
  return `${value > 0 && value < 1 ? value.toFixed(1) : Math.round(value)}\u00a0%`;
}
