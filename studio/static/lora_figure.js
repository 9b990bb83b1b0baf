// Draws W + alpha/r · B · A to one scale, and says the counts beside it. Pure functions of a few numbers:
// {r, a, O, I, layer, perRank, fixed, bytesPerRank, bytesFixed, parameters}. Nothing is asked of the server.
(() => {
  const esc = text => String(text).replace(/[&<>"'`$]/g, c => '&#' + c.charCodeAt(0) + ';');
  const whole = n => Math.round(n).toLocaleString('en-US');
  const three = n => String(Number(n.toPrecision(3)));
  const percent = share => `${three(Number((100 * share).toPrecision(2)))}\u00a0%`;
  const known = v => v && v.O > 0 && v.I > 0 && v.r > 0 && Number.isFinite(v.a);

  function size(bytes) {
    if (bytes >= 1e9) return (bytes / 1e9).toFixed(2) + ' GB';
    if (bytes >= 1e6) return (bytes / 1e6).toFixed(1) + ' MB';
    return Math.max(1, Math.round(bytes / 1e3)) + ' kB';
  }

  // What the sentence says about the strength alpha / r: null while it is usual.
  function strength(ratio) {
    if (ratio > 4) return `Alpha is ${three(ratio)} times r: strong. Lower it, or the learning rate.`;
    if (ratio < 0.5) return `Alpha is ${three(ratio)} times r: weak. The adapter may hardly be heard.`;
    return null;
  }

  function sentence(v) {
    const trained = v.r * (v.O + v.I), frozen = v.O * v.I;
    if (trained >= frozen)
      return `At rank ${whole(v.r)} B and A hold as many numbers as W itself. A lower rank does the same for less.`;
    const first = `${v.layer}: ${whole(trained)} trained numbers beside ${whole(frozen)} frozen ones (${percent(trained / frozen)}).`;
    return [first, strength(v.a / v.r)].filter(Boolean).join(' ');
  }

  const text = (x, y, words, kind = 'dim', extra = '') =>
    `<text x="${x}" y="${y}" class="${kind}" text-anchor="middle" ${extra}>${words}</text>`;
  const turned = (x, y, words) => text(x, y, words, 'dim', `transform="rotate(90 ${x} ${y})" dominant-baseline="central"`);

  window.loraFigure = v => {
    if (!known(v)) return '<p class="lora-figure empty-figure help">The adapter is drawn here as soon as there is a base model.</p>';
    const scale = Math.min(112 / Math.max(v.O, v.r), 128 / Math.max(v.I, v.r));
    const high = v.O * scale, wide = v.I * scale, thin = Math.max(2, v.r * scale);
    const tall = Math.max(high, 30), top = 18, middle = top + tall / 2, odd = strength(v.a / v.r) !== null;
    const parts = [];
    let x = 1;
    parts.push(`<rect x="${x}" y="${middle - high / 2}" width="${wide}" height="${high}" rx="3" class="frozen"/>`);
    parts.push(text(x + wide / 2, middle - high / 2 - 6, whole(v.I)), turned(x + wide + 14, middle, whole(v.O)));
    parts.push(text(x + wide / 2, wide > 56 ? middle - 2 : middle + 5, 'W', 'part'));
    if (wide > 56) parts.push(text(x + wide / 2, middle + 15, 'frozen', 'dim'));
    x += wide + 36;
    parts.push(text(x, middle + 5, '+', 'sign'));
    x += 14;
    parts.push(`<rect x="${x}" y="${middle - 15}" width="46" height="30" rx="6" class="chip${odd ? ' odd' : ''}"/>`);
    parts.push(text(x + 23, middle + 5, three(v.a / v.r), odd ? 'part odd' : 'part'), text(x + 23, middle + 31, 'alpha / r'));
    x += 62;
    parts.push(`<rect x="${x}" y="${middle - high / 2}" width="${thin}" height="${high}" rx="${Math.min(3, thin / 2)}" class="trained"/>`);
    parts.push(text(x + thin / 2, middle - high / 2 - 6, whole(v.r)), text(x + thin / 2, middle + high / 2 + 15, 'B', 'part'));
    x += thin + 14;
    parts.push(text(x, middle + 4, '·', 'sign'));
    x += 12;
    parts.push(`<rect x="${x}" y="${middle - thin / 2}" width="${wide}" height="${thin}" rx="${Math.min(3, thin / 2)}" class="trained"/>`);
    parts.push(text(x + wide / 2, middle - thin / 2 - 6, whole(v.I)), text(x + wide / 2, middle + thin / 2 + 15, 'A', 'part'));
    x += wide + 14;
    parts.push(turned(x, middle, whole(v.r)));
    const width = Math.ceil(x + 10), height = 150;
    const words = esc(sentence(v)) + (v.r * scale < 2 ? ' <span class="dim">B and A are drawn thicker than they are.</span>' : '');
    return `<figure class="lora-figure"><svg width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img"
      aria-label="W plus alpha over r times B times A. ${esc(sentence(v))}">${parts.join('')}</svg><figcaption class="sentence">${words}</figcaption></figure>`;
  };

  const trained = v => v.fixed + v.r * v.perRank;

  window.loraHead = v => {
    const share = known(v) && v.parameters ? `, ${percent(trained(v) / v.parameters)} of the model` : '';
    const fact = known(v) ? `${whole(trained(v))} trained numbers${share}` : '';
    return `<div class="card-head"><h2>Adapter</h2><span class="fact" id="trained-count">${fact}</span></div>`;
  };

  window.loraSize = v => {
    const count = known(v) ? whole(trained(v)) : '–';
    const file = known(v) ? size(v.bytesFixed + v.r * v.bytesPerRank) : '–';
    return `<dl class="facts"><dt>Trained numbers</dt><dd>${count}</dd><dt>Adapter file</dt><dd>${file}</dd></dl>`;
  };

  window.loraLive = (r, a, shape) => {
    const value = {...(shape || {}), r: Number(r), a: Number(a)};
    return [value, value, value];
  };

  // One ticket for one intent: pressing Start twice in a moment with the same values asks for the same run.
  let last = {said: '', at: 0, ticket: ''};
  window.studioTicket = values => {
    const said = JSON.stringify(values.slice(0, -1)), now = Date.now();
    const same = said === last.said && now - last.at < 2000;
    const ticket = same ? last.ticket : [...crypto.getRandomValues(new Uint8Array(16))].map(b => b.toString(16).padStart(2, '0')).join('');
    last = {said, at: now, ticket};
    return [...values.slice(0, -1), ticket];
  };
})();
