// The calm line through a noisy curve. Numbers in, numbers out: knows nothing of charts.

/** Two-sided Gaussian over steps, renormalised at the ends. A running average would lag behind the start. */
export function smooth(steps, values, weights, sigma) {
  const result = new Array(values.length).fill(null);
  let from = 0;
  for (let i = 0; i < values.length; i++) {
    if (values[i] == null) continue;
    while (steps[i] - steps[from] > 3 * sigma) from++;
    let sum = 0;
    let total = 0;
    for (let j = from; j < values.length && steps[j] - steps[i] <= 3 * sigma; j++) {
      if (values[j] == null) continue;
      const weight = weights[j] * Math.exp(-0.5 * ((steps[j] - steps[i]) / sigma) ** 2);
      sum += weight * values[j];
      total += weight;
    }
    result[i] = total > 0 ? sum / total : values[i];
  }
  return result;
}

/** The values of a line at other steps, in order, drawn straight between the points it has. */
export function between(steps, values, at) {
  const known = steps.map((step, i) => [step, values[i]]).filter(([, value]) => value != null);
  let i = 0;
  return at.map((step) => {
    while (i < known.length && known[i][0] < step) i++;
    const [[before, low], [after, high]] = [known[i - 1] ?? known[i] ?? [], known[i] ?? known[i - 1] ?? []];
    return before === after ? (low ?? null) : low + ((high - low) * (step - before)) / (after - before);
  });
}
