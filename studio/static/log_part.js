// The log of the open run: a closed part under its curve, which asks only while it is open and what runs is in sight.

import { h, say, show } from "./dom.js";

const MOST = 200_000; // characters kept on the page; the file has the rest

export class LogPart {
  /** `ask` takes a question and gives the server's answer. */
  constructor(ask) {
    this.ask = ask;
    this.text = document.createTextNode("");
    this.box = h("pre", { class: "log-text", tabindex: 0, "aria-label": "Log" }, this.text);
    this.note = h("p", { class: "help" });
    this.file = h("a", { class: "quiet-link", download: true }, "Download");
    this.element = h("details", { class: "card log-part", ontoggle: () => this.pull() },
      h("summary", {}, "Log"), h("div", { class: "log-head" }, this.note, this.file), this.box);
  }

  /** The run that is open, as the page has just heard of it. */
  show({ id, live }) {
    if (id !== this.job) this.clear(id);
    // Once more after the end: what a worker says last comes when it is over.
    const due = live || this.live;
    this.live = live;
    if (due) this.pull();
  }

  clear(job) {
    Object.assign(this, { job, end: 0, live: false, cut: false });
    this.text.data = "";
    say(this.note, "");
    this.file.href = `/download/log/${job}.txt`;
    this.pull();
  }

  async pull() {
    if (!this.element.open || this.asking || this.job == null) return;
    const { job, end } = this;
    this.asking = true;
    try {
      const answer = await this.ask({ job, after: end });
      if (job === this.job && end === this.end && answer && !answer.problem) this.take(answer);
    } catch {
      // The page says by itself that the studio does not answer; the next look asks again.
    } finally {
      this.asking = false;
    }
  }

  take({ text, end, left_out: leftOut }) {
    const { box } = this;
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    this.end = end;
    if (text) this.text.appendData(text);
    const over = this.text.length - MOST;
    if (over > 0) this.text.deleteData(0, over);
    this.cut ||= leftOut > 0 || over > 0;
    say(this.note, this.cut ? "The newest lines; the download has all." : this.text.length ? "" : "Nothing is logged yet.");
    show(box, this.text.length > 0);
    if (atEnd) box.scrollTop = box.scrollHeight;
  }
}
