/* Page.run: the document's columns as typed arrays, and what they say about one architecture. */
const Page = {};
(() => {
  "use strict";
  const data = Charts.document();
  const KINDS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f8: Float64Array };

  function bytesOf(text) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i += 1) bytes[i] = raw.charCodeAt(i);
    return bytes;
  }
  function counts(column) {
    const [kind, text] = Object.entries(column)[0];
    return new KINDS[kind](bytesOf(text).buffer);
  }
  function floats(column, length) {
    if (!column) return null;
    const found = new Float64Array(bytesOf(column.f8).buffer);
    if (!column.at) return found;
    const whole = new Float64Array(length).fill(NaN);
    counts(column.at).forEach((place, i) => { whole[place] = found[i]; });
    return whole;
  }

  const count = data.count;
  const run = { ...data.run, count, limits: data.limits, metrics: data.metrics, winners: data.winners };
  run.outcome = counts(data.outcomes);
  run.epochs = floats(data.epochs, count);
  // Without a prototype, so that no name in the address or the search, such as "constructor", is found in it by chance.
  run.metric = Object.assign(Object.create(null), Object.fromEntries(data.metrics.map((metric) => [metric.name, metric])));
  run.by = counts(data.by);
  run.choices = data.choices.map((choice) => ({ ...choice, of: counts(choice.of) }));
  run.winnerAt = new Map(data.winners.map((winner) => [winner.at, winner]));

  const idBytes = counts(data.ids);
  run.id = (i) => {
    let text = "";
    for (let k = 6 * i; k < 6 * i + 6; k += 1) text += idBytes[k].toString(16).padStart(2, "0");
    return text;
  };
  let byId;
  run.place = (id) => {
    byId ??= new Map(Array.from({ length: count }, (_, i) => [run.id(i), i]));
    return byId.get(id);
  };
  run.best = run.best === null ? -1 : run.place(run.best);

  // Columns of a metric: value, low, high, and kind: 0 unknown, 1 found, 2 predicted. A prediction is no value of a
  // winner: the front and its limits count measurements alone.
  const columns = Object.create(null);
  run.columns = (name) => {
    if (columns[name]) return columns[name];
    const packed = data.columns[name] ?? {};
    const found = floats(packed.found, count);
    const mean = floats(packed.mean, count);
    const made = { value: new Float64Array(count).fill(NaN), low: new Float64Array(count).fill(NaN), high: new Float64Array(count).fill(NaN), kind: new Uint8Array(count), search: floats(packed.search, count), raw: floats(packed.raw, count), mean, lower: floats(packed.lower, count), upper: floats(packed.upper, count) };
    const [low, high] = [floats(packed.low, count), floats(packed.high, count)];
    for (let i = 0; i < count; i += 1) {
      if (found && !Number.isNaN(found[i])) {
        made.kind[i] = 1;
        made.value[i] = found[i];
        made.low[i] = low ? low[i] : NaN;
        made.high[i] = high ? high[i] : NaN;
      } else if (mean && !Number.isNaN(mean[i]) && !run.winnerAt.has(i)) {
        made.kind[i] = 2;
        made.value[i] = mean[i];
        made.low[i] = made.lower[i];
        made.high[i] = made.upper[i];
      }
    }
    columns[name] = made;
    return made;
  };

  // ---- texts -------------------------------------------------------------------------------------------------------
  const { words } = run;
  run.text = (name, value) => (Number.isNaN(value) ? "–" : Charts.form(run.metric[name])(value));
  run.range = (name, low, high) => {
    if (Number.isNaN(low) || Number.isNaN(high)) return "";
    const [one, other] = [run.text(name, low), run.text(name, high)];
    const [number, unit] = one.split(" ");
    return `${unit === other.split(" ")[1] ? number : one}–${other}`;
  };
  run.source = (name, i) => {
    const { kind } = run.columns(name);
    const { source } = run.metric[name];
    if (kind[i] === 2) return "predicted";
    if (source === "measured") return words.source;
    if (source === "trained") return run.winnerAt.has(i) ? words.final : run.searched(i);
    return source;
  };
  /* The source of what an architecture had in the search, and what it had. */
  run.searched = (i) => [words.search, data.ways[run.by[i]]].filter(Boolean).join(", ");
  run.inSearch = (name, i) => (run.winnerAt.has(i) ? run.columns(name).search?.[i] ?? NaN : run.columns(name).value[i]);
  // The accuracy where the task shows that in place of its error.
  run.quality_title = run.quality === "error" ? words.title : run.metric[run.quality].title.toLowerCase();
  run.qualityText = (value) => {
    if (run.quality !== "error") return run.text(run.quality, value);
    const shown = words.accuracy ? 1 - value : value;
    return words.share ? `${Charts.fixed(100 * shown, 2)} %` : Charts.general(shown, 4);
  };
  /* A value with its source: a winner's split stands before the metric's title, a candidate's in brackets behind it. */
  run.scored = (i) => {
    const text = run.qualityText(run.columns(run.quality).value[i]);
    const source = run.source(run.quality, i);
    return run.winnerAt.has(i) ? `${text} ${source} ${run.quality_title}` : `${text} ${run.quality_title} (${source})`;
  };
  /* The run's own limits; of two on one metric the stricter one. */
  run.ownBudget = () => {
    const budget = {};
    for (const { metric, value } of run.limits) if (metric in run.metric) budget[metric] = Math.min(value, budget[metric] ?? Infinity);
    return budget;
  };
  run.title = (name) => run.metric[name].title;
  run.option = (choice, i) => (choice.of[i] ? choice.options[choice.of[i] - 1] : null);
  run.brief = (i, most = Infinity) => {
    const told = [];
    for (const choice of run.choices) {
      const option = run.option(choice, i);
      if (option !== null) told.push(`${choice.name}=${option}`);
      if (told.length > most) return `${told.slice(0, most).join(" ")} …`;
    }
    return told.join(" ");
  };
  run.differences = (i, other) => run.choices.filter((choice) => choice.of[i] !== choice.of[other]);
  run.outcomeText = (i) => run.shown_outcomes[run.outcome[i]];
  run.WINNER = run.outcomes.indexOf("winner");
  run.FAILED = run.outcomes.indexOf("failed");

  // ---- evaluations -------------------------------------------------------------------------------------------------
  let rows;
  run.rows = () => {
    if (rows) return rows;
    const packed = data.rows;
    rows = { failures: packed.failures, ways: data.ways, kept: new Set(counts(packed.kept)) };
    for (const name of ["of", "stage", "round", "ended", "by"]) rows[name] = counts(packed[name]);
    for (const name of ["error", "epochs", "seconds"]) rows[name] = floats(packed[name], rows.of.length);
    rows.at = Array.from({ length: count }, () => []);
    rows.of.forEach((place, row) => rows.at[place].push(row));
    return rows;
  };
  run.doubts = (i) => Object.entries(data.doubts).filter(([, places]) => places.includes(i)).map(([text]) => text);
  run.unlike = (i) => data.unlike[i] ?? [];
  run.failure = (i) => {
    const { at, ended, failures } = run.rows();
    const row = at[i].findLast((each) => ended[each] > 1);
    return row === undefined ? null : failures[ended[row] - 2];
  };

  // ---- telling apart, by the rule of nas.values.comparison ---------------------------------------------------------
  run.estimate = (name, i) => {
    const { value, low, high } = run.columns(name);
    const [own, lower, upper] = [value[i], low[i], high[i]];
    return { value: own, low: Number.isNaN(lower) ? own : Math.min(lower, own), high: Number.isNaN(upper) ? own : Math.max(upper, own) };
  };
  run.surelyLess = (one, other) => other.value - one.value > Math.hypot(one.high - one.value, other.value - other.low);
  // What a limit is checked against: the upper end of what was measured or predicted, and the value of everything else.
  run.upperOf = (name) => {
    const { value, high } = run.columns(name);
    const judged = run.metric[name].source === "measured";
    return (i) => (judged && high[i] > value[i] ? high[i] : value[i]);
  };
  run.upper = (name, i) => run.upperOf(name)(i);
  Page.run = run;
  Page.sections = data.sections ?? {};
})();
