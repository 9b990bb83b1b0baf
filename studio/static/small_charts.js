// The four small charts under the loss of a run: its learning rate, gradient norm, speed and memory, a line and the newest
// value each. Knows nothing about runs.

import { digits, gigabytes, rate, say, show, whole } from "./dom.js";

const MOST_POINTS = 100;
const FORMATS = { learning_rate: rate, gradient_norm: digits, tokens_per_second: whole, memory_bytes: gigabytes };

/** `small`: the elements of each, {box, line, value}; `columns`: of the run; `end`: the last step of the axis. */
export function drawSmall(small, columns, end) {
  const steps = columns.step ?? [];
  for (const [name, format] of Object.entries(FORMATS)) {
    const { box, line, value } = small[name];
    const values = columns[name] ?? [];
    const last = values.findLast((one) => one != null);
    show(box, name !== "memory_bytes" || last != null || steps.length === 0);
    say(value, format(last));
    line.setAttribute("points", points(steps, values, end));
  }
}

/** An SVG polyline's points in a 240 by 44 box: x along the whole run, y from 0 (or the least value) to the greatest. */
function points(steps, values, end) {
  const shown = averaged(steps, values);
  if (shown.length === 0) return "";
  const high = Math.max(...shown.map(([, value]) => value));
  const low = Math.min(0, ...shown.map(([, value]) => value));
  const scale = high > low ? 40 / (high - low) : 0;
  return shown.map(([step, value]) => `${((step / end) * 240).toFixed(1)},${(42 - (value - low) * scale).toFixed(1)}`).join(" ");
}

/** At most MOST_POINTS means of neighbours as [step, value]: a line 240 px wide has no room for more. */
function averaged(steps, values) {
  const known = steps.map((step, i) => [step, values[i]]).filter(([, value]) => value != null);
  const size = Math.ceil(known.length / MOST_POINTS);
  const groups = Array.from({ length: Math.ceil(known.length / (size || 1)) }, (_, i) => known.slice(i * size, (i + 1) * size));
  return groups.map((group) => [group.at(-1)[0], group.reduce((sum, [, value]) => sum + value, 0) / group.length]);
}
