/* The card of an architecture: what differs from the best, how it is built, its numbers, and what happened to it. */
(() => {
  "use strict";
  const { run, state } = Page;
  const { el } = Charts;
  const dialog = document.getElementById("card");
  if (!dialog) return;

  const LAST = run.stages.length - 1; // the stage of winners, whose errors are those on the test split
  const heading = (text) => el("h3", {}, text);
  function ratio(name, i, best) {
    if (best < 0 || i === best) return "";
    // The best is a winner: what it has on the test split does not compare with what a candidate had in the search.
    const isSearch = run.metric[name].source === "trained" && !run.winnerAt.has(i);
    const [own, other] = [run.columns(name).value[i], isSearch ? run.inSearch(name, best) : run.columns(name).value[best]];
    if (Number.isNaN(own) || Number.isNaN(other)) return "";
    if (own === other) return isSearch ? "the same in the search" : "the same";
    const isSure = run.surelyLess(run.estimate(name, i), run.estimate(name, best)) || run.surelyLess(run.estimate(name, best), run.estimate(name, i));
    const text = other === 0 ? "" : run.metric[name].share ? `${own > other ? "+" : "−"}${Charts.fixed(100 * Math.abs(own - other), 2)} points` : `${own > other ? "+" : "−"}${Charts.figures(100 * Math.abs(own / other - 1), 3)} %`;
    if (isSearch) return `${text} in the search`;
    return isSure || run.metric[name].source === "counted" || run.metric[name].source === "modelled" ? text : `${text}, not told apart`;
  }
  function numbers(i) {
    const rows = [];
    for (const metric of run.metrics) {
      const { value, low, high, kind, mean, lower, upper, search, raw } = run.columns(metric.name);
      const row = (number, range, source, against) => rows.push(el("tr", {}, el("th", { scope: "row" }, metric.title), el("td", { class: "number" }, number), el("td", {}, range), el("td", {}, source), el("td", {}, against)));
      if (kind[i]) row(run.text(metric.name, value[i]), run.range(metric.name, low[i], high[i]), run.source(metric.name, i), ratio(metric.name, i, run.best));
      if (raw && !Number.isNaN(raw[i])) row(run.text(metric.name, raw[i]), "", "by a stopwatch, not corrected", "");
      if (search && !Number.isNaN(search[i])) row(run.text(metric.name, search[i]), "", run.searched(i), "");
      if (kind[i] !== 2 && mean && !Number.isNaN(mean[i])) row(run.text(metric.name, mean[i]), run.range(metric.name, lower[i], upper[i]), run.unlike(i).includes(metric.name) ? "predicted, but unlike the predictor's samples" : "predicted", "");
    }
    const titles = ["Metric", "Value", "Interval", "Source", ...(run.best >= 0 && run.best !== i ? ["Against the best"] : [""])];
    return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Numbers" },
      el("table", {}, el("thead", {}, el("tr", {}, titles.map((title) => el("th", { scope: "col" }, title)))), el("tbody", {}, rows)));
  }
  function history(i) {
    const rows = run.rows();
    return el("ol", { class: "stages" }, rows.at[i].map((row) => {
      const parts = [`${run.stages[rows.stage[row]]}, round ${rows.round[row]}`];
      const way = rows.ways[rows.by[row]];
      if (rows.ended[row] > 1) { const [kind, reason] = rows.failures[rows.ended[row] - 2]; parts.push(`failed: ${kind}. ${reason}`); }
      if (rows.ended[row] === 1) parts.push("stopped early");
      if (rows.kept.has(row)) parts.push("measured in an earlier run");
      if (rows.error && !Number.isNaN(rows.error[row])) parts.push(`${run.words.error} ${run.text("error", rows.error[row])} (${[rows.stage[row] === LAST ? run.words.final : run.words.search, way].filter(Boolean).join(", ")})`);
      if (rows.epochs && !Number.isNaN(rows.epochs[row])) parts.push(`${rows.epochs[row]} epoch${rows.epochs[row] === 1 ? "" : "s"}`);
      if (rows.seconds && !Number.isNaN(rows.seconds[row])) parts.push(`${Charts.general(rows.seconds[row], 3)} s`);
      return el("li", {}, parts.join("; "));
    }));
  }
  function content(i) {
    const winner = run.winnerAt.get(i);
    const { drawing } = Page;
    const picked = state.picked.includes(i);
    const parts = [];
    const badges = [run.outcomeText(i)];
    if (i === run.best) badges.push("best within the limits");
    if (winner) badges.push(winner.front ? "on the front" : "not on the front");
    if (winner && run.limits.length) badges.push(winner.meets ? "meets the limits" : "breaks a limit");
    parts.push(el("p", { class: "badges" }, badges.map((badge) => el("span", {}, badge))));
    const failure = run.failure(i);
    if (failure && run.outcome[i] === run.FAILED) parts.push(el("p", { class: "flags" }, `It failed: ${failure.join(". ")}`));
    const told = [...(winner?.broken ?? []).map((text) => `Not met: ${text}.`), ...(winner?.notes ?? []), ...run.doubts(i).map((text) => `Doubt: ${text}.`)];
    if (told.length) parts.push(el("ul", { class: "flags" }, [...new Set(told)].map((text) => el("li", {}, text))));
    parts.push(el("p", { class: "buttons" },
      el("button", { type: "button", "aria-pressed": String(picked), id: "card-pick", click: () => Page.pick(i) }, picked ? "Chosen to compare" : "Choose to compare"),
      winner?.link ? el("a", { class: "button", href: winner.link }, "Open its bundle") : null,
      winner?.folder ? el("code", {}, winner.folder) : null));
    if (run.best >= 0 && i !== run.best) {
      const apart = run.differences(i, run.best);
      parts.push(heading(`What differs from the best, ${run.id(run.best)}`));
      parts.push(apart.length ? el("ul", { class: "apart" }, apart.map((choice) => el("li", {}, `${choice.name}: `, el("s", {}, run.option(choice, run.best) ?? "none"), " → ", el("strong", {}, run.option(choice, i) ?? "none")))) : el("p", {}, "No choice differs."));
    }
    parts.push(heading("Numbers"), numbers(i));
    if (winner?.facts.length) parts.push(el("dl", { class: "facts" }, winner.facts.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text)))));
    parts.push(heading("How it is built"));
    if (winner?.layers) parts.push(...drawing.layers(winner.layers));
    parts.push(drawing.choices(i, run.best));
    if (winner && !run.table) parts.push(heading("Latency by layer"), ...drawing.layerTimes(winner.times));
    if (winner?.confusion) parts.push(heading("Confusion matrix on the test split"), drawing.confusion(winner.confusion));
    parts.push(heading("What happened to it"), history(i));
    return parts;
  }

  function show() {
    const i = state.card;
    if (i < 0) { if (dialog.open) dialog.close(); return; }
    dialog.replaceChildren(
      el("header", {}, el("h2", { id: "card-title" }, `Architecture ${run.id(i)}`), el("button", { type: "button", class: "close", "aria-label": "Close", click: () => Page.change({ card: -1 }) }, "✕")),
      el("div", { class: "body" }, content(i)));
    if (!dialog.open) dialog.showModal();
  }
  Page.pick = (i) => {
    const picked = state.picked.includes(i) ? state.picked.filter((each) => each !== i) : [...state.picked, i].slice(-5);
    Page.change({ picked });
  };
  Page.showCard = () => {
    dialog.addEventListener("close", () => { if (state.card >= 0) Page.change({ card: -1 }); });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) Page.change({ card: -1 }); });
    show();
    Page.onChange((names) => {
      if (names.includes("card")) show();
      else if (names.includes("picked") && dialog.open) {
        const button = document.getElementById("card-pick");
        const picked = state.picked.includes(state.card);
        button.setAttribute("aria-pressed", String(picked));
        button.textContent = picked ? "Chosen to compare" : "Choose to compare";
      }
    });
  };
})();
