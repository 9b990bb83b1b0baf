// The Runs tab: the open run beside the list, and the pulling of what is new. One short request at a time, about one a second,
// only while the tab is in sight; nothing is kept on the server, so a reload or a second tab shows the same.

import { curveCard } from "./curve_card.js";
import { clock, h, keyed, say, show } from "./dom.js";
import { LiveChart } from "./live_chart.js";
import { LogPart } from "./log_part.js";
import { Pins } from "./pins.js";
import { RunGroup } from "./run_group.js";
import { RunList, showState } from "./run_list.js";

const PAUSE = { live: 700, still: 1500 }; // ms between two questions
const PATIENCE = [1000, 2000, 4000, 8000, 15000]; // ms to wait after a failed one, then longer
const SURE = 4000; // ms in which a second press on Cancel ends a run for good
const MOST_POINTS = 4000; // kept here before the thinned curve is asked for again

export function mount(host) {
  new Runs(host).start();
}

class Runs {
  constructor({ element, server, trigger, plotly, job }) {
    Object.assign(this, { element, server, trigger });
    this.job = job; // the id of the open run; null: the one under way, or the newest
    this.chosen = job != null; // by a person, not by us
    this.listed = -1; // the revision the list was drawn at
    this.failures = 0;
    this.build(plotly);
  }

  start() {
    // What is live is asked for in a moment anyway.
    const wake = ({ type }) => (this.live && type === "studio:changed" ? null : this.pull());
    const open = (event) => this.open(Number(event.detail) || null, false);
    window.addEventListener("studio:job", open);
    window.addEventListener("studio:changed", wake);
    document.addEventListener("visibilitychange", wake);
    this.stop = () => {
      window.removeEventListener("studio:job", open);
      window.removeEventListener("studio:changed", wake);
      document.removeEventListener("visibilitychange", wake);
    };
    new IntersectionObserver(([seen]) => this.cameBack(seen.isIntersecting)).observe(this.element);
    this.pull();
  }

  /** A run nobody chose is chosen anew whenever the tab comes back in sight, and stays while it is looked at. */
  cameBack(inSight) {
    if (inSight && !this.chosen) this.job = null;
    if (inSight) this.pull();
  }

  // --- asking ---

  inSight() {
    return document.visibilityState === "visible" && this.element.offsetParent !== null;
  }

  async pull() {
    if (!this.element.isConnected) return this.stop();
    if (this.asking || !this.inSight() || Date.now() < (this.notBefore ?? 0)) return this.later();
    this.asking = true;
    const asked = this.job;
    try {
      const answer = await this.server.runs_state(this.question());
      if (!answer || answer.problem) throw new Error(answer?.problem ?? "");
      if (asked === this.job) this.take(answer);
      this.failures = 0;
      this.heard = new Date();
      say(this.parts.stale, this.missing ?? "");
      show(this.parts.stale, Boolean(this.missing));
    } catch (error) {
      this.failed(error);
    } finally {
      this.asking = false;
      this.later();
    }
  }

  question() {
    const full = this.chart.length > MOST_POINTS;
    return { job: this.job, listed: this.listed, series: full ? "" : this.chart.series, after: this.chart.last };
  }

  later() {
    clearTimeout(this.timer);
    if (document.visibilityState !== "visible") return; // the change back to visible asks at once
    const pause = this.failures ? PATIENCE[Math.min(this.failures, PATIENCE.length) - 1] : this.live ? PAUSE.live : PAUSE.still;
    this.timer = setTimeout(() => this.pull(), pause);
  }

  failed(error) {
    this.failures += 1;
    this.notBefore = Date.now() + PATIENCE[Math.min(this.failures, PATIENCE.length) - 1] - 50;
    const since = this.heard ? `Stale since ${clock(this.heard, true)}: ` : "";
    const reason = error.message && !/fetch|network|json/i.test(error.message) ? error.message : "the studio does not answer.";
    say(this.parts.stale, `${since}${since ? reason : reason[0].toUpperCase() + reason.slice(1)} Trying again.`);
    show(this.parts.stale, true);
  }

  /** The points of a stretch of the open run; nothing where they cannot be had, and the chart stays as it is. */
  async stretch(from, to) {
    try {
      const { series, columns } = await this.server.runs_stretch({ job: this.run.id, from, to });
      return series === this.chart.series ? columns : null;
    } catch {
      return null;
    }
  }

  /** What is new of the curves of a grid; nothing where it cannot be had, and the chart stays as it is. */
  async curvesOfGroup(question) {
    const answer = await this.server.group_curves(question).catch(() => null);
    return answer?.problem ? null : answer;
  }

  // --- showing ---

  take({ revision, open, curve, missing, ...listed }) {
    if (missing) Object.assign(this, { missing, job: null, chosen: false }); // the address named a run that is not there
    this.listed = revision;
    this.list.show(listed);
    this.live = Boolean(open?.live || open?.waiting);
    show(this.parts.empty, !open);
    show(this.list.element, Boolean(open));
    show(this.parts.run, Boolean(open));
    if (open) this.showRun(open, curve);
    this.job ??= open?.id ?? null;
    this.list.markOpen(open?.id);
  }

  showRun(open, curve) {
    const { parts } = this;
    if (this.shown !== open.id) this.forget(open.id);
    this.run = open;
    say(parts.name, open.name);
    showState(parts.pill, open);
    say(parts.sentence, open.sentence);
    say(parts.about, open.about);
    this.showProgress(open);
    keyed(parts.figures, open.figures, makeFigure, updateFigure);
    this.showButtons(open);
    show(parts.curve, open.train && (open.state !== "queued" || this.chart.length > 0) );
    if (open.train) this.showCurve(open, curve);
    this.group.show(open.group, open.id);
    this.pins.show(open.checkpoints);
    this.log.show(open);
  }

  forget(id) {
    this.shown = id;
    this.sure(false);
    this.moreAsked(false);
    say(this.parts.told, "");
  }

  showProgress({ share, live, name }) {
    const { progress } = this.parts;
    show(progress, share != null && live);
    const percent = Math.round((share ?? 0) * 100);
    // Rounded, so that in a long run the bar seldom moves: each move is drawn in many small ones.
    progress.firstChild.style.width = `${((share ?? 0) * 100).toFixed(1)}%`;
    progress.setAttribute("aria-valuenow", percent);
    progress.setAttribute("aria-label", `Progress of ${name}`);
  }

  showButtons({ live, waiting, stopping, train, adapter, again, retry, more, state, pause, grid, go_on: goOn }) {
    const { buttons } = this.parts;
    show(buttons.keep, live && train && !stopping);
    show(buttons.pause, pause);
    show(buttons.cancel, waiting || (live && !stopping) || goOn != null);
    show(buttons.compare, adapter != null);
    show(buttons.grid, grid.length > 1);
    show(buttons.library, adapter != null);
    show(buttons.again, again && train);
    show(buttons.change, train);
    show(buttons.more, more != null);
    if (more == null) this.moreAsked(false);
    else say(this.parts.epochsSay, more.says);
    show(buttons.retry, retry);
    const ended = state === "completed" || state === "stopped" ? "Train again" : "Try again";
    say(buttons.again, goOn != null ? "Continue" : ended);
  }

  showCurve(open, curve) {
    const { chart, parts } = this;
    const another = chart.series !== curve.series;
    if (another) chart.clear(curve.series, open.steps);
    const steps = chart.steps;
    chart.steps = open.steps;
    if (curve.reset) chart.replace(curve.columns);
    else chart.add(curve.columns);
    parts.plot.setAttribute("aria-label", `Loss of ${open.name}. ${open.sentence}`);
    parts.csv.href = `/download/metrics/${open.id}.csv`;
    const broke = chart.broke !== open.broke;
    chart.broke = open.broke;
    if (another || broke || steps !== open.steps) chart.draw();
    else if (curve.columns.step.length) chart.grow();
  }

  // --- doing ---

  open(id, told) {
    this.chosen = id != null;
    if (id !== this.job || this.shown !== id) {
      this.job = id;
      this.missing = "";
      this.notBefore = 0;
      if (id != null) this.list.markOpen(id);
      this.pull();
    }
    if (told) this.trigger("job_open", { id });
  }

  sure(asked) {
    clearTimeout(this.unsure);
    this.asked = asked;
    const all = this.pins.any ? "Discard all but what is pinned?" : "Discard this run?";
    say(this.parts.buttons.cancel, asked ? all : "Cancel");
    if (asked) this.unsure = setTimeout(() => this.sure(false), SURE);
  }

  cancel() {
    // What runs may be hours of work: the same button asks once more, in place. What only waits can simply go.
    if ((this.run.live || this.run.go_on != null) && !this.asked) return this.sure(true);
    this.sure(false);
    this.ask("stop_run", { job: this.run.id, how: "cancel" });
  }

  moreAsked(open) {
    const { epochs, epochsForm, buttons } = this.parts;
    if (epochsForm.hidden === !open) return;
    show(epochsForm, open);
    buttons.more.setAttribute("aria-expanded", String(open));
    if (!open) return;
    epochs.value = this.run.more.epochs;
    epochs.focus();
    epochs.select();
  }

  moreEpochs(event) {
    event.preventDefault();
    this.moreAsked(false);
    this.ask("more_epochs", { job: this.run.id, epochs: this.parts.epochs.value, key: once() });
  }

  async ask(name, question) {
    const { told } = this.parts;
    try {
      const answer = await this.server[name](question);
      say(told, answer?.problem ?? "");
      if (answer?.open) this.open(answer.open, true);
    } catch {
      say(told, "The studio does not answer. Try again.");
    }
    this.pull();
  }

  // --- building ---

  build(plotly) {
    const parts = (this.parts = {});
    parts.buttons = this.makeButtons();
    this.list = new RunList((name, question) => this.ask(name, question), (id) => this.open(id, true));
    parts.empty = this.makeEmpty();
    this.group = new RunGroup((id) => this.open(id, true), (question) => this.curvesOfGroup(question), plotly);
    this.pins = new Pins((checkpoint, on) => this.ask("pin_checkpoint", { checkpoint, on }));
    this.log = new LogPart((question) => this.server.runs_log(question));
    parts.run = h("div", { class: "open-run", hidden: true }, this.makeHead(), curveCard(parts), this.group.element, this.pins.element, this.log.element);
    parts.stale = h("p", { class: "stale-line", role: "status", hidden: true });
    this.element.replaceChildren(h("div", { class: "runs" }, this.list.element, h("div", {}, parts.stale, parts.empty, parts.run)));
    this.chart = new LiveChart(parts, plotly, (from, to) => this.stretch(from, to));
    this.element.querySelectorAll(".seg").forEach((seg) => this.bindChoice(seg));
  }

  makeButtons() {
    const button = (label, kind, act) => h("button", { type: "button", class: `small ${kind}`, hidden: true, onclick: act }, label);
    const hand = (name) => () => this.trigger(name, { adapter: this.run.adapter });
    return {
      compare: button("Compare with the base", "main", hand("compare")),
      grid: button("Compare the grid", "", () => this.trigger("compare", { adapters: this.run.grid })),
      library: button("Show in library", "", hand("show_adapter")),
      again: button("Train again", "", () => this.ask("train_again", { job: this.run.id, key: once() })),
      change: button("Change and train", "", () => this.trigger("change_run", { job: this.run.id })),
      more: button("More epochs", "", () => this.moreAsked(this.parts.epochsForm.hidden)),
      retry: button("Retry", "main", () => this.ask("retry", { job: this.run.id })),
      pause: button("Pause", "", () => this.ask("stop_run", { job: this.run.id, how: "pause" })),
      keep: button("Stop and keep", "", () => this.ask("stop_run", { job: this.run.id, how: "keep" })),
      cancel: button("Cancel", "", () => this.cancel()),
    };
  }

  makeEmpty() {
    return h("div", { class: "empty-place", hidden: true }, h("h2", {}, "No runs yet"),
      h("p", {}, "Pick a base and data under Train and press Start. The curve appears here from the first step."),
      h("button", { type: "button", class: "small main", onclick: () => this.trigger("go_train", {}) }, "Go to Train"));
  }

  makeHead() {
    const { parts } = this;
    parts.name = h("h2", { class: "open-name" });
    parts.pill = h("span", { class: "pill" });
    parts.sentence = h("p", { class: "sentence" });
    parts.about = h("p", { class: "about" });
    parts.told = h("p", { class: "problems", role: "alert" });
    parts.progress = h("div", { class: "progress", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, h("span"));
    parts.figures = h("dl", { class: "figures" });
    const buttons = h("div", { class: "buttons" }, Object.values(parts.buttons));
    return h("section", { class: "card head-card" },
      h("div", { class: "open-head" }, h("div", { class: "open-title" }, parts.name, parts.pill), buttons),
      parts.sentence, this.makeMore(), parts.progress, parts.figures, parts.about, parts.told);
  }

  makeMore() {
    const { parts } = this;
    parts.epochs = h("input", { type: "number", min: 1, max: 1000, step: 1, required: true });
    parts.epochsSay = h("p", { class: "help" });
    parts.buttons.more.setAttribute("aria-expanded", "false");
    const close = h("button", { type: "button", class: "small", onclick: () => this.moreAsked(false) }, "Close");
    return (parts.epochsForm = h("form", { class: "more-epochs", hidden: true, novalidate: true, onsubmit: (event) => this.moreEpochs(event) },
      h("label", {}, "More epochs ", parts.epochs), h("button", { type: "submit", class: "small" }, "Train on"), close, parts.epochsSay));
  }

  bindChoice(seg) {
    seg.addEventListener("change", (event) => this.chart.choose(seg.dataset.what, event.target.value));
  }
}

/** A key for one wish: asking twice with it is asking once. */
function once() {
  return crypto.randomUUID?.() ?? String(Math.random());
}

function makeFigure() {
  return h("div", { class: "figure" }, h("dt", { class: "what" }), h("dd", { class: "value" }, h("span"), h("span", { class: "unit" })));
}

function updateFigure(node, figure) {
  const [value, unit] = node.lastChild.children;
  say(node.firstChild, figure.key);
  say(value, figure.value);
  value.classList.toggle("to-come", figure.value === "–");
  say(unit, figure.unit ? ` ${figure.unit}` : "");
}
