/* Drawn architectures: the layers of a winner as blocks, and the choices of any architecture as a map of options. */
(() => {
  "use strict";
  const { run } = Page;
  const { el, drawn, SVG } = Charts;
  const ROLES = { Conv: "winner", depthwise: "predicted", Gemm: "measured", MatMul: "measured", Gather: "good" };
  const NAMES = { Conv: "convolution", depthwise: "depthwise convolution", Gemm: "linear", MatMul: "matrix product", Gather: "embedding" };

  const kindOf = (layer) => (layer.op === "Conv" && layer.groups > 1 ? "depthwise" : layer.op);
  const nameOf = (layer) => NAMES[kindOf(layer)] ?? layer.op;
  const sized = (layer) => layer.shape.filter((size) => size).join("×");
  const widthOf = (layer) => (layer.op === "Conv" ? layer.shape[0] : layer.shape.at(-1)) || 1;
  function sentence(layer) {
    const parts = [nameOf(layer)];
    if (layer.kernel) parts.push(`${layer.kernel.join("×")} kernel`);
    if (layer.stride > 1) parts.push(`stride ${layer.stride}`);
    if (layer.shape.length) parts.push(`output ${sized(layer)}`);
    parts.push(`${Charts.readable(layer.weights, "", "", 3)} weights`);
    if (layer.then?.length) parts.push(`then ${layer.then.join(", ")}`);
    return parts.join(", ");
  }

  /* Blocks from left to right: as high as the layer is wide, coloured by its kind. */
  function layers(found) {
    const [step, high] = [46, 118];
    const width = Math.max(...found.map(widthOf));
    const svg = document.createElementNS(SVG, "svg");
    for (const [name, value] of Object.entries({ width: found.length * step + 8, height: high + 58, "aria-hidden": "true" })) svg.setAttribute(name, value);
    found.forEach((layer, i) => {
      const tall = Math.max(12, high * Math.sqrt(widthOf(layer) / width));
      const x = 4 + i * step;
      if (i) drawn(svg, "line", { x1: x - 14, x2: x, y1: 10 + high / 2, y2: 10 + high / 2, stroke: "var(--soft)", "stroke-width": 1.5 });
      const block = drawn(svg, "rect", { x, y: 10 + (high - tall) / 2, width: 32, height: tall, rx: 4, fill: `var(--${ROLES[kindOf(layer)] ?? "stopped"})` });
      drawn(block, "title", {}, sentence(layer));
      const under = [layer.kernel ? layer.kernel.join("×") : "", sized(layer)];
      under.forEach((text, row) => drawn(svg, "text", { x: x + 16, y: high + 26 + 14 * row, "text-anchor": "middle", "font-size": text.length > 7 ? 8.5 : 10.5, fill: "var(--soft)" }, text));
    });
    const kinds = [...new Map(found.map((layer) => [nameOf(layer), ROLES[kindOf(layer)] ?? "stopped"]))];
    const key = el("p", { class: "key", "aria-hidden": "true" }, kinds.map(([name, role]) => el("span", { class: `dot ${role}` }, name)));
    const told = el("ol", { class: "unseen" }, found.map((layer) => el("li", {}, sentence(layer))));
    return [el("div", { class: "scroll layers", tabindex: "0", role: "group", "aria-label": "Layers from input to output" }, svg), key, told];
  }

  /* Each choice with the options that occur in the run: filled is this one, outlined is the best model's. */
  function choices(i, best) {
    const rows = run.choices.filter((choice) => choice.of[i] || (best >= 0 && choice.of[best])).map((choice) => {
      const [own, other] = [choice.of[i], best >= 0 ? choice.of[best] : 0];
      const near = choice.options.length <= 12 ? choice.options.map((option, k) => [option, k + 1]) : [...new Set([own, other])].filter(Boolean).map((k) => [choice.options[k - 1], k]);
      const cells = near.map(([option, k]) => el("span", { class: `option${k === own ? " own" : ""}${k === other && other !== own ? " best" : ""}` }, option,
        k === own ? el("span", { class: "unseen" }, " (this one)") : null, k === other && other !== own ? el("span", { class: "unseen" }, " (the best)") : null));
      return el("div", { class: own !== other && best >= 0 ? "differs" : "" }, el("dt", {}, choice.name, choice.training ? el("small", {}, " training") : null), el("dd", {}, own ? null : el("span", { class: "option own" }, "none"), cells));
    });
    return el("dl", { class: "map" }, rows);
  }

  function confusion({ names, counts }) {
    const most = Math.max(...counts.flat(), 1);
    const head = el("tr", {}, el("th", { scope: "col" }, "true \\ given"), names.map((name) => el("th", { scope: "col" }, name)));
    const body = counts.map((row, i) => el("tr", {}, el("th", { scope: "row" }, names[i]), row.map((count, k) => {
      const cell = el("td", { class: i === k ? "right" : count ? "wrong" : "" }, String(count));
      cell.style.setProperty("--strength", String(Math.round(100 * Math.sqrt(count / most))));
      return cell;
    })));
    return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Confusion matrix" }, el("table", { class: "confusion" }, el("thead", {}, head), el("tbody", {}, body)));
  }

  /* Operators with their shares as bars, in the order in which they run, or the largest first. */
  function layerTimes(times) {
    const note = (...parts) => el("p", { class: "soft" }, ...parts);
    if (!times) return [note("This run did not record how the latency divides among layers.")];
    if (times.reason) return [note("How the latency divides among layers is not known: ", times.reason)];
    const { total_ms: total, latency_ms: latency } = times;
    const rows = [...times.layers];
    if (times.others) rows.push([`${times.others} other operator${times.others === 1 ? "" : "s"}`, "", times.others_ms]);
    const most = Math.max(...rows.map(([, , ms]) => ms));
    const number = (ms) => el("td", { class: "number" }, Charts.general(ms, 3));
    const line = ([name, kind, ms]) => {
      const bar = el("span", { class: "share", "aria-hidden": "true" });
      bar.style.width = `${(100 * ms) / most}%`;
      return el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, kind), number(ms), latency === null ? null : number((latency * ms) / total),
        el("td", {}, `${Charts.fixed((100 * ms) / total, 1)} %`, bar));
    };
    const body = el("tbody", {}, rows.map(line));
    const titles = ["Operator", "Type", "Profiled, ms", ...(latency === null ? [] : ["Of the latency, ms"]), "Share"];
    const order = el("button", { type: "button", "aria-pressed": "false", click: () => {
      const isPressed = order.getAttribute("aria-pressed") !== "true";
      order.setAttribute("aria-pressed", String(isPressed));
      body.replaceChildren(...(isPressed ? [...rows].sort((a, b) => b[2] - a[2]) : rows).map(line));
    } }, "Largest share first");
    const against = latency === null ? "" : ` The latency, measured without the profiler, is ${Charts.general(latency, 4)} ms, and is divided here by the shares.`;
    return [
      el("p", { class: "buttons" }, order),
      el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Latency by layer" },
        el("table", { class: "times" }, el("thead", {}, el("tr", {}, titles.map((title) => el("th", { scope: "col" }, title)))), body)),
      note(`The profiler's times add up to ${Charts.general(total, 4)} ms: it takes time itself, and leaves out the work between operators.${against}`),
    ];
  }
  Page.drawing = { layers, choices, confusion, layerTimes };
})();
