/* The table of all architectures: a row each, to sort, filter, hide columns of, page through and save. */
(() => {
  "use strict";
  const { run, state } = Page;
  const { el } = Charts;
  const place = document.getElementById("architectures");
  if (!place) return;
  const PER_PAGE = 50;
  let [sort, up, page] = ["", true, 0];
  let order = [];

  const number = (name, title, value, text, detail = () => "") => ({ name, title, value, text, detail, numeric: true });
  function columnsOf() {
    const made = [
      { name: "id", title: "Architecture", value: run.id, text: run.id, fixed: true },
      { name: "outcome", title: "Outcome", value: (i) => run.outcome[i], text: outcome },
    ];
    for (const metric of run.metrics) {
      const { value, low, high, kind, mean, lower, upper } = run.columns(metric.name);
      made.push(number(`m.${metric.name}`, metric.title, (i) => value[i], (i) => (kind[i] ? run.text(metric.name, value[i]) : "–"),
        (i) => (kind[i] ? [run.range(metric.name, low[i], high[i]), metric.source === "measured" || metric.source === "trained" ? run.source(metric.name, i) : ""].filter(Boolean).join(", ") : "")));
      if (mean) made.push(number(`p.${metric.name}`, `${metric.title}, predicted`, (i) => mean[i], (i) => (Number.isNaN(mean[i]) ? "–" : run.text(metric.name, mean[i])), (i) => (Number.isNaN(mean[i]) ? "" : run.range(metric.name, lower[i], upper[i]))));
    }
    if (run.epochs) made.push(number("epochs", "Epochs", (i) => run.epochs[i], (i) => (Number.isNaN(run.epochs[i]) ? "–" : String(run.epochs[i]))));
    made.push({ name: "limits", title: "Limits", value: limits, text: limits, off: !run.limits.length });
    made.push({ name: "same", title: "Same as", value: same, text: same, off: !run.winners.some((winner) => winner.same.length) });
    made.push({ name: "bundle", title: "Bundle", value: (i) => run.winnerAt.get(i)?.folder ?? "", text: (i) => run.winnerAt.get(i)?.folder ?? "", off: run.table });
    for (const choice of run.choices) {
      const numeric = choice.values !== null;
      made.push({ name: `c.${choice.name}`, title: choice.name, numeric, value: (i) => (choice.of[i] ? (numeric ? choice.values[choice.of[i] - 1] : choice.options[choice.of[i] - 1]) : NaN), text: (i) => run.option(choice, i) ?? "–" });
    }
    return made;
  }
  function outcome(i) {
    const winner = run.winnerAt.get(i);
    if (winner) return winner.front ? "winner, on the front" : "winner";
    const failure = run.outcome[i] === run.FAILED ? run.failure(i) : null;
    return failure ? `failed: ${failure[0]}` : run.outcomeText(i);
  }
  function limits(i) {
    const winner = run.winnerAt.get(i);
    return winner ? (winner.meets ? "met" : `not met: ${winner.broken.join("; ")}`) : "";
  }
  const same = (i) => (run.winnerAt.get(i)?.same ?? []).map(run.id).join(", ");

  const columns = columnsOf();
  const usual = new Set(["id", "outcome", `m.${run.quality}`, "m.error", ...run.costs.map((name) => `m.${name}`), "m.params", "epochs", "limits", "same", "bundle"]);
  const hidden = new Set(columns.filter((column) => column.off || !usual.has(column.name)).map((column) => column.name));

  // ---- what is shown -----------------------------------------------------------------------------------------------
  const KINDS = { "": () => true, winners: (i) => run.winnerAt.has(i), sound: (i) => run.outcome[i] !== run.FAILED, failed: (i) => run.outcome[i] === run.FAILED, within: (i) => Object.entries(state.budget).every(([name, most]) => run.upper(name, i) <= most) };
  const SIGNS = { "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b };
  let search = "";
  /* A name as people write it: of a metric its own name, its title, or either without the unit; or a choice's. */
  const spoken = (text) => text.toLowerCase().replace(/[\s_-]+/g, "_");
  function named(word) {
    const name = spoken(word);
    const choice = run.choices.find((each) => spoken(each.name) === name);
    if (choice) return choice.values ? { value: { get: (i) => (choice.of[i] ? choice.values[choice.of[i] - 1] : NaN) }, units: {} } : null;
    if (name === "accuracy" && run.words.accuracy) {
      const { value } = run.columns("error");
      return { value: { get: (i) => 1 - value[i] }, units: { "%": 0.01 } };
    }
    const metric = run.metrics.find((each) => spoken(each.name) === name) ?? run.metrics.find((each) => spoken(each.title) === name || spoken(each.name).startsWith(`${name}_`));
    if (!metric) return null;
    const { value } = run.columns(metric.name);
    return { value: { get: (i) => value[i] }, units: metric.share ? { ...metric.units, "%": 0.01 } : metric.units };
  }
  const BOUND = /([\p{L}_][\p{L}\p{N}_.-]*)\s*(<=|>=|≤|≥|<|>)\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s?(%|[a-zµ/²]+(?=[\s,;]|$))?/giu;
  const few = (found) => `${found.slice(0, 12).map((each) => each.name).join(", ")}${found.length > 12 ? " and others" : ""}`;
  /* The checks of an architecture that the search asks for, and sentences about what of it cannot be understood. */
  function tests() {
    const [checks, faults] = [[], []];
    const words = search.replace(BOUND, (whole, word, sign, number, unit) => {
      const found = named(word);
      if (!found) { faults.push(`Nothing that has numbers is called ${word}: there are ${few(run.metrics)}.`); return " "; }
      const factor = unit === undefined ? 1 : found.units[unit] ?? found.units[unit.toLowerCase()];
      const most = Number(number) * (factor ?? NaN);
      if (Number.isNaN(most)) { faults.push(`${whole.trim()} has no number in a known unit: ${Object.keys(found.units).slice(0, 6).join(", ") || "none"}.`); return " "; }
      const compare = SIGNS[{ "≤": "<=", "≥": ">=" }[sign] ?? sign];
      checks.push((i) => compare(found.value.get(i), most));
      return " ";
    });
    for (const word of words.toLowerCase().split(/\s+/).filter(Boolean)) {
      const name = /^([\p{L}_][\p{L}\p{N}_.-]*)=/u.exec(word)?.[1];
      if (name && !run.choices.some((choice) => choice.name.toLowerCase().endsWith(name))) faults.push(`No choice is called ${name}: there are ${few(run.choices)}.`);
      else if (/[<>≤≥]/.test(word)) faults.push(`${word} is no comparison: write it as latency_ms<0.5.`);
      else checks.push((i) => run.id(i).includes(word) || outcome(i).toLowerCase().includes(word) || run.choices.some((choice) => choice.of[i] && `${choice.name}=${choice.options[choice.of[i] - 1]}`.toLowerCase().includes(word)));
    }
    return { checks, faults };
  }
  function select() {
    const passing = Page.passes();
    const kind = KINDS[state.only] ?? KINDS[""];
    const { checks, faults } = tests();
    fault.hidden = !faults.length;
    fault.textContent = faults.length ? `${faults.join(" ")} It filters nothing.` : "";
    order = [];
    for (let i = 0; i < run.count; i += 1) if (passing[i] && kind(i) && checks.every((check) => check(i))) order.push(i);
    const column = columns.find((each) => each.name === sort);
    const quality = run.columns(run.quality).value;
    const missing = (value) => value === "" || (typeof value === "number" && Number.isNaN(value));
    if (!column) {
      order.sort((a, b) => run.outcome[a] - run.outcome[b] || (Number.isNaN(quality[a]) - Number.isNaN(quality[b])) || quality[a] - quality[b] || a - b);
      return;
    }
    const keys = new Map(order.map((i) => [i, column.value(i)]));
    const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
    order.sort((one, other) => {
      const [a, b] = [keys.get(one), keys.get(other)];
      if (missing(a) || missing(b)) return missing(a) - missing(b) || one - other;
      return (up ? compare(a, b) : compare(b, a)) || one - other;
    });
  }

  // ---- the table ---------------------------------------------------------------------------------------------------
  const head = el("thead");
  const body = el("tbody");
  const count = el("p", { class: "soft", role: "status" });
  const fault = el("p", { class: "broken", id: "not-found", role: "alert", hidden: true });
  const pager = el("p", { class: "buttons pager" });
  function heading(column) {
    const direction = column.name === sort ? (up ? "ascending" : "descending") : "none";
    return el("th", { scope: "col", "aria-sort": direction, class: column.numeric ? "number" : "" },
      el("button", { type: "button", "data-column": column.name, click: () => { up = column.name === sort ? !up : true; sort = column.name; page = 0; update(); head.querySelector(`[data-column="${CSS.escape(column.name)}"]`)?.focus(); } }, column.title, el("span", { class: "arrow", "aria-hidden": "true" })));
  }
  function cell(column, i) {
    if (column.name === "id") return el("th", { scope: "row", class: "id" }, el("button", { type: "button", class: "link", click: () => Page.change({ card: i }) }, run.id(i)));
    if (column.name === "bundle") {
      const winner = run.winnerAt.get(i);
      return el("td", {}, winner?.link ? el("a", { href: winner.link }, "Open", el("span", { class: "unseen" }, ` the bundle of ${run.id(i)}`)) : column.text(i));
    }
    const text = column.text(i);
    const kind = column.name === "limits" ? (text === "met" ? "met" : text ? "broken" : "") : column.name === "outcome" && text.startsWith("failed") ? "broken" : "";
    const detail = column.detail ? column.detail(i) : "";
    return el("td", { class: `${column.numeric ? "number" : ""} ${kind}` }, el("span", { class: "value" }, text), detail ? el("small", {}, detail) : null);
  }
  function row(i) {
    const box = el("input", { type: "checkbox", checked: state.picked.includes(i), "aria-label": `Compare ${run.id(i)}`, change: () => Page.pick(i) });
    return el("tr", { "data-at": String(i) }, el("td", {}, box), columns.filter((column) => !hidden.has(column.name)).map((column) => cell(column, i)));
  }
  function update() {
    select();
    const pages = Math.max(1, Math.ceil(order.length / PER_PAGE));
    page = Math.min(page, pages - 1);
    head.replaceChildren(el("tr", {}, el("th", { scope: "col" }, el("span", { class: "unseen" }, "Compare")), columns.filter((column) => !hidden.has(column.name)).map(heading)));
    body.replaceChildren(...order.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(row));
    count.textContent = `${order.length} of ${run.count} architectures${pages > 1 ? `, ${page * PER_PAGE + 1} to ${Math.min(order.length, (page + 1) * PER_PAGE)} shown` : ""}.`;
    const go = (text, to, off) => el("button", { type: "button", disabled: off, click: () => { page = to; update(); } }, text);
    pager.hidden = pages < 2;
    pager.replaceChildren(go("First", 0, page === 0), go("Previous", page - 1, page === 0), el("span", {}, `Page ${page + 1} of ${pages}`), go("Next", page + 1, page >= pages - 1), go("Last", pages - 1, page >= pages - 1));
  }
  function boxes() {
    for (const each of body.rows) each.querySelector("input").checked = state.picked.includes(Number(each.dataset.at));
  }

  // ---- the file ----------------------------------------------------------------------------------------------------
  /* A text that a spreadsheet might take for a formula gets a quote in front of it. */
  const quoted = (text) => { const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text; return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe; };
  const plain = (value) => (Number.isNaN(value) ? "" : String(value));
  function csv() {
    const header = ["id", "outcome", "epochs"];
    const cells = [(i) => run.id(i), (i) => quoted(outcome(i)), (i) => (run.epochs ? plain(run.epochs[i]) : "")];
    for (const metric of run.metrics) {
      const { value, low, high, kind, mean, lower, upper, search: searched } = run.columns(metric.name);
      const isTrained = metric.source === "trained"; // a winner's value is of the test, a candidate's of the validation
      const own = (of) => (i) => (kind[i] === 2 || (isTrained && !run.winnerAt.has(i)) ? "" : plain(of[i]));
      const name = isTrained ? `test_${metric.name}` : metric.name;
      header.push(name, `${name}_lower_95`, `${name}_upper_95`);
      cells.push(own(value), own(low), own(high));
      if (isTrained) { header.push(`validation_${metric.name}`); cells.push((i) => plain(run.winnerAt.has(i) ? searched?.[i] ?? NaN : value[i])); }
      else { header.push(`${name}_source`); cells.push((i) => (kind[i] ? run.source(metric.name, i) : "")); }
      if (mean) { header.push(`predicted_${metric.name}`, `predicted_${metric.name}_lower_90`, `predicted_${metric.name}_upper_90`); cells.push((i) => plain(mean[i]), (i) => plain(lower[i]), (i) => plain(upper[i])); }
    }
    for (const choice of run.choices) { header.push(quoted(`choice.${choice.name}`)); cells.push((i) => (choice.numeric ? run.option(choice, i) ?? "" : quoted(run.option(choice, i) ?? ""))); }
    return [header.join(","), ...order.map((i) => cells.map((each) => each(i)).join(","))].join("\r\n") + "\r\n";
  }
  Page.csv = csv;
  Page.showTable = () => {
    if (!run.count) { place.replaceChildren(el("p", { class: "blank" }, "Nothing has been recorded yet.")); return; }
    const kinds = [["", "all"], ["winners", "winners"], ["within", "within the budget"], ["sound", "without failures"], ["failed", "failed"]];
    const only = el("select", { id: "only", change: () => Page.change({ only: only.value }) }, kinds.map(([value, text]) => el("option", { value, selected: value === state.only }, text)));
    const find = el("input", { type: "search", id: "find", placeholder: "such as kernel=5 or latency_ms<0.5", autocomplete: "off", input: () => { search = find.value; page = 0; update(); } });
    const checks = columns.filter((column) => !column.fixed).map((column) => el("label", { class: "check" }, el("input", { type: "checkbox", checked: !hidden.has(column.name), change: (event) => { if (event.target.checked) hidden.delete(column.name); else hidden.add(column.name); update(); } }), ` ${column.title}`));
    place.replaceChildren(
      el("div", { class: "controls" }, el("label", {}, "Show ", only), el("label", {}, "Find ", find), el("button", { type: "button", id: "csv", click: () => Charts.save("architectures.csv", "text/csv", csv()) }, "Download CSV")),
      el("details", { class: "hiding" }, el("summary", {}, "Columns"), el("div", { class: "checks" }, checks)), fault, count,
      el("div", { class: "scroll long", tabindex: "0", role: "region", "aria-label": "All architectures" }, el("table", { id: "all-architectures" }, head, body)), pager);
    update();
    Page.onChange((names) => {
      if (names.includes("only")) only.value = state.only;
      if (names.includes("filter") || names.includes("only") || (names.includes("budget") && state.only === "within")) { page = 0; update(); } else if (names.includes("picked")) boxes();
    });
  };
})();
