// Who answers, and how it is drawn: the contestants as chips with a field to add more, and the sampling below the prompt,
// for all and column by column. Two pieces of the page that share what is chosen. Knows nothing about answers.

import { h, keyed, say, show } from "./dom.js";
import { keepWhenLeft, kept } from "./draft.js";

const MOST = 8;
const chosen = { columns: [], heard: () => {} }; // shared by the two pieces

export function mountColumns(host) {
  new Columns(host);
}

export function mountSampling(host) {
  new Sampling(host);
}

const kind = (value) => value.split("@")[0].split("#")[0];
const strength = (value) => Number(value.split("#")[0].split("@")[1] ?? 1);
const copy = (value) => value.split("#")[1];

class Columns {
  constructor({ element, trigger, watch, props }) {
    Object.assign(this, { element, trigger, props, active: -1 });
    this.build();
    watch("value", () => this.draw());
    this.draw();
    keepWhenLeft(() => this.fields());
    chosen.again = (value) => this.choose([...this.values(), this.another(value)]);
  }

  build() {
    this.presets = h("span", { class: "presets" });
    this.field = h("input", { type: "text", role: "combobox", "aria-label": "Contestants", "aria-expanded": "false", "aria-controls": "compare-choices",
      "aria-autocomplete": "list", autocomplete: "off", placeholder: "Add a contestant",
      onfocus: () => this.open(true), onclick: () => this.open(true), oninput: () => this.open(true), onkeydown: (event) => this.key(event) });
    this.list = h("ul", { id: "compare-choices", role: "listbox", "aria-label": "Contestants to add", hidden: true });
    this.adder = h("span", { class: "adder" }, this.field, this.list);
    this.chips = h("div", { class: "chips" });
    this.box = h("div", { class: "chips-box" }, this.chips, this.adder);
    this.element.replaceChildren(h("div", { class: "columns-head" }, h("span", { class: "columns-label" }, "Contestants"), this.presets), this.box);
    this.element.addEventListener("focusout", (event) => this.element.contains(event.relatedTarget) || this.open(false));
  }

  values() {
    return (this.props.value?.columns ?? []).map((one) => one.value);
  }

  // Until the server has said who can answer, nobody was chosen.
  fields() {
    const typed = (place) => document.querySelector(place)?.value;
    const known = (this.props.value?.choices ?? []).length > 0;
    return { ...(known && { chosen: this.values().join(",") }), prompt: typed("#compare-prompt textarea"), seed: typed("#compare-seed input"), names: typed("#compare-names input:checked") };
  }

  draw() {
    const { columns = [], presets = [] } = this.props.value ?? {};
    chosen.columns = columns;
    this.bases = new Set(columns.map((one) => one.base)).size;
    this.element.dataset.chosen = this.values().join(",");
    keyed(this.chips, columns.map((one, at) => ({ ...one, key: one.value, at })), () => this.chip(), (node, one) => this.updateChip(node, one));
    keyed(this.presets, presets.map((one) => ({ ...one, key: one.label })),
      () => h("button", { type: "button", class: "link" }),
      (node, one) => { say(node, one.label); node.onclick = () => this.choose(one.values); });
    show(this.adder, columns.length < MOST);
    if (!this.list.hidden) this.drawList();
    chosen.heard();
  }

  chip() {
    const loud = h("input", { type: "number", min: 0, max: 2, step: 0.1, class: "loud", title: "What its update is multiplied by, 0 to 2" });
    const times = h("span", { class: "times", "aria-hidden": "true" }, "at");
    const off = h("button", { type: "button", class: "token-off" }, "×");
    return h("span", { class: "token" }, h("i", { class: "swatch", "aria-hidden": "true" }), h("span", { class: "token-name" }), times, loud, off);
  }

  // Adapters of like names are told apart by their bases, where several bases answer; a base is named already.
  called(one) {
    return this.bases > 1 && !one.value.startsWith("base-") ? `${one.name} (${one.base})` : one.name;
  }

  updateChip(node, one) {
    const [swatch, name, times, loud, off] = node.children, called = this.called(one);
    swatch.style.background = `var(--s${1 + (one.at % 8)})`;
    say(name, called);
    loud.setAttribute("aria-label", `Strength of ${called}`);
    off.setAttribute("aria-label", `Take out ${called}`);
    show(times, one.scalable);
    show(loud, one.scalable);
    if (document.activeElement !== loud) loud.value = strength(one.value);
    loud.onchange = () => this.louder(one, loud);
    off.onclick = () => this.choose(this.values().filter((value) => value !== one.value));
  }

  louder(one, field) {
    const wanted = Math.min(2, Math.max(0, Number(field.value) || 0)), number = copy(one.value);
    const next = kind(one.value) + (wanted === 1 ? "" : `@${Number(wanted.toFixed(3))}`) + (number ? `#${number}` : "");
    field.value = wanted;
    if (next === one.value || this.values().includes(next)) return void (field.value = strength(one.value));
    chosen.renamed?.(one.value, next);
    this.choose(this.values().map((value) => (value === one.value ? next : value)));
  }

  another(value) {
    const taken = this.values();
    for (let number = 2; number <= MOST; number++) {
      const next = `${value.split("#")[0]}#${number}`;
      if (!taken.includes(next)) return next;
    }
    return value;
  }

  choose(values) {
    const known = new Map([...(this.props.value?.choices ?? []), ...(this.props.value?.columns ?? [])].map((one) => [kind(one.value), one]));
    const columns = [...new Set(values)].slice(0, MOST).map((value) => ({ ...known.get(kind(value)), value }));
    this.props.value = { ...this.props.value, columns };
    this.draw();
    this.trigger("choose", {});
  }

  // --- the field that adds ---

  found() {
    const words = this.field.value.toLowerCase().split(/\s+/).filter(Boolean), there = this.values();
    return (this.props.value?.choices ?? []).filter((one) => !there.includes(one.value) && words.every((word) => one.label.toLowerCase().includes(word)));
  }

  open(on) {
    show(this.list, on && this.found().length > 0);
    this.field.setAttribute("aria-expanded", String(!this.list.hidden));
    if (!on) [this.active, this.field.value] = [-1, ""];
    if (!this.list.hidden) this.drawList();
  }

  drawList() {
    const found = this.found().slice(0, 100);
    this.active = Math.min(this.active, found.length - 1);
    keyed(this.list, found.map((one, at) => ({ ...one, key: one.value, at })),
      () => h("li", { role: "option", tabindex: "-1" }),
      (node, one) => {
        say(node, one.label);
        node.id = `compare-choice-${one.at}`;
        node.setAttribute("aria-selected", String(one.at === this.active));
        node.onmousedown = (event) => event.preventDefault();
        node.onclick = () => this.add(one);
      });
    if (this.active >= 0) this.field.setAttribute("aria-activedescendant", `compare-choice-${this.active}`);
    else this.field.removeAttribute("aria-activedescendant");
    this.list.children[this.active]?.scrollIntoView({ block: "nearest" });
  }

  add(one) {
    this.field.value = "";
    this.choose([...this.values(), one.value]);
    this.field.focus();
    this.open(this.values().length < MOST);
  }

  key(event) {
    const found = this.found();
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      this.open(true);
      this.active = Math.max(0, Math.min(found.length - 1, this.active + (event.key === "ArrowDown" ? 1 : -1)));
      this.drawList();
    } else if (event.key === "Enter" && !this.list.hidden && found[Math.max(0, this.active)]) this.add(found[Math.max(0, this.active)]);
    else if (event.key === "Escape") this.open(false);
    else if (event.key === "Backspace" && !this.field.value && this.values().length) this.choose(this.values().slice(0, -1));
    else return;
    event.preventDefault();
  }
}

const FIELDS = [
  ["temperature", "Temperature", 0, 2, 0.05, "0 always takes the likeliest token."],
  ["top_p", "Top p", 0.05, 1, 0.05, "Draws from the likeliest tokens up to this share."],
  ["top_k", "Top k", 0, 100000, 1, "Draws from so many of the likeliest; 0 from all."],
  ["min_p", "Min p", 0, 1, 0.05, "Leaves out what is less likely, as a share of the likeliest."],
  ["repetition_penalty", "Repetition penalty", 1, 2, 0.05, "Above 1 makes tokens that stand already less likely."],
  ["max_tokens", "Most tokens", 1, 1024, 1, "A longer answer is cut here."],
  ["samples", "Samples each", 1, 8, 1, "Answers of each contestant; each has a seed one higher."],
];
const OWN = { temperature: "Temp.", top_p: "Top p", top_k: "Top k", min_p: "Min p", repetition_penalty: "Penalty", max_tokens: "Tokens" };

class Sampling {
  constructor({ element, props }) {
    Object.assign(this, { element, props });
    const { how, open } = kept();
    this.props.value = { ...this.props.value, ...how };
    this.build(open ?? []);
    keepWhenLeft(() => ({ how: this.props.value, open: [this.panel, this.own].map((panel) => !panel.hidden) }));
    chosen.heard = () => this.drawOwn();
    chosen.renamed = (from, to) => this.rename(from, to);
    this.drawOwn();
  }

  build([panel, own]) {
    const given = this.props.value;
    this.panel = h("div", { class: "sampling", hidden: !panel }, h("div", { class: "sampling-fields" }, FIELDS.map((field) => this.number(field, given)),
      this.words("stop", "Stop words", "One a line; an answer ends before the first of them. \\n is a line break.", given),
      this.words("system", "System prompt", "Stands before the conversation of every column.", given)));
    this.own = h("div", { class: "own-columns", hidden: !own });
    this.element.replaceChildren(h("div", { class: "sampling-heads" }, disclosure("Sampling", this.panel), disclosure("Per column", this.own)), this.panel, this.own);
  }

  number([name, words, min, max, step, help], given) {
    const input = h("input", { type: "number", min, max, step, value: given[name], id: `sampling-${name}`, oninput: () => this.set(name, Number(input.value)) });
    return h("div", { class: "sampling-field" }, h("label", { for: input.id }, words), input, h("p", { class: "help" }, help));
  }

  words(name, words, help, given) {
    const area = h("textarea", { rows: 2, id: `sampling-${name}`, oninput: () => this.set(name, area.value) }, given[name]);
    return h("div", { class: "sampling-field wide" }, h("label", { for: area.id }, words), area, h("p", { class: "help" }, help));
  }

  set(name, value) {
    this.props.value = { ...this.props.value, [name]: value };
  }

  // --- what single columns have otherwise ---

  drawOwn() {
    if (!this.table) {
      this.table = h("div", { class: "own-rows" });
      this.own.replaceChildren(h("p", { class: "help" }, "What one column has otherwise than the others. Empty is as all."), this.table);
    }
    keyed(this.table, chosen.columns.map((one) => ({ ...one, key: one.value })), (one) => this.ownRow(one), (node, one) => say(node.firstChild, one.name));
  }

  ownRow(one) {
    const kept = this.props.value?.own?.[one.value] ?? {};
    const write = (name, value) => {
      const own = { ...this.props.value?.own };
      own[one.value] = { ...own[one.value], [name]: value };
      this.set("own", own);
    };
    const numbers = FIELDS.filter(([name]) => name in OWN).map(([name, words, min, max, step]) => {
      const input = h("input", { type: "number", min, max, step, value: kept[name], "aria-label": `${words} of ${one.name}`, placeholder: OWN[name], title: words,
        oninput: () => write(name, input.value === "" ? "" : Number(input.value)) });
      return input;
    });
    const system = h("textarea", { rows: 1, "aria-label": `System prompt of ${one.name}`, placeholder: "System prompt", oninput: () => write("system", system.value) });
    system.value = kept.system ?? "";
    const more = h("button", { type: "button", class: "small", onclick: () => chosen.again(one.value) }, "Add once more");
    return h("div", { class: "own-row" }, h("span", { class: "own-name" }), system, h("span", { class: "own-numbers" }, numbers), more);
  }

  rename(from, to) {
    const { [from]: moved, ...own } = this.props.value?.own ?? {};
    if (moved) this.set("own", { ...own, [to]: moved });
  }
}

function disclosure(words, panel) {
  const button = h("button", { type: "button", class: "disclosure", "aria-expanded": String(!panel.hidden), onclick: () => {
    show(panel, panel.hidden);
    button.setAttribute("aria-expanded", String(!panel.hidden));
  } }, words);
  return button;
}
