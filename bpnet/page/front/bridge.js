// The bridge to bpnet, with two ends: the local server, or a worker in which Pyodide runs.
async function local(request) {
  const reply = await fetch("call", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(request),
  });
  return reply.json();
}

function start(told) {
  const pyodide = document.documentElement.dataset.end;
  const worker = new Worker(`worker.js?${pyodide}`, { type: "module" }),
    waiting = [];
  worker.onmessage = ({ data }) => ("loading" in data ? told(data.loading) : waiting.shift()(data));
  worker.onerror = (event) => waiting.shift()?.({ error: event.message });
  const ask = (request) =>
    new Promise((done) => {
      waiting.push(done);
      worker.postMessage(request);
    });
  return { ask, end: () => worker.terminate() };
}

// Somebody's own code runs in another worker, which is ended when its time is over.
async function apart(request, told, seconds = 10) {
  const { ask, end } = start(told);
  await ask({ do: "view" });
  const late = new Promise((done) =>
    setTimeout(done, seconds * 1000, {
      ok: false,
      own: `stopped after ${seconds} seconds: is there an endless loop?`,
    }),
  );
  const reply = await Promise.race([ask(request), late]);
  end();
  return reply;
}

export function connect(told) {
  if (document.documentElement.dataset.end === "local") return local;
  const { ask } = start(told);
  return (request) => (request.do === "own" ? apart(request, told) : ask(request));
}
