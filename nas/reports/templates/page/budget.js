/* "What can I have for this budget?": a slider and a field for each limit, and the best model within all of them. */
(() => {
  "use strict";
  const { run, state } = Page;
  const { el } = Charts;
  const place = document.getElementById("budget");
  if (!place) return;
  const STEPS = 400;
  const winners = run.winners.map((winner) => winner.at);
  const names = [...new Set([...run.costs, ...run.limits.map((limit) => limit.metric)])].filter((name) => name in run.metric);
  const pool = () => (winners.length ? winners : Page.candidates()).filter((i) => Page.passes()[i] && quality.kind[i]);
  const quality = run.columns(run.quality);
  Page.chosen = -1;
  let trained;
  Page.candidates = () => {
    const usable = ["trained", "estimated"].map((name) => run.outcomes.indexOf(name));
    return (trained ??= Array.from({ length: run.count }, (_, i) => i).filter((i) => usable.includes(run.outcome[i]) && quality.kind[i]));
  };

  // ---- sliders -----------------------------------------------------------------------------------------------------
  function span(name) {
    const of = winners.length ? winners : Page.candidates();
    let [low, high] = [Infinity, -Infinity];
    for (const i of of) {
      const value = run.upper(name, i);
      if (Number.isNaN(value)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    for (const limit of run.limits) if (limit.metric === name) { low = Math.min(low, limit.value); high = Math.max(high, limit.value); }
    return low > high ? [0, 1] : [low * 0.98, high * 1.02];
  }
  const ranges = {};
  const mapped = (name) => {
    const [low, high] = (ranges[name] ??= span(name));
    const log = low > 0;
    return {
      value: (step) => (log ? low * (high / low) ** (step / (STEPS - 1)) : low + (high - low) * step / (STEPS - 1)),
      step: (value) => Math.round((STEPS - 1) * (log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low))),
    };
  };
  /* Read "2 ms" or "0.5": a number in one of the metric's units, or in its own. */
  function parsed(name, text) {
    const metric = run.metric[name];
    const match = /^\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([^\s0-9]*)\s*$/i.exec(text);
    if (!match) return NaN;
    if (!match[2]) return Number(match[1]) * (metric.share && Number(match[1]) > 1 ? 0.01 : 1);
    const factor = metric.units[match[2]];
    return factor === undefined ? NaN : Number(match[1]) * factor;
  }
  const controls = {};
  function control(name) {
    const title = run.title(name);
    const slider = el("input", { type: "range", id: `budget-${name}`, min: 0, max: STEPS, step: 1, input: () => {
      const step = Number(slider.value);
      set(name, step >= STEPS ? undefined : mapped(name).value(step));
    } });
    const field = el("input", { type: "text", inputmode: "decimal", "aria-label": `Most ${title.toLowerCase()}`, id: `most-${name}`, size: 9, autocomplete: "off", change: () => {
      const text = field.value.trim();
      const value = text === "" || text === "any" ? undefined : parsed(name, text);
      const wrong = value !== undefined && !Number.isFinite(value);
      field.setAttribute("aria-invalid", String(wrong));
      fault.textContent = wrong ? `Write a number, with one of ${Object.keys(run.metric[name].units).slice(0, 6).join(", ") || "no units"}.` : "";
      if (!wrong) set(name, value);
    } });
    const fault = el("small", { class: "fault", role: "status" });
    controls[name] = { slider, field, fault };
    return el("div", { class: "limit" }, el("label", { for: `budget-${name}` }, title), slider, field, fault);
  }
  function set(name, value) {
    const budget = { ...state.budget };
    if (value === undefined) delete budget[name]; else budget[name] = value;
    Page.change({ budget });
  }
  function show() {
    for (const [name, { slider, field, fault }] of Object.entries(controls)) {
      const limit = state.budget[name];
      const text = limit === undefined ? "any" : run.text(name, limit);
      slider.value = limit === undefined ? STEPS : Math.max(0, Math.min(STEPS - 1, mapped(name).step(limit)));
      slider.setAttribute("aria-valuetext", limit === undefined ? "any" : `at most ${text}`);
      if (document.activeElement !== field || field.getAttribute("aria-invalid") !== "true") { field.value = text; field.removeAttribute("aria-invalid"); fault.textContent = ""; }
    }
  }

  // ---- the answer --------------------------------------------------------------------------------------------------
  const limits = () => Object.entries(state.budget);
  /* Return the test of being within the budget; it is made once an answer, since it may judge all candidates. */
  function fitting() {
    const uppers = limits().map(([name, most]) => [run.upperOf(name), most]);
    return (i) => uppers.every(([upper, most]) => upper(i) <= most);
  }
  const need = (i) => Math.max(0, ...limits().map(([name, most]) => { const upper = run.upper(name, i); return Number.isNaN(upper) ? Infinity : upper <= most ? 0 : upper / most; }));
  const lowest = (places, of) => places.reduce((best, i) => (best < 0 || of(i) < of(best) ? i : best), -1);
  const named = (i) => el("button", { type: "button", class: "link", click: () => Page.change({ card: i }) }, run.id(i));
  const more = (upper, most) => (most > 0 ? `, ${Charts.figures(100 * (upper / most - 1), 2)} % more` : "");
  /* The gain of one model over another in words: percentage points for shares, per cent for all else. */
  const isShare = run.metric[run.quality].share;
  function gain(better, worse) {
    const [one, other] = [quality.value[better], quality.value[worse]];
    return isShare ? `${Charts.fixed(100 * (other - one), 2)} points` : `${Charts.figures(100 * (1 - one / other), 2)} %`;
  }
  const unsure = (better, worse) => (run.surelyLess(run.estimate(run.quality, better), run.estimate(run.quality, worse)) ? "" : " The test cannot tell the two apart.");
  const excesses = (i) => limits().filter(([name, most]) => !(run.upper(name, i) <= most)).map(([name, most]) => {
    const upper = run.upper(name, i);
    return Number.isNaN(upper) ? `a ${run.title(name).toLowerCase()}, which is unknown` : `${run.title(name).toLowerCase()} up to ${run.text(name, upper)}${more(upper, most)}`;
  }).join(" and ");
  function answer() {
    const [places, fits] = [pool(), fitting()];
    const lines = [];
    const kind = winners.length ? "winner" : "candidate";
    const within = places.filter(fits);
    const favourite = lowest(within, (i) => quality.value[i]); // by the test, which may differ from what the search chose
    const isRival = within.includes(run.best) && run.winnerAt.get(favourite)?.meets; // else the run's limits are not what is asked
    const best = isRival ? run.best : favourite;
    Page.chosen = best;
    if (best < 0) {
      const near = lowest(places, need);
      lines.push(el("p", { class: "answer" }, places.length ? `No ${kind} is within this budget.` : `No ${kind} to choose from${state.filter.size ? " passes the filter" : " yet"}.`));
      if (near >= 0) lines.push(el("p", {}, "The nearest is ", named(near), `: it needs ${excesses(near)}, and has ${run.scored(near)}.`));
      return lines;
    }
    lines.push(el("p", { class: "answer" }, named(best), el("span", {}, ` has ${run.scored(best)}`)));
    const costs = names.filter((name) => run.columns(name).kind[best]).map((name) => {
      const { value, low, high } = run.columns(name);
      const range = run.range(name, low[best], high[best]);
      return el("li", {}, `${run.title(name)} ${run.text(name, value[best])}${range ? ` (${range})` : ""}, ${run.source(name, best)}`);
    });
    lines.push(el("ul", { class: "costs" }, costs));
    if (favourite !== best) lines.push(el("p", {}, "The search chose it. On the test ", named(favourite), ` has ${run.qualityText(quality.value[favourite])}, ${gain(favourite, best)} ${isShare ? "better" : "lower"}.${unsure(favourite, best)}`));
    const all = lowest(places, (i) => quality.value[i]);
    const better = places.filter((i) => quality.value[i] < quality.value[favourite]);
    const up = lowest(better, need);
    if (up >= 0) lines.push(el("p", {}, el("strong", {}, "Next step up: "), named(up), ` has ${run.qualityText(quality.value[up])}, ${gain(up, best)} ${isShare ? "better" : "lower"}, and needs ${excesses(up)}.${unsure(up, best)}`));
    else lines.push(el("p", {}, winners.length ? "No other winner is better by its test, whatever it costs." : "No other candidate is better, whatever it costs."));
    if (up >= 0 && all !== up) lines.push(el("p", {}, "The best of all, ", named(all), `, has ${run.qualityText(quality.value[all])}: this budget gives up ${gain(all, best)}.`));
    const promise = promising(best, fits);
    if (promise >= 0) lines.push(el("p", { class: "soft" }, "Not retrained yet, but better in the search: ", named(promise), ` with ${run.qualityText(quality.value[promise])}, against ${run.qualityText(quality.search?.[best] ?? NaN)} of the model above before it was retrained.`));
    return lines;
  }
  /* A candidate within the budget that did better in the search than the chosen winner did. */
  function promising(best, fits) {
    const before = winners.length ? quality.search?.[best] ?? NaN : NaN;
    if (Number.isNaN(before)) return -1;
    const passing = Page.passes();
    let found = -1;
    for (const i of Page.candidates()) if (passing[i] && quality.value[i] < before && (found < 0 || quality.value[i] < quality.value[found]) && fits(i)) found = i;
    return found;
  }

  const result = el("div", { class: "result", role: "status", "aria-live": "polite" });
  Page.showBudget = () => {
    if (!run.count) return;
    place.replaceChildren(
      names.length ? el("div", { class: "limits" }, names.map(control)) : el("p", {}, "This run has no costs to limit."), result,
      el("p", { class: "buttons" },
        el("button", { type: "button", click: () => Page.change({ budget: run.ownBudget() }) }, run.limits.length ? "The run's limits" : "No limits"),
        el("button", { type: "button", click: (event) => { Page.write(); Page.copy(window.location.href, event.currentTarget); } }, "Copy the address")));
    const update = () => { show(); result.replaceChildren(...answer()); };
    update();
    Page.onChange((changed) => { if (changed.includes("budget") || changed.includes("filter")) update(); });
  };
  Page.copy = (text, button) => {
    const told = button.textContent;
    const done = () => { button.textContent = "Copied"; setTimeout(() => { button.textContent = told; }, 1500); };
    const failed = () => { button.textContent = "Copy it from the address bar"; setTimeout(() => { button.textContent = told; }, 2500); };
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, failed); else failed();
  };
})();
