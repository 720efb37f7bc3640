/* What matters: the importance of each choice, and how a metric changes along one. */
setTimeout(() => {
  "use strict";
  const MOST = 20;
  const percent = (value) => `${Charts.general(value, 3)} %`;
  const at = (name, number) => document.getElementById(`matters-${name}-${number}`);
  Charts.document().sections.matters.runs.forEach((run, number) => {
    if (!run.metrics.length) return;
    const [metricBox, choiceBox] = [at("metric", number), at("choice", number)];
    const plots = {};
    const draw = (name, spec) => {
      if (plots[name]) plots[name].update(spec);
      else plots[name] = Charts.plot(at(name, number), spec);
    };
    const metric = () => run.metrics[Number(metricBox.value)];

    const importance = () => {
      const { title, importances } = metric();
      const rows = importances.slice(0, MOST);
      draw("importance", {
        label: rows.length ? `Importance of each choice for ${title}` : `No importance is known for ${title}`,
        x: { title: `Share of the variation of ${title}`, form: percent },
        y: { title: "", categories: rows.map((row) => row.choice) },
        marks: [{
          kind: "bars", name: "importance", role: "winner",
          at: rows.map((_, index) => index),
          value: rows.map((row) => 100 * row.value),
          low: rows.map((row) => 100 * row.lower),
          high: rows.map((row) => 100 * row.upper),
          texts: rows.map((row) => [row.choice, `${percent(100 * row.value)} (${percent(100 * row.lower)} to ${percent(100 * row.upper)})`]),
          pick: (index) => choose(rows[index].choice),
        }],
        legend: false,
        zoom: false,
      });
    };
    const effect = () => {
      const shown = metric();
      const found = shown.effects[choiceBox.value];
      const form = Charts.form(shown);
      at("effect-title", number).textContent = found ? `${shown.title} along ${choiceBox.value}` : "Along a choice";
      const options = found ? found.options : [];
      const places = options.map((_, index) => index);
      draw("effect", {
        label: found ? `${shown.title} for each option of ${choiceBox.value}` : "Nothing is known along this choice",
        x: { title: choiceBox.value, categories: options },
        y: { title: shown.title, form, log: shown.log },
        marks: found ? [
          ...(found.numeric ? [{ kind: "line", name: "", role: "winner", x: places, y: found.value }] : []),
          { kind: "points", name: shown.title, role: "winner", shape: "disc", x: places, y: found.value, yLow: found.lower, yHigh: found.upper,
            texts: places.map((index) => [options[index], `${form(found.value[index])} (${form(found.lower[index])} to ${form(found.upper[index])})`, `${found.count[index]} architectures`]) },
        ] : [],
        legend: false,
        zoom: false,
      });
      at("options", number).replaceChildren(...places.map((index) => Charts.el("tr", {},
        Charts.el("th", { scope: "row" }, options[index]),
        Charts.el("td", {}, form(found.value[index])),
        Charts.el("td", {}, `${form(found.lower[index])} to ${form(found.upper[index])}`),
        Charts.el("td", {}, String(found.count[index])))));
    };
    const choose = (name) => {
      if (!Object.hasOwn(metric().effects, name)) return;
      choiceBox.value = name;
      effect();
    };
    const choices = () => {
      const kept = choiceBox.value;
      const { importances, effects } = metric();
      const names = [...importances.map((row) => row.choice).filter((name) => Object.hasOwn(effects, name)), ...Object.keys(effects)];
      choiceBox.replaceChildren(...[...new Set(names)].map((name) => Charts.el("option", { value: name }, name)));
      if (Object.hasOwn(effects, kept)) choiceBox.value = kept;
    };
    metricBox.addEventListener("change", () => { choices(); importance(); effect(); });
    choiceBox.addEventListener("change", effect);
    choices();
    importance();
    effect();
  });
}, 0); // once the first screen stands
