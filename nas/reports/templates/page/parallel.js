/* Parallel coordinates: a line for each architecture through its choices and its values. */
(() => {
  "use strict";
  const { run, state } = Page;
  const { el, drawn, SVG } = Charts;
  const place = document.getElementById("parallel");
  if (!place) return;
  const MOST_LINES = 1500;
  const MOST_AXES = 9;
  const [TOP, FOOT] = [58, 26];
  let axes = [];
  let lines = [];

  const choiceAxis = (choice) => ({ key: `c.${choice.name}`, title: choice.name, choice });
  const metricAxis = (metric) => ({ key: `m.${metric.name}`, title: metric.title, metric });
  const all = [
    ...run.choices.filter((choice) => !choice.many && choice.options.length > 1 && choice.options.length <= 60).map(choiceAxis),
    ...run.metrics.filter((metric) => run.columns(metric.name).kind.some((kind) => kind)).map(metricAxis),
  ];
  /* How far the quality's mean moves along a choice: the choices that tell most come first. */
  function weight(axis) {
    const { value } = run.columns(run.quality);
    const [sums, counts] = [new Float64Array(axis.choice.options.length + 1), new Float64Array(axis.choice.options.length + 1)];
    let [total, count] = [0, 0];
    for (let i = 0; i < run.count; i += 1) {
      if (Number.isNaN(value[i])) continue;
      sums[axis.choice.of[i]] += value[i]; counts[axis.choice.of[i]] += 1; total += value[i]; count += 1;
    }
    return counts.reduce((found, n, k) => found + (n ? n * (sums[k] / n - total / count) ** 2 : 0), 0);
  }
  function usual() {
    const values = [run.quality, ...run.costs].map((name) => `m.${name}`);
    const shown = all.filter((axis) => values.includes(axis.key)).slice(0, 4);
    const choices = all.filter((axis) => axis.choice).map((axis) => [axis, weight(axis)]).sort((a, b) => b[1] - a[1]).slice(0, MOST_AXES - shown.length).map(([axis]) => axis);
    return new Set([...all.filter((axis) => choices.includes(axis)), ...shown].map((axis) => axis.key));
  }
  let chosen;

  /* Where an architecture crosses an axis: 0 at the bottom, 1 at the top; NaN without a value. */
  function placed(axis) {
    if (axis.choice) {
      const last = axis.choice.options.length;
      const hasNone = axis.choice.of.includes(0);
      const [low, span] = hasNone ? [0, last] : [1, last - 1];
      axis.marks = [...(hasNone ? [["none", 0]] : []), ...axis.choice.options.map((text, k) => [text, k + 1])].map(([text, k]) => ({ text, at: (k - low) / (span || 1), option: k }));
      axis.at = (i) => (axis.choice.of[i] - low) / (span || 1);
      return;
    }
    const { value } = run.columns(axis.metric.name);
    let [low, high] = [Infinity, -Infinity];
    for (const i of lines) if (!Number.isNaN(value[i])) { low = Math.min(low, value[i]); high = Math.max(high, value[i]); }
    const log = low > 0 && high / low > 20;
    const warp = log ? Math.log : (x) => x;
    axis.at = (i) => (high > low ? (warp(value[i]) - warp(low)) / (warp(high) - warp(low)) : Number.isNaN(value[i]) ? NaN : 0.5);
    axis.marks = low <= high ? [low, high].map((x) => ({ text: run.text(axis.metric.name, x), at: high > low ? (warp(x) - warp(low)) / (warp(high) - warp(low)) : 0.5 })) : [];
  }
  function choose() {
    const passing = Page.passes();
    const { value, kind } = run.columns(run.quality);
    const usable = [];
    for (let i = 0; i < run.count; i += 1) if (passing[i] && kind[i]) usable.push(i);
    const total = usable.length;
    if (total > MOST_LINES) usable.sort((a, b) => (run.winnerAt.has(b) - run.winnerAt.has(a)) || value[a] - value[b]);
    lines = usable.slice(0, MOST_LINES);
    note.textContent = total > MOST_LINES ? `The ${MOST_LINES} lines are the winners, and those with the lowest ${run.title(run.quality).toLowerCase()}, of ${total} architectures.` : `Each line is one of the ${total} architectures whose ${run.title(run.quality).toLowerCase()} is known. Blue lines are winners.`;
  }

  const canvas = el("canvas", { "aria-hidden": "true" });
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("preserveAspectRatio", "none");
  const labels = el("div", { class: "labels" });
  const tip = el("div", { class: "tip", hidden: true });
  const stage = el("div", { class: "stage lines", tabindex: "0", role: "application", "aria-roledescription": "plot", "aria-label": "Parallel coordinates", "aria-describedby": "parallel-keys" }, canvas, svg, labels, tip);
  const keys = el("p", { class: "unseen", id: "parallel-keys" }, "Arrow keys go from line to line, the best one first. Enter opens its card.");
  const speaker = el("div", { class: "unseen", role: "status", "aria-live": "polite" });
  const note = el("p", { class: "soft" });
  let [width, height, told, last] = [0, 0, -1, -1];
  let ranked = null;
  const xOf = (k) => (axes.length > 1 ? 56 + k * (width - 112) / (axes.length - 1) : width / 2);
  const yOf = (at) => height - FOOT - at * (height - FOOT - TOP);

  function draw(sharpness = window.devicePixelRatio || 1) {
    stage.style.minWidth = Charts.root.classList.contains("printing") ? "0" : `${axes.length * 96}px`; // paper does not scroll
    [width, height] = [stage.clientWidth, stage.clientHeight];
    if (!width) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    canvas.width = Math.round(width * sharpness);
    canvas.height = Math.round(height * sharpness);
    const context = canvas.getContext("2d");
    context.scale(sharpness, sharpness);
    const path = (i) => {
      context.beginPath();
      let open = false;
      axes.forEach((axis, k) => {
        const at = axis.at(i);
        if (Number.isNaN(at)) { open = false; return; }
        if (open) context.lineTo(xOf(k), yOf(at)); else context.moveTo(xOf(k), yOf(at));
        open = true;
      });
      context.stroke();
    };
    const others = lines.filter((i) => !run.winnerAt.has(i));
    context.strokeStyle = Charts.colour("measured");
    context.globalAlpha = Math.max(0.06, Math.min(0.4, 40 / Math.max(1, others.length)));
    context.lineWidth = 1;
    others.forEach(path);
    context.strokeStyle = Charts.colour("winner");
    context.globalAlpha = Math.max(0.25, Math.min(0.9, 30 / Math.max(1, lines.length - others.length)));
    context.lineWidth = 2;
    lines.filter((i) => run.winnerAt.has(i)).forEach(path);
    frame();
  }
  function frame() {
    svg.replaceChildren();
    axes.forEach((axis, k) => drawn(svg, "line", { x1: xOf(k), x2: xOf(k), y1: TOP, y2: height - FOOT, stroke: Charts.colour("soft"), "stroke-width": 1 }));
    if (told >= 0) {
      const points = axes.map((axis, k) => [xOf(k), yOf(axis.at(told))]).filter(([, y]) => Number.isFinite(y)).map((point) => point.join(",")).join(" ");
      drawn(svg, "polyline", { points, fill: "none", stroke: Charts.colour("ink"), "stroke-width": 3 });
    }
  }
  function label() {
    const at = (node, x, y, side) => { node.style.left = `${x}px`; node.style.top = `${y}px`; node.classList.add(side); return node; };
    labels.replaceChildren(...axes.flatMap((axis, k) => {
      const made = [at(el("span", { class: "axis", title: axis.title }, axis.title), xOf(k), 6, "over")];
      const every = Math.ceil(axis.marks.length / 14);
      axis.marks.forEach((mark, number) => {
        if (axis.choice) {
          if (number % every) return;
          const wanted = state.filter.get(axis.choice.name);
          made.push(at(el("button", { type: "button", class: "mark", "aria-pressed": String(wanted?.has(mark.option) ?? false), "aria-label": `${axis.title} ${mark.text}`, click: () => Page.toggleOption(axis.choice, mark.option) }, mark.text), xOf(k), yOf(mark.at), k === axes.length - 1 ? "left" : "right"));
        } else made.push(at(el("span", { class: "mark" }, mark.text), xOf(k), yOf(mark.at), number ? "above" : "below"));
      });
      return made;
    }));
  }
  function update() {
    axes = all.filter((axis) => chosen.has(axis.key));
    choose();
    axes.forEach(placed);
    ranked = null;
    tell(-1);
    draw();
    label();
  }
  function near(x, y) {
    const k = Math.max(0, axes.findLastIndex((_, place_) => xOf(place_) <= x));
    if (k >= axes.length - 1) return -1;
    const share = (x - xOf(k)) / (xOf(k + 1) - xOf(k));
    let [best, least] = [-1, 10];
    for (const i of lines) {
      const far = Math.abs(yOf(axes[k].at(i) * (1 - share) + axes[k + 1].at(i) * share) - y) - (run.winnerAt.has(i) ? 1 : 0);
      if (far < least) { least = far; best = i; }
    }
    return best;
  }
  /* Draw one line over the others, and tell what it is beside a place; -1 is none. */
  function tell(i, x = 0, y = TOP) {
    told = i;
    tip.hidden = i < 0;
    if (i >= 0) {
      last = i;
      tip.replaceChildren(el("strong", {}, `${run.id(i)}, ${run.outcomeText(i)}`), el("div", {}, `${run.title(run.quality)} ${run.text(run.quality, run.columns(run.quality).value[i])}`));
      tip.style.left = `${Math.min(x + 14, width - tip.offsetWidth)}px`;
      tip.style.top = `${Math.min(y + 12, height - tip.offsetHeight)}px`;
    }
    frame();
  }
  function key(event) {
    if (event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") { if (told < 0) return; Page.change({ card: told }); } else if (event.key === "Escape") tell(-1);
    else {
      const { value } = run.columns(run.quality);
      ranked ??= [...lines].sort((a, b) => value[a] - value[b] || a - b);
      const from = ranked.indexOf(last);
      const to = new Map([["ArrowDown", from + 1], ["ArrowRight", from + 1], ["ArrowUp", from - 1], ["ArrowLeft", from - 1], ["Home", 0], ["End", Infinity]]).get(event.key);
      if (to === undefined || !ranked.length) return;
      tell(ranked[Math.min(Math.max(to, 0), ranked.length - 1)]);
      speaker.textContent = tip.innerText;
    }
    event.preventDefault();
  }
  function listen() {
    const where = (event) => { const box = stage.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    const found = (event) => (event.target.tagName === "BUTTON" ? -1 : near(...where(event)));
    stage.addEventListener("pointermove", (event) => { const i = found(event); if (i !== told) tell(i, ...where(event)); });
    stage.addEventListener("pointerleave", () => tell(-1));
    stage.addEventListener("click", (event) => { const i = found(event); if (i >= 0) Page.change({ card: i }); }); // a finger does not move before
    stage.addEventListener("keydown", key);
    stage.addEventListener("blur", () => tell(-1));
  }
  Page.showParallel = () => {
    if (!run.count || all.length < 2) { place.replaceChildren(el("p", { class: "blank" }, "Nothing to draw yet.")); return; }
    chosen = usual();
    const boxes = all.map((axis) => el("label", { class: "check" }, el("input", { type: "checkbox", checked: chosen.has(axis.key), change: (event) => { if (event.target.checked) chosen.add(axis.key); else chosen.delete(axis.key); update(); } }), ` ${axis.title}`));
    place.replaceChildren(note, el("div", { class: "scroll wide", tabindex: "0", role: "group", "aria-label": "Lines through choices and values. The table below has the same values." }, stage), keys, speaker, el("details", {}, el("summary", {}, "Axes"), el("div", { class: "checks" }, boxes)));
    listen();
    new ResizeObserver(() => { if (stage.clientWidth !== width) { draw(); label(); } }).observe(stage);
    update();
    Charts.plots.add({ stage, redraw: (sharpness) => { draw(sharpness); label(); } });
    Page.onChange((names) => { if (names.includes("filter")) update(); });
  };
})();
