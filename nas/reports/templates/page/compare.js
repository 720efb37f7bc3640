/* Two to five architectures side by side, differences first, with a verdict for each measured value. */
(() => {
  "use strict";
  const { run, state } = Page;
  const { el } = Charts;
  const place = document.getElementById("compare");
  if (!place) return;

  const better = (isLess) => (isLess ? "better" : "worse");
  /* Errors of a winner on the test split and of a candidate on another one do not compare; those in the search do. */
  function inSearch(name, i, first) {
    const [own, other] = [run.inSearch(name, i), run.inSearch(name, first)];
    if (Number.isNaN(own) || Number.isNaN(other)) return "not on the same split";
    if (own === other) return "the same in the search";
    const apart = run.metric[name].share ? `${Charts.fixed(100 * Math.abs(own - other), 2)} points` : other > 0 ? `${Charts.figures(100 * Math.abs(own / other - 1), 3)} %` : "";
    return `${apart} ${better(own < other)} in the search`.trim();
  }
  /* How one value compares with that of the first: a range of per cent if they can be told apart. */
  function verdict(name, i, first) {
    const told = judged(name, i, first);
    const isGuess = [i, first].some((each) => run.columns(name).kind[each] === 2);
    return told && isGuess ? `${told}, as predicted` : told;
  }
  function judged(name, i, first) {
    const [own, other] = [run.estimate(name, i), run.estimate(name, first)];
    if (Number.isNaN(own.value) || Number.isNaN(other.value)) return "";
    const { source, share } = run.metric[name];
    if (source === "trained" && !(run.winnerAt.has(i) && run.winnerAt.has(first))) return inSearch(name, i, first);
    if (own.value === other.value) return "the same";
    const exact = source === "counted" || source === "modelled";
    const isLess = own.value < other.value;
    if (!exact && !(isLess ? run.surelyLess(own, other) : run.surelyLess(other, own))) return "cannot be told apart";
    const word = name.endsWith("_ms") ? (isLess ? "faster" : "slower") : source === "trained" ? better(isLess) : isLess ? "less" : "more";
    if (share) return `${Charts.fixed(100 * Math.abs(own.value - other.value), 2)} points ${word}`;
    if (!(own.value > 0 && other.value > 0)) return word;
    const middle = Math.log(own.value / other.value);
    const [down, up] = [Math.hypot(Math.log(own.value / own.low), Math.log(other.high / other.value)), Math.hypot(Math.log(own.high / own.value), Math.log(other.value / other.low))];
    const percent = (end, digits) => Charts.figures(100 * Math.abs(Math.exp(end) - 1), digits);
    const [nearer, farther] = isLess ? [middle + up, middle - down] : [middle - down, middle + up];
    if (exact || ![nearer, farther].every(Number.isFinite)) return `${percent(middle, 3)} % ${word}`;
    if (nearer * middle <= 0) return `up to ${percent(farther, 2)} % ${word}`; // the ratio's interval just reaches 1
    const [low, high] = [percent(nearer, 2), percent(farther, 2)];
    return low === high ? `${low} % ${word}` : `${low} to ${high} % ${word}`;
  }
  function metricRows(picked) {
    const rows = [];
    for (const metric of run.metrics) {
      const { value, low, high, kind } = run.columns(metric.name);
      if (!picked.some((i) => kind[i])) continue;
      const cells = picked.map((i, k) => {
        if (!kind[i]) return el("td", {}, "–");
        const range = run.range(metric.name, low[i], high[i]);
        return el("td", { class: kind[i] === 2 ? "guess" : "" }, el("span", { class: "value" }, run.text(metric.name, value[i])),
          el("small", {}, [range, run.source(metric.name, i)].filter(Boolean).join(", ")), k ? el("small", { class: "verdict" }, verdict(metric.name, i, picked[0])) : null);
      });
      const differs = picked.some((i) => value[i] !== value[picked[0]]);
      rows.push({ differs, row: el("tr", {}, el("th", { scope: "row" }, metric.title), cells) });
    }
    return rows;
  }
  function choiceRows(picked) {
    return run.choices.filter((choice) => picked.some((i) => choice.of[i])).map((choice) => {
      const differs = picked.some((i) => choice.of[i] !== choice.of[picked[0]]);
      const cells = picked.map((i) => el("td", { class: choice.of[i] !== choice.of[picked[0]] ? "changed" : "" }, run.option(choice, i) ?? "–"));
      return { differs, row: el("tr", {}, el("th", { scope: "row" }, choice.name), cells) };
    });
  }
  const group = (text, span) => el("tr", { class: "group" }, el("th", { scope: "rowgroup", colspan: span }, text));

  function show() {
    const { picked } = state;
    if (!picked.length) { place.replaceChildren(el("p", { class: "blank" }, "Choose two to five architectures: in the table below, or on a card.")); return; }
    const chips = el("p", { class: "buttons" },
      picked.map((i) => el("button", { type: "button", "aria-label": `Remove ${run.id(i)}`, click: () => Page.pick(i) }, `${run.id(i)} ✕`)),
      el("button", { type: "button", click: () => Page.change({ picked: [] }) }, "Remove all"));
    if (picked.length < 2) { place.replaceChildren(chips, el("p", { class: "blank" }, "Choose one more to compare it with.")); return; }
    const head = el("tr", {}, el("th", { scope: "col" }, ""), picked.map((i, k) => el("th", { scope: "col" },
      el("button", { type: "button", class: "link", click: () => Page.change({ card: i }) }, run.id(i)), el("small", {}, k ? `${run.outcomeText(i)}, against the first` : run.outcomeText(i)))));
    const [metrics, choices] = [metricRows(picked), choiceRows(picked)];
    const [apart, same] = [true, false].map((differs) => [metrics.filter((each) => each.differs === differs), choices.filter((each) => each.differs === differs)]);
    const body = el("tbody", {},
      apart[0].length ? group("Values that differ", picked.length + 1) : null, apart[0].map((each) => each.row),
      apart[1].length ? group("Choices that differ", picked.length + 1) : null, apart[1].map((each) => each.row));
    const rest = [...same[0], ...same[1]];
    const table = el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Comparison" }, el("table", { class: "compared" }, el("thead", {}, head), body));
    const told = picked.length === 2 ? el("p", { class: "answer" }, sentence(picked)) : null;
    place.replaceChildren(chips, ...(told ? [told] : []), table, ...(rest.length ? [el("details", {}, el("summary", {}, `The same in all: ${rest.length}`), el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "The same in all" }, el("table", { class: "compared" }, el("tbody", {}, rest.map((each) => each.row)))))] : []));
  }
  /* The comparison of two in a sentence, first what the run minimised. */
  function sentence([first, second]) {
    const told = run.objectives.filter((name) => name in run.metric).map((name) => {
      const found = verdict(name, second, first);
      return found === "" ? null : `${run.title(name).toLowerCase()}: ${found}`;
    }).filter(Boolean);
    return `${run.id(second)} against ${run.id(first)}: ${told.join("; ") || "no value in common"}.`;
  }
  Page.verdict = verdict;
  Page.showCompare = () => {
    show();
    Page.onChange((names) => { if (names.includes("picked")) show(); });
  };
})();
