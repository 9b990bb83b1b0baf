// The card that adds a data set: from a file, a path on this machine, pasted rows, or a hub (data_hub.js). Shows at once how the
// beginning of it is understood, and lets a person say which column is what. Every text goes in as text. Knows nothing
// about the list of data sets.

import { h, keyed, say, show, whole } from "./dom.js";
import { DataHub } from "./data_hub.js";
import { makePiece } from "./data_rows.js";
import { seg } from "./seg.js";

const MOST_UPLOADED = 200e6; // bytes; the studio takes no more
const WAYS = [["file", "File"], ["path", "Path on this machine"], ["paste", "Paste"], ["hub", "From a hub"]];
const SHAPES = {
  answers: { word: "Prompt and answer", roles: ["system", "prompt", "input", "answer", "source"] },
  talk: { word: "Conversation", roles: ["messages", "source"] },
  text: { word: "Plain text", roles: ["text", "source"] },
};
const ROLES = { system: "System", prompt: "Prompt", input: "Input", answer: "Answer", messages: "Conversation", text: "Text", source: "Source" };
const SPARE = ["system", "input", "source"]; // roles that need no column

export class DataAdd {
  /** `ask` as for DataRows; `upload(file)` gives a promise of its place; `added(answer)` hears of what was made. */
  constructor(ask, upload, added, closed) {
    Object.assign(this, { ask, upload, added, closed });
    this.build();
    this.choose("file");
  }

  // --- what is looked at ---

  choose(way) {
    for (const [name] of WAYS) show(this.panels[name], name === way);
    this.forget();
  }

  /** Let go of the file that was looked at. */
  forget() {
    if (this.file?.upload) this.ask("data_forget", { upload: this.file.upload }, h("p"));
    this.file = null;
    this.turn = (this.turn ?? 0) + 1;
    show(this.found, false);
    say(this.told, "");
    this.hub.forget();
  }

  async takeFile(file) {
    if (!file) return;
    this.forget();
    if (file.size > MOST_UPLOADED) return say(this.told, `${file.name} has ${whole(file.size / 1e6)} MB; ${whole(MOST_UPLOADED / 1e6)} are the most for an upload. Give its path on this machine instead.`);
    const { turn } = this;
    this.busy(`Reading ${file.name}…`);
    let place = null;
    try {
      place = await this.upload(file);
    } catch {
      say(this.told, `${file.name} could not be uploaded. Try again.`);
    }
    this.busy("");
    this.input.value = "";
    if (place && turn === this.turn) await this.look({ upload: place.path });
  }

  async look(source, columns = null) {
    const turn = (this.turn += 1);
    this.busy("Reading…");
    const seen = await this.ask(source.hub ? "data_hub_rows" : "data_look", { ...source.hub, ...source, columns }, this.told);
    if (turn !== this.turn) return;
    this.busy("");
    if (!seen) return;
    const again = this.file?.names.join("\n") === seen.names.join("\n") && columns;
    this.source = seen.upload ? { upload: seen.upload } : source;
    say(this.add, source.hub ? "Fetch and add" : "Add data set");
    this.file = seen;
    this.showFound(seen, Boolean(again));
  }

  // --- showing ---

  showFound(seen, again) {
    say(this.title, seen.file);
    say(this.sentence, seen.understood);
    show(this.sentence, Boolean(seen.understood));
    if (!again) {
      this.name.value = seen.name;
      this.skip(false);
      this.showMapping(seen);
    }
    this.list.replaceChildren(...seen.rows.map(({ key, pieces }) =>
      h("li", {}, h("span", { class: "n" }, key + 1), h("div", { class: "pieces" }, pieces.map(makePiece)))));
    show(this.list, seen.rows.length > 0);
    this.showProblems(seen.problems, seen.rows.length ? "Among the first rows, these cannot be used:" : "");
    show(this.finish, seen.rows.length > 0 || Boolean(seen.blind));
    show(this.found, true);
  }

  showProblems(problems, head) {
    say(this.problemsHead, head);
    show(this.problemsHead, Boolean(head));
    keyed(this.problems, problems.map((said, key) => ({ key, said })), () => h("li"), (node, { said }) => say(node, said));
    show(this.trouble, problems.length > 0);
  }

  showMapping({ names, columns, rows, mapped }) {
    const shape = columns.messages ? "talk" : columns.text ? "text" : "answers";
    for (const role of Object.keys(ROLES)) this.fill(role, names, columns[role]);
    this.shape(shape);
    show(this.mapping, names.length > 0);
    this.mapping.open = names.length > 0 && (mapped || rows.length === 0);
  }

  fill(role, names, chosen) {
    const nothing = h("option", { value: "" }, SPARE.includes(role) ? "none" : "choose a column");
    this.selects[role].replaceChildren(nothing, ...names.map((name) => h("option", { value: name }, name)));
    this.selects[role].value = chosen ?? "";
  }

  shape(shape) {
    for (const input of this.shapes.querySelectorAll("input")) input.checked = input.value === shape;
    for (const [role, box] of Object.entries(this.boxes)) show(box, SHAPES[shape].roles.includes(role));
  }

  busy(words) {
    say(this.doing, words);
    this.add.setAttribute("aria-disabled", String(Boolean(words)));
  }

  skip(on) {
    for (const input of this.bad.querySelectorAll("input")) input.checked = (input.value === "skip") === on;
  }

  // --- doing ---

  get chosenShape() {
    return this.shapes.querySelector("input:checked").value;
  }

  /** The columns as a person mapped them; null while a role that needs one has none. */
  columns() {
    const { roles } = SHAPES[this.chosenShape];
    const pairs = roles.map((role) => [role, this.selects[role].value]);
    const missing = pairs.some(([role, column]) => !column && !SPARE.includes(role) && !(role === "prompt" && this.selects.input.value));
    return missing ? null : Object.fromEntries(pairs.filter(([, column]) => column));
  }

  map() {
    const columns = this.columns();
    if (columns) this.look(this.source, columns);
  }

  async make() {
    if (this.add.getAttribute("aria-disabled") === "true") return;
    const { source, turn } = this;
    const skip = this.bad.querySelector("input:checked").value === "skip";
    this.busy(source.hub ? "Asking the hub…" : `Adding ${this.file.file}…`);
    const question = { ...source, name: this.name.value, columns: this.file.mapped ? this.file.columns : null, skip_bad: skip };
    const answer = await this.ask(source.hub ? "data_hub_add" : "data_add", { ...source.hub, ...question }, this.told);
    if (turn !== this.turn) return;
    this.busy("");
    if (!answer) return;
    if (answer.problems) return this.refused(answer, skip);
    this.file = null; // what was uploaded is the studio's now
    this.forget();
    this.path.value = this.text.value = "";
    this.hub.clear();
    this.added(answer);
  }

  refused({ problems, total }, skipped) {
    const rest = total > problems.length ? `, the first ${whole(problems.length)} of them here` : "";
    const how = skipped ? "" : " Nothing was added. Choose Skip them to leave them out.";
    this.showProblems(problems, `${whole(total)} ${total === 1 ? "row" : "rows"} cannot be used${rest}.${how}`);
    this.trouble.scrollIntoView({ block: "nearest" });
  }

  // --- building ---

  build() {
    this.told = h("p", { class: "problems", role: "alert" });
    this.doing = h("p", { class: "status", role: "status" });
    this.close = h("button", { type: "button", class: "small", onclick: () => this.leave() }, "Close");
    const ways = seg("Where the data comes from", "data-way", WAYS, (way) => this.choose(way));
    this.panels = { file: this.makeDrop(), path: this.makePath(), paste: this.makePaste(), hub: this.makeHub() };
    this.card = h("section", { class: "card data-add" },
      h("div", { class: "card-head" }, h("h2", {}, "Add data"), this.close), ways, Object.values(this.panels), this.doing, this.told, this.makeFound());
  }

  leave() {
    this.forget();
    this.closed();
  }

  makeDrop() {
    this.input = h("input", { type: "file", "aria-label": "Data file", onchange: () => this.takeFile(this.input.files[0]) });
    const area = h("label", { class: "data-drop" }, this.input, h("span", {}, "Drop a file here, or browse"));
    area.addEventListener("dragover", (event) => event.preventDefault());
    area.addEventListener("drop", (event) => {
      event.preventDefault();
      this.takeFile(event.dataTransfer.files[0]);
    });
    return h("div", {}, area, h("p", { class: "help" }, "JSONL, JSON, CSV, TSV, Parquet, plain text or Markdown, also gzipped. The kind is found from what is in it."));
  }

  makePath() {
    this.path = h("input", { type: "text", maxlength: 4000, "aria-label": "Path on this machine", placeholder: "/home/me/rows.jsonl", spellcheck: "false" });
    const go = h("form", { class: "data-line", novalidate: true, onsubmit: (event) => this.submit(event, { path: this.path.value }) }, this.path, h("button", { type: "submit", class: "small" }, "Look at it"));
    return h("div", {}, go, h("p", { class: "help" }, "A file of any size, or a folder of files. Its rows are copied, so the file may change or go later."));
  }

  makePaste() {
    this.text = h("textarea", { rows: 6, "aria-label": "Rows to paste", spellcheck: "false" });
    const go = h("form", { novalidate: true, onsubmit: (event) => this.submit(event, { text: this.text.value }) }, this.text, h("button", { type: "submit", class: "small" }, "Look at it"));
    return h("div", {}, go);
  }

  makeHub() {
    this.hub = new DataHub(this.ask, this.told, (words) => this.busy(words), (split) => this.lookOnHub(split));
    return this.hub.panel;
  }

  /** Look at a split of a data set on the hub, which stays chosen. */
  lookOnHub(split) {
    this.file = null;
    show(this.found, false);
    this.look({ hub: split });
  }

  submit(event, source) {
    event.preventDefault();
    this.forget();
    this.look(source);
  }

  makeFound() {
    this.title = h("h3");
    this.sentence = h("p", { class: "sentence" });
    this.list = h("ol", { class: "data-rows", "aria-label": "First rows" });
    this.problemsHead = h("p", { class: "sentence" });
    this.problems = h("ul", { class: "data-reasons" });
    this.trouble = h("div", { class: "problems", role: "status" }, this.problemsHead, this.problems);
    this.bad = seg("Rows that cannot be used", "data-bad", [["stop", "Stop at them"], ["skip", "Skip them"]], () => {});
    this.name = h("input", { type: "text", maxlength: 80, "aria-label": "Name of the data set" });
    this.add = h("button", { type: "submit", class: "small main" }, "Add data set");
    this.finish = h("form", { class: "data-line", novalidate: true, onsubmit: (event) => { event.preventDefault(); this.make(); } },
      h("label", { class: "named" }, "Name", this.name), h("div", { class: "named" }, "Rows that cannot be used", this.bad), this.add);
    this.found = h("div", { class: "data-found", hidden: true }, this.title, this.sentence, this.makeMapping(), this.list, this.trouble, this.finish);
    return this.found;
  }

  makeMapping() {
    this.shapes = seg("What a row is", "data-shape", Object.entries(SHAPES).map(([name, { word }]) => [name, word]), (shape) => {
      this.shape(shape);
      this.map();
    });
    this.selects = {};
    this.boxes = {};
    for (const [role, word] of Object.entries(ROLES)) {
      this.selects[role] = h("select", { "aria-label": word, onchange: () => this.map() });
      this.boxes[role] = h("label", { class: "named" }, word, this.selects[role]);
    }
    this.mapping = h("details", { class: "data-mapping" }, h("summary", {}, "Which column is what"), this.shapes, h("div", { class: "data-line" }, Object.values(this.boxes)));
    return this.mapping;
  }
}
