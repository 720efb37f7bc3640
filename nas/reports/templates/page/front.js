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
    const source = metric.source === "measured" ? (kind.includes(2) ? `${run.words.source} or predicted` : run.words.source) : metric.source === "trained" ? "" : metric.source;
    const told = source && !metric.title.includes(source) ? ` (${source})` : "";
    return `${metric.title}${bare(metric) ? `, ${metric.unit}` : ""}${told}`;
  };

  /* Sort all architectures that pass the filter into the kinds of points, with a place on both axes each. */
  function sorted() {
    const [xs, ys] = [run.columns(state.x), run.columns(state.y)];
    const passing = Page.passes();
    const groups = { winners: [], found: [], predicted: [], stopped: [], failed: [], nowhere: 0, filtered: 0 };
    const stopped = run.outcomes.indexOf("stopped early");
    for (let i = 0; i < run.count; i += 1) {
      if (!passing[i]) { groups.filtered += 1; continue; }
      const [kx, ky] = [xs.kind[i], ys.kind[i]];
      if (run.outcome[i] === run.FAILED && (kx || ky)) { groups.failed.push(i); continue; }
      if (!kx || !ky) { groups.nowhere += 1; continue; }
      if (run.outcome[i] === run.WINNER) groups.winners.push(i);
      else if (run.outcome[i] === stopped) groups.stopped.push(i);
      else (kx === 2 || ky === 2 ? groups.predicted : groups.found).push(i);
    }
    return groups;
  }
  function points(name, role, shape, places, more = {}) {
    const [xs, ys] = [run.columns(state.x), run.columns(state.y)];
    const of = (column) => places.map((i) => column[i]);
    return {
      kind: "points", name, role, shape, x: of(xs.value), y: of(ys.value), xLow: of(xs.low), xHigh: of(xs.high), yLow: of(ys.low), yHigh: of(ys.high),
      describe: (k) => describe(places[k]), pick: (k) => Page.change({ card: places[k] }), ...more,
    };
  }
  function describe(i) {
    const lines = [`${run.id(i)}, ${run.outcomeText(i)}`];
    for (const name of new Set([state.y, state.x])) {
      const { value, low, high, kind } = run.columns(name);
      if (!kind[i]) continue;
      const range = run.range(name, low[i], high[i]);
      lines.push(`${run.title(name)} ${run.text(name, value[i])}${range ? ` (${range})` : ""}, ${run.source(name, i)}`);
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
    const [x, y] = [run.columns(state.x).value, run.columns(state.y).value];
    const ordered = [...places].sort((a, b) => x[a] - x[b] || y[a] - y[b]);
    const found = [];
    for (const i of ordered) if (!found.length || y[i] < y[found.at(-1)]) found.push(i);
    return found;
  }
  function links(winners) {
    const shown = new Set(winners);
    const [x, y] = [run.columns(state.x).value, run.columns(state.y).value];
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
    const [x, y] = [run.columns(state.x).value, run.columns(state.y).value];
    const rings = state.picked.map((i) => ({ x: x[i], y: y[i], role: "ink" }));
    if (Page.chosen >= 0) rings.push({ x: x[Page.chosen], y: y[Page.chosen], role: "good" });
    return rings;
  };
  let dominated = [];

  function spec(keep) {
    const groups = sorted();
    const { words } = run;
    const front = edge(groups.winners.length ? groups.winners : groups.found);
    const [x, y] = [run.columns(state.x).value, run.columns(state.y).value];
    const corner = [...front.flatMap((i, k) => (k ? [[x[i], y[front[k - 1]]], [x[i], y[i]]] : [[x[i], Infinity], [x[i], y[i]]]))];
    dominated = front.length ? [{ role: "winner", alpha: 0.07, points: [...corner, [Infinity, y[front.at(-1)]], [Infinity, Infinity]] }] : [];
    const marks = [
      points("stopped early", "stopped", "cross", groups.stopped, { faint: true }),
      points("candidates, predicted", "predicted", "ring", groups.predicted),
      points(`candidates, ${words.source}`, "measured", "disc", groups.found),
      { kind: "line", name: groups.winners.length ? "front" : "front so far", role: "winner", step: true, x: front.map((i) => x[i]), y: front.map((i) => y[i]) },
      { kind: "links", name: "cannot be told apart", role: "winner", pairs: links(groups.winners) },
      points("winners", "winner", "diamond", groups.winners),
    ].filter((mark) => (mark.x ?? mark.pairs).length);
    let [rangeX, rangeY] = [undefined, undefined];
    if (state.failed && groups.failed.length) marks.push(failedPoints(groups));
    const rules = rulesNow();
    const axes = Object.fromEntries(["x", "y"].map((axis) => [axis, { title: axisTitle(state[axis]), form: tick(run.metric[state[axis]]), log: state[`log${axis}`] }]));
    const main = marks.filter((mark) => mark.name !== "stopped early" && mark.name !== "failed");
    if (main.length && groups.stopped.length) {
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
    const [xs, ys] = [run.columns(state.x), run.columns(state.y)];
    const seen = [...groups.winners, ...groups.found, ...groups.predicted];
    const most = (column) => seen.reduce((high, i) => Math.max(high, column.value[i] || 0), 0);
    const made = points("failed", "bad", "cross", groups.failed, { bars: false });
    made.x = groups.failed.map((i) => (xs.kind[i] ? xs.value[i] : most(xs)));
    made.y = groups.failed.map((i) => (ys.kind[i] ? ys.value[i] : most(ys)));
    made.describe = (k) => [...describe(groups.failed[k]), (run.failure(groups.failed[k]) ?? ["", ""]).join(": ")];
    return made;
  }
  function tell(groups) {
    const told = [run.words.caption, " Bars are drawn where points are few. Hollow points are predicted. "];
    if (groups.winners.some((i) => run.winnerAt.get(i).same.length)) told.push("A dotted line joins winners that no objective tells apart. ");
    const counts = [[groups.filtered, "hidden by the filter"], [groups.nowhere, "without a value on these axes"], [state.failed ? 0 : groups.failed.length, "failed, not shown"]].filter(([count]) => count);
    if (counts.length) told.push(`${counts.map(([count, text]) => `${count} ${text}`).join(", ")}.`);
    caption.textContent = told.join("");
  }

  function controls() {
    const select = (axis, label) => el("label", {}, `${label} `, el("select", { id: `axis-${axis}`, change: (event) => Page.change({ [axis]: event.target.value }) },
      run.metrics.map((metric) => el("option", { value: metric.name, selected: metric.name === state[axis] }, metric.title))));
    const check = (name, label) => el("label", { class: "check" }, el("input", { type: "checkbox", id: `show-${name}`, checked: state[name], change: (event) => Page.change({ [name]: event.target.checked }) }), ` ${label}`);
    document.getElementById("front-controls").replaceChildren(
      select("x", "Across"), check("logx", "logarithmic"), select("y", "Up"), check("logy", "logarithmic"), check("failed", "failed"),
      el("button", { type: "button", click: () => plot.zoomOut() }, "Show all"),
      el("button", { type: "button", click: () => plot.save("front") }, "Save as SVG"));
  }
  const over = () => plot.over({ rules: rulesNow(), regions: [...dominated, ...beyond()], rings: ringsNow() });
  Page.showFront = () => {
    controls();
    plot = Charts.plot(place, spec(false));
    Page.frontPlot = plot;
    Page.onChange((names) => {
      if (names.some((name) => ["x", "y", "logx", "logy"].includes(name))) { controls(); plot.update(spec(false)); return; }
      if (names.some((name) => ["failed", "filter"].includes(name))) { plot.update(spec(true)); return; }
      if (names.some((name) => ["budget", "picked"].includes(name))) over();
    });
  };
})();
