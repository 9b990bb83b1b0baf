// The Data tab: the list of data sets, what is on its way into it, and which card stands beside it. Asks when something
// changed and the tab is in sight; nothing is kept on the server, so a reload or a second tab shows the same.

import { DataAdd } from "./data_add.js";
import { DataSet } from "./data_set.js";
import { h, keyed, say, show, when } from "./dom.js";

const TOPICS = ["data", "jobs", "adapters", "models"]; // what the tab shows something of
const AGAIN = 3000; // ms after a question that was not answered
const UNDO = 10_000; // ms a deletion can be taken back in place

export function mount(host) {
  new Data(host).start();
}

class Data {
  constructor({ element, server, trigger, upload, plotly, data }) {
    Object.assign(this, { element, server, trigger, upload, plotly });
    this.id = data; // of the open data set; null: the newest
    this.job = null; // that reads what was added here
    this.adds = false; // whether the card that adds one is open
    this.build();
  }

  start() {
    const concerns = (topic) => TOPICS.includes(topic) || (topic === "progress" && (this.parts.coming.children.length > 0 || this.set.checks.busy));
    const changed = ({ detail }) => (detail.topics.some(concerns) ? this.pull() : null);
    const open = ({ detail }) => this.open(Number(detail) || null, false);
    window.addEventListener("studio:changed", changed);
    window.addEventListener("studio:data", open);
    this.stop = () => {
      window.removeEventListener("studio:changed", changed);
      window.removeEventListener("studio:data", open);
    };
    new IntersectionObserver(([seen]) => (seen.isIntersecting && this.missed ? this.pull() : null)).observe(this.element);
    this.pull();
  }

  // --- asking ---

  /** Ask the studio; what goes wrong is told in the place for it, and nothing is answered. */
  async ask(name, question, told) {
    try {
      const answer = await this.server[name](question);
      say(told, answer?.problem ?? "");
      return answer?.problem ? null : answer;
    } catch {
      say(told, "The studio does not answer. Try again.");
      return null;
    }
  }

  async pull() {
    if (!this.element.isConnected) return this.stop();
    this.missed = this.element.offsetParent === null;
    if (this.missed) return;
    if (this.asking) return void (this.asked = true);
    this.asking = true;
    const wanted = this.id;
    const answer = await this.ask("data_state", { id: wanted, job: this.job }, this.parts.stale);
    this.asking = false;
    clearTimeout(this.timer);
    if (answer && wanted === this.id) this.take(answer);
    else if (!answer) this.timer = setTimeout(() => this.pull(), AGAIN);
    if (this.asked || (answer && wanted !== this.id)) {
      this.asked = false;
      this.pull();
    }
  }

  // --- showing ---

  take({ rows, open, coming, job, choices }) {
    const { parts } = this;
    keyed(parts.list, rows, (row) => this.makeRow(row), updateRow);
    keyed(parts.coming, coming, (one) => this.makeComing(one), updateComing);
    show(parts.nav, rows.length + coming.length > 0);
    this.known = { rows: rows.length, open: Boolean(open) };
    this.showPlaces();
    this.set.offer(choices);
    if (open) this.set.show(open);
    this.id ??= open?.id ?? null;
    this.markOpen();
    if (job?.ended) this.cameIn(job);
  }

  /** On the right: the card that adds a set, or the open one, or a word on why there is none. */
  showPlaces() {
    const { parts, adds, known } = this;
    const first = known.rows === 0;
    show(this.adding.card, adds || first);
    show(this.adding.close, !first);
    show(this.set.box, known.open && !adds);
    show(parts.empty, !known.open && !adds && !first);
    parts.add.setAttribute("aria-expanded", String(adds || first));
  }

  /** The job that reads what was added here has ended. */
  cameIn({ name, data, why }) {
    this.job = null;
    if (data) this.open(data, true);
    else say(this.parts.lost, `${name} was not added. ${why}`);
  }

  markOpen() {
    for (const row of this.parts.list.children) {
      const open = row.dataset.key === String(this.id);
      row.firstChild.classList.toggle("open", open);
      if (open) row.firstChild.setAttribute("aria-current", "true");
      else row.firstChild.removeAttribute("aria-current");
    }
  }

  // --- doing ---

  addOne(on) {
    this.adds = on;
    this.showPlaces();
    if (!on) this.parts.add.focus();
  }

  /** Something was added: a data set, or a job that makes it one. */
  added({ id, job }) {
    this.addOne(false);
    say(this.parts.lost, "");
    if (id) return this.open(id, true);
    this.job = job;
    this.pull();
  }

  open(id, told) {
    if (this.adds) this.addOne(false);
    if (id !== this.id) {
      this.id = id;
      this.markOpen();
      this.pull();
    }
    if (told) this.trigger("data_open", { id });
  }

  async remove({ id }) {
    const gone = await this.ask("data_delete", { id }, this.set.parts.told);
    if (!gone) return;
    clearTimeout(this.undoable);
    this.gone = gone;
    say(this.parts.goneName, `Deleted ${gone.name}. `);
    show(this.parts.gone, true);
    this.undoable = setTimeout(() => show(this.parts.gone, false), UNDO);
    if (this.id === id) this.open(null, true);
  }

  async undo() {
    show(this.parts.gone, false);
    const back = await this.ask("data_undo", { id: this.gone.id }, this.parts.stale);
    if (back) this.open(back.id, true);
  }

  // --- building ---

  build() {
    const parts = (this.parts = {});
    parts.list = h("ul", { class: "run-rows" });
    parts.coming = h("ul", { class: "data-coming" });
    parts.add = h("button", { type: "button", class: "small add-data", "aria-expanded": "false", onclick: () => this.addOne(!this.adds) }, "Add data");
    parts.nav = h("nav", { class: "runs-list", "aria-label": "Data sets", hidden: true }, h("h2", { class: "for-readers" }, "Data sets"), parts.add, parts.coming, parts.list);
    parts.empty = h("div", { class: "empty-place", hidden: true }, h("h2", {}, "This data set is not there any more"), h("p", {}, "Choose another one, or add its file again."));
    parts.stale = h("p", { class: "problems", role: "alert" });
    parts.lost = h("p", { class: "problems", role: "alert" });
    parts.goneName = h("span");
    parts.gone = h("p", { class: "undo", role: "status", hidden: true }, parts.goneName, h("button", { type: "button", class: "link", onclick: () => this.undo() }, "Undo"));
    const ask = (name, question, told) => this.ask(name, question, told);
    const act = { trigger: this.trigger, remove: (set) => this.remove(set), renamed: () => this.pull(), cleaning: (made) => this.added(made) };
    this.set = new DataSet(ask, act, this.plotly);
    this.adding = new DataAdd(ask, (file) => this.upload(file), (made) => this.added(made), () => this.addOne(false));
    this.element.replaceChildren(h("div", { class: "runs data" }, parts.nav, h("div", {}, parts.stale, parts.lost, parts.gone, this.adding.card, parts.empty, this.set.box)));
  }

  makeRow({ key }) {
    return h("li", {}, h("button", { type: "button", class: "run-row", onclick: () => this.open(Number(key), true) },
      h("span", { class: "run-name" }), h("span", { class: "run-time" }), h("span", { class: "run-fact" }), h("span", { class: "run-time" })));
  }

  makeComing({ key }) {
    return h("li", {}, h("button", { type: "button", class: "link", onclick: () => this.trigger("run_open", { id: Number(key) }) }), h("span", { class: "fact" }),
      h("div", { class: "progress", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, h("span")));
  }
}

function updateRow(node, row) {
  const [name, kind, fact, at] = node.firstChild.children;
  say(name, row.name);
  name.title = row.name;
  say(kind, row.kind);
  say(fact, row.fact);
  say(at, when(row.at));
}

function updateComing(node, { name, words, share }) {
  const [link, fact, bar] = node.children;
  const percent = Math.round(100 * share);
  say(link, name);
  say(fact, words);
  bar.firstChild.style.width = `${percent}%`;
  bar.setAttribute("aria-valuenow", percent);
  bar.setAttribute("aria-label", `Progress of ${name}`);
}
