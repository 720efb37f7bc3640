/* The page as a whole: the parts that are seen first come first. */
(() => {
  "use strict";
  const { run } = Page;
  document.documentElement.classList.add("alive");

  function checks() {
    for (const check of Charts.document().checks ?? []) {
      const place = document.getElementById(check.id);
      if (!place) continue;
      const metric = run.metric[check.metric];
      const form = (value) => run.text(check.metric, value);
      const texts = (points) => points.of.map((at, k) => [run.id(at), `predicted ${form(points.x[k])} (${run.range(check.metric, points.xLow[k], points.xHigh[k])})`, `${run.words.source} ${form(points.y[k])}`]);
      const tick = ["", "B", "mJ"].includes(metric.unit) ? Charts.form(metric) : (value) => Charts.general(value, 4);
      const [low, high] = check.range;
      Charts.plot(place, {
        label: check.title, x: { title: check.across, form: tick, range: check.range }, y: { title: check.up, form: tick, range: check.range },
        marks: [{ kind: "line", name: "predicted as found", role: "soft", dash: true, width: 1.2, x: [low, high], y: [low, high] },
          ...check.groups.map((group) => ({ kind: "points", name: group.name, role: group.role, shape: group.shape, ...group.points, texts: texts(group.points), pick: (k) => Page.change({ card: group.points.of[k] }) }))],
      });
    }
  }
  const show = (name) => Page[name]?.();
  show("showBudget");
  show("showFront");
  show("showCompare");
  // The rest is drawn once the first screen is painted.
  requestAnimationFrame(() => setTimeout(() => {
    performance.mark("first screen");
    for (const name of ["showFilters", "showParallel", "showTable"]) show(name);
    checks();
    show("showCard");
    document.documentElement.classList.add("whole");
  }, 0));
})();
