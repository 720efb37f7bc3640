/* Plots of the reports, drawn without a library: marks on a canvas, axes and labels as SVG text.
 * This file has numbers, elements and scales; plots.js draws with them.
 *
 * What a section's script may use (all colours are names of CSS variables in report.css, without the dashes):
 *
 * Charts.plot(place, spec) -> plot          draw into an element; the element's CSS height is the plot's
 *   spec.label        what the plot shows, for a screen reader
 *   spec.x, spec.y    axes: { title, form, log, range: [low, high], categories: [text, …], ticks: [value, …] }
 *                     form(value) is a tick's text, such as Charts.form(metric); without it a plain number is given
 *                     categories put whole numbers 0, 1, 2 … in words, the first one at the left or at the top
 *                     range is optional: without it the axis spans all marks and rules
 *   spec.marks        drawn in their order, each an object with `kind`, `name` (for the legend) and `role` (colour):
 *     points          { kind: "points", x, y, xLow, xHigh, yLow, yHigh, shape, size, texts or describe(i), pick(i) }
 *                     shape: disc, ring, diamond, hollow-diamond, cross; texts[i] is an array of lines
 *                     pick(i) is called on a click or on Enter; faint: true draws it at a third of its strength
 *     line            { kind: "line", x, y, step: true, dash: true, width }
 *     band            { kind: "band", x, low, high }                       a filled range around a line
 *     bars            { kind: "bars", at, value, low, high, texts, pick }  lying bars, `at` on a y axis of categories
 *     links           { kind: "links", pairs: [[x, y, x2, y2], …] }        dotted joins between two points
 *   spec.rules        [{ axis: "x" or "y", value, text, role }]            lines through the whole plot, such as limits
 *   spec.regions      [{ points: [[x, y], …], role }]                      shaded polygons behind everything
 *   spec.legend       false leaves the legend out; a legend's entry hides and shows its mark
 *   spec.zoom         false: no zoom by dragging, + and -
 * plot.update(spec)   draw another spec in the same place
 * plot.over({ rules, regions, rings: [{ x, y, role }] })   change only what lies over the marks; takes no time
 * plot.svg(), plot.save(name)                              the plot as an SVG text; offer it as a file
 *
 * Charts.form(metric)(value)     a value for people as nas writes it; metric: { unit, share, source }
 * Charts.general(value, digits)  a number with so many digits, as Python's format "g" writes it
 * Charts.figures(value, digits)  the same for people: 120, where "g" writes 1.2e+02
 * Charts.el(tag, attributes, ...children)   a new element; children are elements or texts, never markup
 * Charts.colour(role)            the colour of a role now, in light or dark
 * Charts.save(name, type, text)  offer a text as a file
 * Charts.document()              the page's document, an object; sections[NAME] is the dictionary of a section
 *
 * A section NAME has sections/NAME.html.jinja, which is given `data`, its dictionary, and sections/NAME.js, which draws
 * with Charts.document().sections.NAME. nas.reports.analysis.sections.sections_of(runs) returns the dictionaries by name, in
 * their order on the page; a dictionary's "title" is the heading, and the page puts <section> and <h2> around the part.
 *
 * Keys: Tab reaches a plot; left and right go from point to point, up and down from one kind of mark to the next;
 * Enter picks a point; + and - zoom, 0 shows all, Escape closes what is told.
 */
const Charts = (() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const root = document.documentElement;
  const plots = new Set();

  const el = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === false || value === null || value === undefined) continue;
      if (typeof value === "function") made.addEventListener(name, value);
      else made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return made;
  };
  const drawn = (parent, tag, attributes, text) => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  };
  let parsed;
  const document_ = () => (parsed ??= JSON.parse(document.getElementById("document").textContent));
  const colour = (role) => getComputedStyle(root).getPropertyValue(`--${role}`).trim() || "#888888";

  // ---- numbers -----------------------------------------------------------------------------------------------------
  // Python rounds a tie to the even digit, and JavaScript rounds it up: 40 more digits tell a tie.
  const isTie = (longer, digits) => /^50*$/.test((longer.split(".")[1] ?? "").slice(digits));
  const evened = (text, longer, digits) => {
    if (!isTie(longer, digits)) return text;
    const down = digits ? longer.slice(0, longer.indexOf(".") + 1 + digits) : longer.split(".")[0];
    return Number(down.at(-1)) % 2 ? text : down;
  };
  const fixed = (value, digits) => evened(value.toFixed(digits), value.toFixed(Math.min(100, digits + 40)), digits);
  const bare = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  const general = (value, digits) => {
    if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    const power = Number(exponent);
    if (power >= -4 && power < digits) return bare(fixed(value, digits - 1 - power));
    const longer = value.toExponential(Math.min(100, digits + 40)).split("e")[0];
    return `${bare(evened(mantissa, longer, digits - 1))}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
  };
  /* So many digits, but no power of ten for large values: 2 digits give 0.12, 12 and 120. */
  const figures = (value, digits) => (Math.abs(value) >= 10 ** digits - 0.5 ? fixed(value, 0) : general(value, digits));
  const PREFIXES = ["n", "µ", "m", "", "k", "M", "G", "T"];
  const readable = (value, unit, smallest, digits) => {
    if (value === 0) return `0 ${unit}`.trim();
    let place = PREFIXES.indexOf(smallest);
    let scaled = value * 1000 ** (3 - place);
    for (;;) {
      const whole = PREFIXES[place] === "" && smallest === "";
      const number = whole ? fixed(scaled, 0) : general(scaled, digits);
      if (Math.abs(Number(number)) < 1000 || place === PREFIXES.length - 1) return `${number} ${PREFIXES[place]}${unit}`.trim();
      scaled /= 1000;
      place += 1;
    }
  };
  const form = (metric) => (value, more = 0) => {
    if (metric.share && value < 10) return `${fixed(100 * value, 2 + more)} %`;
    if (metric.source === "trained") return `${general(value, 4 + more)} ${metric.unit}`.trim();
    if (metric.unit === "" || metric.unit === "B") return readable(value, metric.unit, "", 3 + more);
    if (metric.unit === "mJ") return readable(value / 1000, "J", "n", 3 + more);
    return `${general(value, 4 + more)} ${metric.unit}`;
  };

  // ---- scales ------------------------------------------------------------------------------------------------------
  const stepOf = (span, count) => {
    const raw = span / Math.max(1, count);
    const power = 10 ** Math.floor(Math.log10(raw));
    return power * [1, 2, 5, 10].find((each) => each * power >= raw * 0.9999);
  };
  const linearTicks = (low, high, count) => {
    const step = stepOf(high - low, count);
    const found = [];
    for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9 && found.length < 50; at += 1) found.push(Number((at * step).toPrecision(12)));
    return found;
  };
  const logTicks = (low, high, count) => {
    const decades = Math.log10(high / low);
    if (decades < 0.5) return linearTicks(low, high, count);
    const heads = decades * 3 <= count * 1.2 ? [1, 2, 5] : [1];
    const every = Math.max(1, Math.ceil(decades / Math.max(1, count)));
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
      if (heads.length === 1 && power % every) continue;
      for (const head of heads) {
        const tick = Number((head * 10 ** power).toPrecision(6));
        if (tick >= low * 0.999999 && tick <= high * 1.000001) found.push(tick);
      }
    }
    return found;
  };
  const extent = (axis, name, marks, rules) => {
    if (axis.categories) return name === "x" ? [-0.5, axis.categories.length - 0.5] : [axis.categories.length - 0.5, -0.5];
    if (axis.range) return axis.range;
    let low = Infinity;
    let high = -Infinity;
    const look = (values) => {
      for (const value of values ?? []) {
        if (!Number.isFinite(value) || (axis.log && value <= 0)) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    };
    for (const mark of marks) {
      if (mark.hidden) continue;
      if (mark.kind === "links") continue;
      if (mark.kind === "bars") { if (name === "x") { look([0]); look(mark.value); look(mark.low); look(mark.high); } continue; }
      look(mark[name]);
      if (mark.kind === "band" && name === "y") { look(mark.low); look(mark.high); }
      if (mark.kind === "points" && !mark.faint && mark.x.length <= 300) { look(mark[`${name}Low`]); look(mark[`${name}High`]); }
    }
    look(rules.filter((rule) => rule.axis === name).map((rule) => rule.value));
    if (low > high) return axis.log ? [1, 10] : [0, 1];
    if (axis.log) {
      const pad = Math.max(1.02, (high / low) ** 0.04);
      return [low / pad, high * pad];
    }
    const pad = (high - low) * 0.05 || Math.abs(high) * 0.05 || 0.5;
    return [low >= 0 && low - pad < 0 ? 0 : low - pad, high + pad];
  };
  const scale = (axis, [low, high], from, to) => {
    const warp = axis.log ? (value) => (value > 0 ? Math.log(value) : NaN) : (value) => value;
    const start = warp(low);
    const factor = (to - from) / (warp(high) - start);
    const place = (value) => from + (warp(value) - start) * factor;
    place.back = (pixel) => { const at = start + (pixel - from) / factor; return axis.log ? Math.exp(at) : at; };
    return place;
  };
  return { SVG, root, plots, el, drawn, document: document_, colour, general, figures, fixed, readable, form, linearTicks, logTicks, extent, scale };
})();
