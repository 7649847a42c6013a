// The hosted end of the bridge: bpnet in Pyodide, in a worker.
const ready = (async () => {
  const base = new URL(self.location.search.slice(1), self.location.href);
  postMessage({ loading: "Python ..." });
  const { loadPyodide } = await import(new URL("pyodide.mjs", base));
  const python = await loadPyodide({ indexURL: base.href });
  postMessage({ loading: "NumPy ..." });
  await python.loadPackage("numpy", { messageCallback: () => {} });
  postMessage({ loading: "bpnet ..." });
  const wheel = await fetch(new URL("bpnet.zip", self.location.href));
  python.unpackArchive(await wheel.arrayBuffer(), "zip", { extractDir: "/lib/bpnet" });
  python.runPython("import sys; sys.path.insert(0, '/lib/bpnet')");
  const made = {
    answer: python.pyimport("bpnet.page.answers").answer,
    own: python.runPython(
      "import json; from bpnet.page.own import judge; lambda code: json.dumps(judge(code))",
    ),
  };
  postMessage({ loading: "" });
  return made;
})();

onmessage = async ({ data }) => {
  try {
    const { answer, own } = await ready;
    postMessage(JSON.parse(data.do === "own" ? own(data.code) : answer(JSON.stringify(data))));
  } catch (error) {
    postMessage({ error: String(error) });
  }
};
