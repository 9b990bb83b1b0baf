// "Try several values" on the Train tab: settings, each with a list of values, counted by the server and agreed to before
// they are queued. Nothing but a link until it is opened. What is typed is kept here; the server checks it.

import { h, say, show } from "./dom.js";

export function mountGrid(host) {
  new GridForm(host);
}

class GridForm {
  constructor({ element, trigger, watch, props }) {
    Object.assign(this, { element, trigger, props, seen: props.value.at });
    this.build();
    watch("value", () => this.follow());
  }

  get settings() {
    return this.props.value.settings;
  }

  follow() {
    const { at, says, agreed, count, problems, done, first } = this.props.value;
    if (at === this.seen) return;
    this.seen = at;
    this.busy(false);
    this.agreed = agreed ?? "";
    say(this.says, says ?? "");
    show(this.says, Boolean(says));
    say(this.queue, count === 1 ? "Queue 1 run" : `Queue ${count} runs`);
    show(this.queue, Boolean(says));
    show(this.count, !says);
    this.problems.replaceChildren(...(problems ?? []).map((told) => h("li", {}, told)));
    show(this.problems, Boolean(problems?.length));
    if (done) this.finished(done, first);
    else if (says) this.queue.focus();
  }

  finished(done, first) {
    this.open(false);
    this.told.replaceChildren(`${done} `, h("button", { type: "button", class: "link", onclick: () => this.trigger("grid_open", { id: first }) }, "Show the group"));
    window.dispatchEvent(new Event("studio:ask"));
  }

  open(wanted) {
    show(this.form, wanted);
    show(this.opener, !wanted);
    this.opener.setAttribute("aria-expanded", String(wanted));
    this.told.replaceChildren();
    this.changed();
    if (!wanted) return this.rows.replaceChildren();
    this.add();
  }

  add() {
    const taken = [...this.rows.querySelectorAll("select")].map((choice) => choice.value);
    const free = this.settings.find(({ name }) => !taken.includes(name));
    if (!free) return;
    const choice = h("select", { "aria-label": "Setting", onchange: () => this.changed() },
      this.settings.map(({ name, title }) => h("option", { value: name, selected: name === free.name }, title)));
    const values = h("input", { type: "text", "aria-label": "Values", placeholder: "4, 8, 16", maxlength: 1000, oninput: () => this.changed() });
    const away = h("button", { type: "button", class: "mix-away", "aria-label": "Take this setting out" }, "×");
    const row = h("div", { class: "mix-row grid-row" }, choice, values, away);
    away.addEventListener("click", () => {
      row.remove();
      this.changed();
    });
    this.rows.append(row);
    values.focus();
    this.changed();
  }

  /** What was counted is not what stands there any more. */
  changed() {
    this.agreed = "";
    this.ticket = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    for (const part of [this.says, this.queue, this.problems]) show(part, false);
    show(this.count, true);
  }

  ask(name) {
    if (this.count.disabled) return;
    this.busy(true);
    const lists = [...this.rows.children].map((row) => [row.querySelector("select").value, row.querySelector("input").value]);
    this.trigger(name, { lists, agreed: this.agreed, stops: !this.goesOn.checked, ticket: this.ticket });
  }

  busy(on) {
    clearTimeout(this.late);
    for (const button of [this.count, this.queue]) button.disabled = on;
    if (on) this.late = setTimeout(() => this.busy(false), 15_000); // an answer that is lost must not lock the form
  }

  build() {
    const press = (label, kind, act, more = {}) => h("button", { type: "button", class: kind, onclick: act, ...more }, label);
    this.opener = press("Try several values", "link", () => this.open(true), { "aria-expanded": "false" });
    this.told = h("p", { class: "status", role: "status" });
    this.rows = h("div", { class: "grid-rows" });
    this.goesOn = h("input", { type: "checkbox", checked: true });
    this.says = h("p", { class: "status", role: "status", hidden: true });
    this.problems = h("ul", { class: "problems", role: "alert", hidden: true });
    this.count = press("Count the runs", "small", () => this.ask("grid_count"));
    this.queue = press("", "small main", () => this.ask("grid_queue"), { hidden: true });
    this.form = h("div", { class: "grid-form", hidden: true, role: "group", "aria-label": "Try several values" },
      h("p", { class: "help" }, "A run for each combination, with the other settings as they stand on this page."),
      this.rows, press("Another setting", "link", () => this.add()),
      h("label", { class: "grid-goes-on" }, this.goesOn, "When one of them fails, the others go on"),
      this.problems, this.says, h("div", { class: "buttons" }, this.count, this.queue, press("Close", "small", () => this.open(false))));
    this.element.replaceChildren(this.opener, this.form, this.told);
  }
}
