/* The front: any two metrics against each other, and the controls of the axes. */
(() => {
  "use strict";
  const { run, state } = Page;
  const { el } = Charts;
  const place = document.getElementById("front-plot");
  if (!place) return;
  const caption = document.getElementById("front-caption");
  let plot;

  const bare = (metric) => !["", "B", "mJ"].includes(metric.unit) && !metric.share;
  const tick = (metric) => (bare(metric) ? (value) => Charts.general(value, 4) : Charts.form(metric));
  const axisTitle = (name) => {
    const metric = run.metric[name];
    const { kind } = run.columns(name);
    const split = isMixed() ? (bySearch() ? run.words.search : run.words.final) : "";
    const source = metric.source === "measured" ? (kind.includes(2) ? `${run.words.source} or predicted` : run.words.source) : metric.source === "trained" ? split : metric.source;
    const told = source && !metric.title.includes(source) ? ` (${source})` : "";
    return `${metric.title}${bare(metric) ? `, ${metric.unit}` : ""}${told}`;
  };

  /* Winners have errors of the test, and candidates those of the search. These do not compare: one kind is drawn. */
  const hasTwo = (name) => {
    if (run.metric[name].source !== "trained") return false;
    const { value, search } = run.columns(name);
    return run.winners.some(({ at }) => !Number.isNaN(value[at]) && value[at] !== search?.[at]);
  };
  const isMixed = () => hasTwo(state.x) || hasTwo(state.y);
  const bySearch = () => state.errors === "search" && isMixed();
  const searched = Object.create(null);
  const columns = (name) => {
    if (!bySearch() || run.metric[name].source !== "trained") return run.columns(name);
    if (!searched[name]) {
      const value = Float64Array.from({ length: run.count }, (_, i) => run.inSearch(name, i));
      const none = new Float64Array(run.count).fill(NaN);
      searched[name] = { value, low: none, high: none, kind: Uint8Array.from(value, (each) => (Number.isNaN(each) ? 0 : 1)) };
    }
    return searched[name];
  };
  const sourceOf = (name, i) => (bySearch() && run.metric[name].source === "trained" ? run.searched(i) : run.source(name, i));

  /* Sort all architectures that pass the filter into the kinds of points, with a place on both axes each. */
  function sorted() {
    const [xs, ys] = [columns(state.x), columns(state.y)];
    const passing = Page.passes();
    const groups = { winners: [], useless: [], found: [], predicted: [], stopped: [], failed: [], nowhere: 0, filtered: 0, unlike: 0 };
    const winnersAlone = isMixed() && !bySearch();
    const stopped = run.outcomes.indexOf("stopped early");
    for (let i = 0; i < run.count; i += 1) {
      if (!passing[i]) { groups.filtered += 1; continue; }
      const [kx, ky] = [xs.kind[i], ys.kind[i]];
      if (run.outcome[i] === run.FAILED && (kx || ky)) { groups.failed.push(i); continue; }
      if (!kx || !ky) { groups.nowhere += 1; continue; }
      if (winnersAlone && run.outcome[i] !== run.WINNER) { groups.unlike += 1; continue; }
      if (run.outcome[i] === run.WINNER) (run.winnerAt.get(i).useless && !bySearch() && isTrained() ? groups.useless : groups.winners).push(i);
      else if (run.outcome[i] === stopped) groups.stopped.push(i);
      else (kx === 2 || ky === 2 ? groups.predicted : groups.found).push(i);
    }
    if (!groups.winners.length) [groups.winners, groups.useless] = [groups.useless, []];
    return groups;
  }
  const isTrained = () => [state.x, state.y].some((name) => run.metric[name].source === "trained");
  function points(name, role, shape, places, more = {}) {
    const [xs, ys] = [columns(state.x), columns(state.y)];
    const of = (column) => places.map((i) => column[i]);
    return {
      kind: "points", name, role, shape, x: of(xs.value), y: of(ys.value), xLow: of(xs.low), xHigh: of(xs.high), yLow: of(ys.low), yHigh: of(ys.high),
      describe: (k) => describe(places[k]), pick: (k) => Page.change({ card: places[k] }), ...more,
    };
  }
  function describe(i) {
    const lines = [`${run.id(i)}, ${run.outcomeText(i)}`];
    for (const name of new Set([state.y, state.x])) {
      const { value, low, high, kind } = columns(name);
      if (!kind[i]) continue;
      const range = run.range(name, low[i], high[i]);
      lines.push(`${run.title(name)} ${run.text(name, value[i])}${range ? ` (${range})` : ""}, ${sourceOf(name, i)}`);
    }
    const apart = run.best >= 0 && run.best !== i ? run.differences(i, run.best) : [];
    if (apart.length) {
      const told = apart.slice(0, 3).map((choice) => `${choice.name}=${run.option(choice, i) ?? "none"}`).join(", ");
      lines.push(`Unlike the best: ${told}${apart.length > 3 ? ` and ${apart.length - 3} more` : ""}`);
    }
    return lines;
  }
  /* The points that no other one beats on both axes, from left to right. */
  function edge(places) {
    const [x, y] = [columns(state.x).value, columns(state.y).value];
    const ordered = [...places].sort((a, b) => x[a] - x[b] || y[a] - y[b]);
    const found = [];
    for (const i of ordered) if (!found.length || y[i] < y[found.at(-1)]) found.push(i);
    return found;
  }
  function links(winners) {
    const shown = new Set(winners);
    const [x, y] = [columns(state.x).value, columns(state.y).value];
    const pairs = [];
    for (const i of winners) for (const other of run.winnerAt.get(i).same) if (other > i && shown.has(other)) pairs.push([x[i], y[i], x[other], y[other]]);
    return pairs;
  }

  function rulesNow() {
    const rules = [];
    for (const axis of ["x", "y"]) {
      const name = state[axis];
      const value = state.budget[name];
      if (value === undefined) continue;
      const given = run.limits.find((limit) => limit.metric === name && limit.value === value);
      rules.push({ axis, value, text: given ? given.text : `${run.title(name)} ≤ ${run.text(name, value)}` });
    }
    return rules;
  }
  const beyond = () => rulesNow().map(({ axis, value }) => ({
    role: "bad", alpha: 0.05,
    points: axis === "x" ? [[value, -Infinity], [Infinity, -Infinity], [Infinity, Infinity], [value, Infinity]] : [[-Infinity, value], [Infinity, value], [Infinity, Infinity], [-Infinity, Infinity]],
  }));
  const ringsNow = () => {
    const [x, y] = [columns(state.x).value, columns(state.y).value];
    const rings = state.picked.map((i) => ({ x: x[i], y: y[i], role: "ink" }));
    if (Page.chosen >= 0) rings.push({ x: x[Page.chosen], y: y[Page.chosen], role: "good" });
    return rings;
  };
  let dominated = [];

  function spec(keep) {
    const groups = sorted();
    const { words } = run;
    const front = edge(bySearch() ? [...groups.winners, ...groups.found] : groups.winners.length ? groups.winners : groups.found);
    const [x, y] = [columns(state.x).value, columns(state.y).value];
    const corner = [...front.flatMap((i, k) => (k ? [[x[i], y[front[k - 1]]], [x[i], y[i]]] : [[x[i], Infinity], [x[i], y[i]]]))];
    dominated = front.length ? [{ role: "winner", alpha: 0.07, points: [...corner, [Infinity, y[front.at(-1)]], [Infinity, Infinity]] }] : [];
    const marks = [
      points("stopped early", "stopped", "cross", groups.stopped, { faint: true }),
      points("candidates, predicted", "predicted", "ring", groups.predicted),
      points(`candidates, ${words.source}`, "measured", "disc", groups.found),
      { kind: "line", name: bySearch() ? "front of the search" : groups.winners.length ? "front" : "front so far", role: "winner", step: true, x: front.map((i) => x[i]), y: front.map((i) => y[i]) },
      { kind: "links", name: "cannot be told apart", role: "winner", pairs: links(groups.winners) },
      points("winners that learned nothing", "winner", "hollow-diamond", groups.useless),
      points("winners", "winner", "diamond", groups.winners),
    ].filter((mark) => (mark.x ?? mark.pairs).length);
    let [rangeX, rangeY] = [undefined, undefined];
    if (state.failed && groups.failed.length) marks.push(failedPoints(groups));
    const rules = rulesNow();
    const axes = Object.fromEntries(["x", "y"].map((axis) => [axis, { title: axisTitle(state[axis]), form: tick(run.metric[state[axis]]), log: state[`log${axis}`] }]));
    const main = marks.filter((mark) => !["stopped early", "failed", "winners that learned nothing"].includes(mark.name));
    if (main.length && (groups.stopped.length || groups.useless.length)) {
      rangeX = Charts.extent(axes.x, "x", main, rules);
      rangeY = Charts.extent(axes.y, "y", main, rules);
    }
    tell(groups);
    return {
      label: `${run.title(state.y)} against ${run.title(state.x).toLowerCase()}`, keep,
      x: { ...axes.x, range: rangeX }, y: { ...axes.y, range: rangeY }, marks, rules, regions: [...dominated, ...beyond()], rings: ringsNow(),
    };
  }
  /* Failed architectures have no error: they stand at the upper edge, above the value that they do have. */
  function failedPoints(groups) {
    const [xs, ys] = [columns(state.x), columns(state.y)];
    const seen = [...groups.winners, ...groups.found, ...groups.predicted];
    const most = (column) => seen.reduce((high, i) => Math.max(high, column.value[i] || 0), 0);
    const made = points("failed", "bad", "cross", groups.failed, { bars: false });
    made.x = groups.failed.map((i) => (xs.kind[i] ? xs.value[i] : most(xs)));
    made.y = groups.failed.map((i) => (ys.kind[i] ? ys.value[i] : most(ys)));
    made.describe = (k) => [...describe(groups.failed[k]), (run.failure(groups.failed[k]) ?? ["", ""]).join(": ")];
    return made;
  }
  function tell(groups) {
    const { words } = run;
    const told = [words.caption];
    if (groups.unlike) told.push(` Errors are those of the winners, ${words.final}. ${groups.unlike} candidates have errors of the search alone (${words.search}), which do not compare: choose them under "Errors".`);
    if (bySearch()) told.push(` All errors are those of the search (${words.search}), of winners too.`);
    told.push(" Bars are drawn where points are few. Hollow points are predicted. ");
    if (groups.useless.length) told.push(`${groups.useless.map(run.id).join(", ")} learned nothing, and may lie outside. `);
    if (groups.winners.some((i) => run.winnerAt.get(i).same.length)) told.push("A dotted line joins winners that no objective tells apart. ");
    const counts = [[groups.filtered, "hidden by the filter"], [groups.nowhere, "without a value on these axes"], [state.failed ? 0 : groups.failed.length, "failed, not shown"]].filter(([count]) => count);
    if (counts.length) told.push(`${counts.map(([count, text]) => `${count} ${text}`).join(", ")}.`);
    caption.textContent = told.join("");
  }

  function controls() {
    const select = (axis, label) => el("label", {}, `${label} `, el("select", { id: `axis-${axis}`, change: (event) => Page.change({ [axis]: event.target.value }) },
      run.metrics.map((metric) => el("option", { value: metric.name, selected: metric.name === state[axis] }, metric.title))));
    const check = (name, label) => el("label", { class: "check" }, el("input", { type: "checkbox", id: `show-${name}`, checked: state[name], change: (event) => Page.change({ [name]: event.target.checked }) }), ` ${label}`);
    const kinds = [["", `of winners, ${run.words.final}`], ["search", `of all, ${run.words.search}`]];
    const errors = () => (isMixed() ? el("label", {}, "Errors ", el("select", { id: "errors", change: (event) => Page.change({ errors: event.target.value }) },
      kinds.map(([value, text]) => el("option", { value, selected: value === state.errors }, text)))) : "");
    document.getElementById("front-controls").replaceChildren(
      select("x", "Across"), check("logx", "logarithmic"), select("y", "Up"), check("logy", "logarithmic"), errors(), check("failed", "failed"),
      el("button", { type: "button", click: () => plot.zoomOut() }, "Show all"),
      el("button", { type: "button", click: () => plot.save("front") }, "Save as SVG"));
  }
  const over = () => plot.over({ rules: rulesNow(), regions: [...dominated, ...beyond()], rings: ringsNow() });
  Page.showFront = () => {
    controls();
    plot = Charts.plot(place, spec(false));
    Page.frontPlot = plot;
    Page.onChange((names) => {
      if (names.some((name) => ["x", "y", "logx", "logy", "errors"].includes(name))) { controls(); plot.update(spec(false)); return; }
      if (names.some((name) => ["failed", "filter"].includes(name))) { plot.update(spec(true)); return; }
      if (names.some((name) => ["budget", "picked"].includes(name))) over();
    });
  };
})();
