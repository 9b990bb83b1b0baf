// Other data sets beside the chosen one, each with its weight. Nothing but a link until somebody mixes one in.
// What is chosen is kept here, as JSON, and goes along with the page's events; the server checks it. Knows nothing about rows or tokens.

import { h, show } from "./dom.js";

const MOST = 20;

export function mountMix(host) {
  new Mix(host);
}

class Mix {
  constructor({ element, trigger, watch, props }) {
    Object.assign(this, { element, trigger, props, weight: "1", parts: [], at: null });
    this.rows = h("div", { class: "mix-rows" });
    this.more = h("button", { type: "button", class: "link", onclick: () => this.add() }, "Mix in another");
    this.help = h("p", { class: "help", hidden: true }, "Weight: how often the rows of a set come in an epoch. 1 is every row once, 0.5 half of them by turns.");
    element.replaceChildren(this.rows, this.help, this.more);
    watch("value", () => this.follow());
    this.follow();
  }

  get sets() {
    return this.props.value.sets;
  }

  get free() {
    const taken = [this.props.value.first, ...this.parts.map((part) => part.id)];
    return this.sets.filter(([id]) => !taken.includes(id));
  }

  // What is chosen as the first, or is gone, cannot be beside it.
  follow() {
    const { first, given } = this.props.value;
    if (given && given.at !== this.at) {
      this.at = given.at;
      this.weight = String(given.weight);
      this.parts = given.parts.map(([id, weight]) => ({ id, weight: String(weight) }));
    }
    const there = this.sets.map(([id]) => id);
    this.parts = this.parts.filter((part) => part.id !== first && there.includes(part.id));
    if (this.all() !== this.drawn) this.draw(); // else somebody may be typing a weight
    this.tell();
  }

  all() {
    return JSON.stringify([this.props.value.first, this.sets, this.parts.map((part) => part.id), this.at]);
  }

  add() {
    this.parts.push({ id: this.free[0][0], weight: "1" });
    this.draw();
    this.rows.lastElementChild.querySelector("select").focus();
    this.tell();
  }

  remove(part) {
    this.parts = this.parts.filter((other) => other !== part);
    this.draw();
    this.more.focus();
    this.tell();
  }

  draw() {
    this.drawn = this.all();
    const mixed = this.parts.length > 0;
    if (!mixed) this.weight = "1";
    show(this.help, mixed);
    show(this.more, this.free.length > 0 && this.parts.length < MOST - 1);
    const [, first] = this.sets.find(([id]) => id === this.props.value.first) ?? [0, ""];
    this.rows.replaceChildren(...(mixed ? [this.head(first), ...this.parts.map((part) => this.row(part))] : []));
  }

  head(name) {
    return h("div", { class: "mix-row" }, h("span", { class: "mix-name" }, name), this.field(name, this.weight, (value) => (this.weight = value)), h("span", { class: "mix-gap" }));
  }

  row(part) {
    const [, name] = this.sets.find(([id]) => id === part.id);
    const offered = this.sets.filter(([id]) => id === part.id || this.free.some(([other]) => other === id));
    const options = offered.map(([id, label]) => h("option", { value: id, selected: id === part.id }, label));
    const choice = h("select", { "aria-label": "Data set to mix in", onchange: (event) => this.choose(part, Number(event.target.value)) }, options);
    const away = h("button", { type: "button", class: "mix-away", "aria-label": `Take ${name} out`, onclick: () => this.remove(part) }, "×");
    return h("div", { class: "mix-row" }, choice, this.field(name, part.weight, (value) => (part.weight = value)), away);
  }

  field(name, weight, take) {
    const typed = (event) => {
      take(event.target.value);
      this.tell();
    };
    return h("input", { type: "number", min: "0.001", max: "100", step: "any", value: weight, "aria-label": `Weight of ${name}`, oninput: typed });
  }

  choose(part, id) {
    part.id = id;
    this.draw();
    this.tell();
  }

  tell() {
    const text = this.parts.length ? JSON.stringify({ weight: this.weight, parts: this.parts.map((part) => [part.id, part.weight]) }) : "";
    const before = this.rows.dataset.mixed ?? "";
    this.rows.dataset.mixed = text; // where the page's events read it
    if (text !== before) this.trigger("mix");
  }
}
