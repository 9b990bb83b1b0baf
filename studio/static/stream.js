// Gradio reads all answers of its queue from one stream, and closes it when the server says that none is left to come.
// A question that was taken while those words were on their way is then never answered: a press is lost. Here the
// stream goes on for as long as an answer is owed, and no longer: an open stream takes one of the six connections that a
// browser has for all its tabs. Stopping an answer closes the stream as well, once the server has stopped: a question
// asked in between would never be answered either, so it waits until then. It knows the queue's messages and nothing of
// what they are about.
(() => {
  const plain = window.fetch.bind(window), bytes = new TextEncoder();
  let asking = 0;             // questions on their way
  const waiting = [];         // who waits until one of them has arrived
  const owed = new Set();     // questions that were taken and have no answer yet
  const early = new Set();    // answers that came before the word that their question was taken
  let closed = Promise.resolve(); // when the client has closed its stream, if it is about to
  const turn = () => new Promise((over) => setTimeout(over)); // what was said before has been heard by then

  window.fetch = (resource, options) => {
    const path = new URL(resource.url ?? resource, document.baseURI).pathname;
    if (path.endsWith('/queue/join')) return ask(resource, options);
    if (path.endsWith('/cancel')) return stop(resource, options);
    return path.endsWith('/queue/data') ? listen(resource, options) : plain(resource, options);
  };

  async function ask(resource, options) {
    asking += 1;
    try {
      await closed;
      const answer = await plain(resource, options);
      const id = answer.ok && (await answer.clone().json()).event_id;
      if (id && !early.delete(id)) owed.add(id);
      return answer;
    } finally {
      asking -= 1;
      waiting.splice(0).forEach((go) => go());
    }
  }

  function stop(resource, options) {
    owed.delete(JSON.parse(options.body).event_id);
    const answer = plain(resource, options);
    closed = Promise.allSettled([closed, answer]).then(turn);
    return answer;
  }

  // Questions on their way may have been answered already.
  async function isOwed() {
    while (asking && !owed.size) await new Promise((go) => waiting.push(go));
    return owed.size > 0;
  }

  async function listen(resource, options) {
    // The client asks for a stream when it hears that a question was taken, which may be after the answer.
    const first = await isOwed() ? await plain(resource, options) : new Response('');
    if (!first.ok) return first;
    const said = goingOn(first, () => plain(resource, options));
    const body = new ReadableStream({
      async pull(out) {
        const {done, value} = await said.next();
        done ? out.close() : out.enqueue(bytes.encode(value + '\n\n'));
      },
      cancel: () => said.return(),
    });
    return new Response(body, {status: first.status, headers: first.headers});
  }

  async function* goingOn(stream, again) {
    let last = 'data: {"msg": "close_stream"}';
    while (stream.ok) {
      try {
        for await (const message of messages(stream)) {
          const {msg, event_id: id} = JSON.parse(message.replace(/^data:/, ''));
          if (msg === 'process_completed' && !owed.delete(id)) early.add(id);
          if (msg === 'close_stream') last = message; else yield message;
        }
      } catch (error) {
        owed.clear(); // a server that is gone answers nothing
        throw error;
      }
      if (!await isOwed()) break;
      stream = await again();
    }
    owed.clear();
    closed = Promise.all([closed, turn()]);
    yield last;
  }

  async function* messages(stream) {
    const reader = stream.body.pipeThrough(new TextDecoderStream()).getReader();
    try {
      for (let rest = '';;) {
        const {done, value} = await reader.read();
        if (done) return;
        const parts = (rest + value).split('\n\n');
        rest = parts.pop();
        yield* parts;
      }
    } finally { reader.cancel().catch(() => {}) }
  }
})();
