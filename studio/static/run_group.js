// The runs of the grid that the open run belongs to, best first, with their curves laid over each other. Knows nothing
// about how runs are asked for.

import { h, keyed, say, show } from "./dom.js";
import { GroupChart, IN_COLOUR } from "./group_chart.js";
import { showState } from "./run_list.js";

const PAUSE = 2000; // ms between two looks at the curves of runs that go on
const MOVING = ["queued", "starting", "running", "finishing"];

export class RunGroup {
  /** `open(id)` opens a run; `ask(question)` promises what is new of the curves; `url`: where Plotly is. */
  constructor(open, ask, url) {
    Object.assign(this, { open, ask });
    this.title = h("h3", {}, "");
    this.plot = h("div", { class: "group-plot", role: "img", hidden: true });
    this.note = h("p", { class: "help" });
    this.chart = new GroupChart(this.plot, url);
    this.rows = h("tbody");
    const heads = ["Run", "State", "Best validation"].map((head) => h("th", { scope: "col" }, head));
    this.element = h("section", { class: "card run-group-card", hidden: true }, this.title, this.plot, this.note,
      h("div", { class: "table-room" }, h("table", {}, h("thead", {}, h("tr", {}, heads)), this.rows)));
  }

  show(rows, open) {
    show(this.element, rows.length > 0);
    say(this.title, `${rows.length} runs of one grid, best first`);
    if (rows.length && !this.chart.rows.some(({ key }) => key === rows[0].key)) this.forget();
    this.shown = rows;
    this.current = open;
    if (rows.length) this.look();
    this.draw();
  }

  forget() {
    this.chart.clear();
    this.told = "";
    this.next = 0;
  }

  /** Ask for what is new: now and then while a run goes on, else only when something has changed. */
  async look() {
    const told = this.shown.map(({ key, state }) => `${key} ${state}`).sort().join();
    const moving = this.shown.some(({ state }) => MOVING.includes(state));
    if (this.asking || Date.now() < (this.next ?? 0) || (told === this.told && !moving)) return;
    this.asking = true;
    const first = this.shown[0].key;
    const answer = await this.ask({ job: this.current, known: this.chart.known() });
    this.asking = false;
    this.next = Date.now() + PAUSE;
    if (!answer || !this.shown.some(({ key }) => key === first)) return;
    this.told = told;
    this.chart.add(answer);
    this.draw();
  }

  draw() {
    const { chart, shown, current } = this;
    chart.order(shown, current);
    show(this.plot, !chart.empty);
    this.plot.setAttribute("aria-label", chart.sentence);
    say(this.note, this.says());
    keyed(this.rows, shown, (row) => this.make(row), (node, row) => update(node, row, current, chart));
    chart.draw();
  }

  says() {
    if (!this.shown.length || this.told === undefined || this.told === "") return "";
    const moving = this.shown.some(({ state }) => MOVING.includes(state));
    if (this.chart.empty) return moving ? "Their curves appear here with the first validation." : "No validation loss was measured, so there is no curve to show.";
    const many = this.shown.length > IN_COLOUR ? ` The ${IN_COLOUR} best are in colour, the others in grey; the open run is the thick line.` : " The open run is the thick line.";
    return `Validation loss by step.${many}`;
  }

  make({ key }) {
    const name = h("button", { type: "button", class: "link", onclick: () => this.open(Number(key)) });
    const mark = h("span", { class: "group-mark", "aria-hidden": "true" });
    return h("tr", {}, h("td", {}, h("span", { class: "group-name" }, mark, name)), h("td", {}, h("span", { class: "pill" })), h("td", { class: "number" }));
  }
}

function update(node, row, open, chart) {
  const [given, state, validation] = node.children;
  const [mark, name] = given.firstChild.children;
  say(name, row.given);
  mark.style.background = chart.has(row.key) ? `var(${chart.colour(row.key)})` : "transparent";
  showState(state.firstChild, row);
  say(validation, row.best ? `best ${row.validation}` : row.validation);
  node.classList.toggle("open", row.key === open);
  if (row.key === open) name.setAttribute("aria-current", "true");
  else name.removeAttribute("aria-current");
}
