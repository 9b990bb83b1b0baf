// What all charts of the studio have in common: Plotly, fetched once; the colours of the theme; one drawing at a time, made
// anew when the theme or the width changes. Knows nothing about what is drawn.

import { say } from "./dom.js";

const NAMES = { s1: "--s1", s2: "--s2", surface: "--surface", line: "--line", line2: "--line-2", ink: "--ink", ink2: "--ink-2", ink3: "--ink-3" };
export const SETTINGS = { displayModeBar: false, doubleClick: false, scrollZoom: false, showTips: false };

let library; // Plotly is 4.8 MB: fetched once, when the first chart is seen

export function plotly(url) {
  library ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = url;
    script.onload = () => done(window.Plotly);
    script.onerror = () => {
      library = undefined;
      script.remove();
      failed(new Error("The chart could not be loaded."));
    };
    document.head.append(script);
  });
  return library;
}

/** A colour of the theme as it is at `node`, by its name in CSS. */
export function colour(node, name) {
  return getComputedStyle(node).getPropertyValue(name).trim() || "#777";
}

export function colours(node) {
  return Object.fromEntries(Object.entries(NAMES).map(([key, name]) => [key, colour(node, name)]));
}

/** The layout that every chart begins with, in parts to be added to: {layout, xaxis, yaxis}; layout.font is its font. */
export function frame(ink, width) {
  const font = { family: "Inter, system-ui, sans-serif", size: 12, color: ink.ink3 };
  const clear = "rgba(0,0,0,0)";
  return {
    layout: {
      width, font, showlegend: false, separators: ".,", paper_bgcolor: clear, plot_bgcolor: clear,
      hoverlabel: { bgcolor: ink.surface, bordercolor: ink.line2, font: { ...font, color: ink.ink2 } },
    },
    xaxis: {
      showgrid: false, zeroline: false, ticks: "outside", ticklen: 4, nticks: width < 520 ? 5 : 9, tickcolor: ink.line2,
      linecolor: ink.line2, showline: true, separatethousands: true,
    },
    yaxis: { nticks: 5, gridcolor: ink.line, zeroline: false },
  };
}

/** As many decimals as the lines of the grid need to differ. */
export function decimals([low, high]) {
  const span = high - low;
  return span > 0.8 ? ".1f" : span > 0.08 ? ".2f" : ".3f";
}

/** A chart of losses by steps. What it shows is what `empty` and `figure(width)` of its kind say. */
export class Chart {
  /** `plot`: the element it is drawn into; `url`: where Plotly is. */
  constructor(plot, url) {
    Object.assign(this, { plot, url, drawn: false });
    new MutationObserver(() => this.draw()).observe(document.body, { attributes: true, attributeFilter: ["class"] });
    new ResizeObserver(() => this.draw()).observe(plot);
  }

  get inSight() {
    return this.plot.isConnected && this.plot.clientWidth > 0;
  }

  /** Draw what is known, once it is in sight. Calls during a drawing are put together into one more. */
  async draw() {
    if (this.empty || !this.inSight) return;
    if (this.busy) return void (this.again = true);
    this.busy = true;
    try {
      const Plotly = await plotly(this.url);
      if (!this.empty && this.inSight) await this.paint(Plotly);
    } catch (error) {
      if (!this.drawn) say(this.plot, `${error.message} Reload the page to try again.`);
    } finally {
      this.busy = false;
    }
    if (this.again) {
      this.again = false;
      this.draw();
    }
  }

  async paint(Plotly) {
    this.ink = colours(this.plot);
    const { traces, layout } = this.figure(this.plot.clientWidth);
    if (!this.drawn) this.plot.replaceChildren();
    await Plotly.react(this.plot, traces, layout, SETTINGS);
    this.drawn = true;
  }
}
