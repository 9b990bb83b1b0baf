// The line under the tabs: what the data folder takes, freeing what nothing needs, and a notice of this browser when a run
// has ended. Nothing is asked of the studio before the line is opened, unless notices were switched on.

import { h, keyed, say, show } from "./dom.js";

const KEY = "lora-studio-notices";
const LOOK = 5000; // ms between two looks for runs that have ended; browsers make it longer out of sight

export function mount({ element, server }) {
  element.append(new Upkeep(server).build());
}

class Upkeep {
  constructor(server) {
    this.server = server;
    this.kinds = new Set(); // chosen to go
    this.newest = -1; // the newest event known
    this.heard = null; // what listens to the pulse
  }

  async ask(name, question = {}) {
    try {
      const answer = await this.server[name](question);
      if (!answer?.problem) return answer;
      say(this.told, answer.problem);
    } catch {
      say(this.told, "The studio does not answer. Try again.");
    }
    return null;
  }

  build() {
    this.rows = h("tbody");
    this.sum = h("p", { class: "help" });
    this.trash = h("p", { class: "help" });
    this.free = h("button", { type: "button", class: "small", onclick: () => this.confirm(true) }, "Free space");
    this.sure = h("button", { type: "button", class: "small", onclick: () => this.go() }, "");
    this.keep = h("button", { type: "button", class: "small", onclick: () => this.confirm(false) }, "Keep it");
    this.question = h("div", { class: "upkeep-row", role: "group", hidden: true }, (this.asks = h("p")), this.sure, this.keep);
    this.told = h("p", { class: "help", role: "status" });
    this.box = h("input", { type: "checkbox", id: "notify-here", onchange: () => this.notify() });
    this.others = h("p", { class: "help" });
    const table = h("table", { class: "quiet" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "What"), h("th", { scope: "col", class: "number" }, "Takes"), h("th", { scope: "col" }, "Can go"))), this.rows);
    const room = h("section", {}, h("h2", {}, "Room on the disk"), table, this.sum, this.trash, h("div", { class: "upkeep-row" }, this.free), this.question, this.told);
    const notices = h("section", {}, h("h2", {}, "When a run has ended"),
      h("label", { class: "auto-resume" }, this.box, "Tell me in this browser, while a tab of the studio is open"), this.others);
    const details = h("details", { class: "upkeep" }, h("summary", {}, "Disk and notices"), h("div", { class: "card upkeep-card" }, room, notices));
    details.addEventListener("toggle", () => (details.open ? this.look() : null));
    this.resume();
    return details;
  }

  // --- the disk ---

  async look() {
    const answer = await this.ask("disk_use");
    if (!answer) return;
    const going = answer.uses.filter((use) => use.free);
    this.kinds = new Set([...this.kinds].filter((kind) => going.some((use) => use.what === kind)));
    keyed(this.rows, answer.uses.map((use) => ({ key: use.what, ...use })), (use) => this.row(use), (node, use) => this.update(node, use));
    say(this.sum, `${answer.together} together. ${answer.stays}`);
    say(this.trash, answer.trash ? `In the trash, from where it can still be brought back: ${answer.trash}.` : "");
    say(this.others, answer.told);
    this.press();
  }

  row({ what }) {
    const box = h("input", { type: "checkbox", "aria-label": `Free ${what}`, onchange: () => this.choose(what, box.checked) });
    return h("tr", {}, h("td", { class: "name" }, what), h("td", { class: "number" }), h("td", {}, h("label", { class: "auto-resume" }, box, h("span"))));
  }

  update(node, { what, size, free, why }) {
    const [, takes, goes] = node.children;
    say(takes, size);
    show(goes.firstChild, Boolean(free));
    goes.firstChild.firstChild.checked = this.kinds.has(what);
    say(goes.firstChild.lastChild, free ? `${free}: ${why}` : "");
  }

  choose(what, on) {
    if (on) this.kinds.add(what);
    else this.kinds.delete(what);
    this.confirm(false);
  }

  press() {
    this.free.disabled = !this.kinds.size || !this.question.hidden;
  }

  confirm(asked) {
    const kinds = [...this.kinds].join(", ");
    show(this.question, asked);
    say(this.asks, this.kinds.has("trash") ? `Delete ${kinds}? What was in the trash cannot be brought back.` : `Delete ${kinds}? Nothing needs it now.`);
    say(this.sure, `Delete ${kinds}`);
    this.press();
    if (asked) this.sure.focus();
  }

  async go() {
    const kinds = [...this.kinds];
    this.confirm(false);
    const answer = await this.ask("free_space", { kinds });
    if (answer) say(this.told, answer.says);
    await this.look();
  }

  // --- notices ---

  /** The person is asked for the permission only here, after a press. */
  async notify() {
    const wanted = this.box.checked;
    if (wanted && !("Notification" in window)) say(this.others, "This browser shows no notices for this address.");
    const allowed = wanted && "Notification" in window && (await Notification.requestPermission()) === "granted";
    if (wanted && !allowed && "Notification" in window) say(this.others, "The browser does not allow it: allow notifications for this address in its settings.");
    this.box.checked = allowed;
    remember(allowed);
    this.follow();
  }

  resume() {
    this.box.checked = remembered() && "Notification" in window && Notification.permission === "granted";
    this.follow();
  }

  follow() {
    this.newest = -1;
    window.removeEventListener("studio:changed", this.heard);
    clearTimeout(this.timer);
    if (!this.box.checked) return;
    // In sight the pulse of the page tells at once; out of sight it rests, and the studio is asked now and then.
    this.heard = ({ detail }) => (detail.topics.includes("jobs") ? this.hear() : null);
    window.addEventListener("studio:changed", this.heard);
    this.hear();
  }

  async hear() {
    clearTimeout(this.timer);
    const answer = await this.server.run_ends({ after: this.newest }).catch(() => null);
    if (answer && !answer.problem) {
      for (const end of answer.ends) if (end.event > this.newest) tellOf(end);
      this.newest = Math.max(this.newest, answer.newest);
    }
    clearTimeout(this.timer);
    if (this.box.checked && this.box.isConnected) this.timer = setTimeout(() => this.hear(), LOOK);
  }
}

/** The tag makes one notice of those of several tabs. */
function tellOf({ event, job, name, says }) {
  const notice = new Notification(name, { body: says, tag: `lora-studio-${event}` });
  notice.onclick = () => {
    window.focus();
    location.search = `?tab=runs&job=${job}`;
  };
}

function remembered() {
  try {
    return localStorage.getItem(KEY) === "on";
  } catch {
    return false;
  }
}

function remember(on) {
  try {
    on ? localStorage.setItem(KEY, "on") : localStorage.removeItem(KEY);
  } catch {
    /* a browser without storage forgets the choice */
  }
}
