/* Page.state: what the reader has chosen. It stands in the address behind #, so that a link shares it. */
(() => {
  "use strict";
  const { run } = Page;
  const listeners = [];
  const known = (name) => name in run.metric;
  const state = { x: "", y: "", logx: false, logy: false, failed: false, budget: {}, filter: new Map(), only: "", errors: "", picked: [], card: -1 };
  const defaults = { x: run.costs.find(known) ?? run.metrics.find((metric) => metric.name !== run.quality)?.name ?? run.quality, y: run.quality };

  function read() {
    const told = new URLSearchParams(window.location.hash.slice(1));
    state.x = known(told.get("x")) ? told.get("x") : defaults.x;
    state.y = known(told.get("y")) ? told.get("y") : defaults.y;
    state.logx = told.get("logx") === "1";
    state.logy = told.get("logy") === "1";
    state.failed = told.get("failed") === "1";
    state.only = told.get("only") ?? "";
    state.errors = told.get("errors") === "search" ? "search" : "";
    state.budget = run.ownBudget();
    state.filter = new Map(); // not an object, which finds a choice called "constructor" without being told of it
    for (const [key, value] of told) {
      const [kind, name] = [key.slice(0, 2), key.slice(2)];
      if (kind === "b." && known(name)) {
        if (value === "any") delete state.budget[name]; else if (Number.isFinite(Number(value)) && value !== "") state.budget[name] = Number(value);
      }
      const choice = kind === "c." ? run.choices.find((each) => each.name === name) : null;
      if (choice) {
        const places = value.split(",").map(Number).filter((place) => Number.isInteger(place) && place >= 0 && place <= choice.options.length);
        if (places.length) state.filter.set(name, new Set(places));
      }
    }
    const places = (text) => (text ?? "").split(",").map(run.place).filter((place) => place !== undefined);
    state.picked = [...new Set(places(told.get("compare")))].slice(0, 5);
    state.card = places(told.get("card"))[0] ?? -1;
  }
  function write() {
    const told = new URLSearchParams();
    if (state.x !== defaults.x) told.set("x", state.x);
    if (state.y !== defaults.y) told.set("y", state.y);
    for (const name of ["logx", "logy", "failed"]) if (state[name]) told.set(name, "1");
    if (state.only) told.set("only", state.only);
    if (state.errors) told.set("errors", state.errors);
    const limits = run.ownBudget();
    for (const name of new Set([...Object.keys(limits), ...Object.keys(state.budget)])) {
      if (state.budget[name] === undefined) told.set(`b.${name}`, "any");
      else if (state.budget[name] !== limits[name]) told.set(`b.${name}`, String(state.budget[name]));
    }
    for (const [name, places] of state.filter) told.set(`c.${name}`, [...places].join(","));
    if (state.picked.length) told.set("compare", state.picked.map(run.id).join(","));
    if (state.card >= 0) told.set("card", run.id(state.card));
    const hash = told.toString();
    if (hash !== window.location.hash.slice(1)) window.history.replaceState(null, "", hash ? `#${hash}` : window.location.pathname + window.location.search);
  }
  let late = 0;
  /* Change the state, and tell everyone what changed: names of parts of the state. */
  function change(changes) {
    Object.assign(state, changes);
    passing = null;
    const names = Object.keys(changes);
    for (const listener of listeners) listener(names);
    clearTimeout(late);
    late = setTimeout(write, 150); // browsers refuse many changes of the address in a second
  }
  // Which architectures the filter by choices lets pass.
  let passing = null;
  function passes() {
    if (passing) return passing;
    passing = new Uint8Array(run.count).fill(1);
    for (const choice of run.choices) {
      const wanted = state.filter.get(choice.name);
      if (!wanted) continue;
      for (let i = 0; i < run.count; i += 1) if (!wanted.has(choice.of[i])) passing[i] = 0;
    }
    return passing;
  }
  read();
  window.addEventListener("hashchange", () => {
    read();
    passing = null;
    for (const listener of listeners) listener(Object.keys(state));
  });
  Object.assign(Page, { state, change, passes, onChange: (listener) => listeners.push(listener), write });
})();
