/* Charts.plot: draws the specs that charts.js describes. */
(() => {
  "use strict";
  const { drawn, colour, extent, scale, linearTicks, logTicks, general } = Charts;
  const REACH = 24; // pixels: how near a point the pointer must be
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  // ---- pens: the same marks on a canvas and in an SVG file ---------------------------------------------------------
  const canvasPen = (context) => ({
    line(points, { stroke, width = 1, dash = [], alpha = 1 }) {
      context.globalAlpha = alpha; context.strokeStyle = stroke; context.lineWidth = width; context.setLineDash(dash);
      context.beginPath();
      points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.stroke();
    },
    area(points, { fill, stroke, width = 1, alpha = 1 }) {
      context.globalAlpha = alpha; context.setLineDash([]);
      context.beginPath();
      points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.closePath();
      if (fill) { context.fillStyle = fill; context.fill(); }
      if (stroke) { context.strokeStyle = stroke; context.lineWidth = width; context.stroke(); }
    },
    circle(x, y, radius, { fill, stroke, width = 1, alpha = 1 }) {
      context.globalAlpha = alpha; context.setLineDash([]);
      context.beginPath(); context.arc(x, y, radius, 0, 2 * Math.PI);
      if (fill) { context.fillStyle = fill; context.fill(); }
      if (stroke) { context.strokeStyle = stroke; context.lineWidth = width; context.stroke(); }
    },
  });
  const svgPen = (parent) => {
    const style = ({ fill, stroke, width = 1, dash = [], alpha = 1 }) => ({
      fill: fill || "none", stroke: stroke || "none", "stroke-width": width, opacity: alpha, ...(dash.length ? { "stroke-dasharray": dash.join(" ") } : {}),
    });
    const listed = (points) => points.map(([x, y]) => `${x.toFixed(2)},${y.toFixed(2)}`).join(" ");
    return {
      line: (points, look) => drawn(parent, "polyline", { points: listed(points), ...style({ ...look, fill: "none" }) }),
      area: (points, look) => drawn(parent, "polygon", { points: listed(points), ...style(look) }),
      circle: (x, y, radius, look) => drawn(parent, "circle", { cx: x.toFixed(2), cy: y.toFixed(2), r: radius, ...style(look) }),
    };
  };

  // ---- marks -------------------------------------------------------------------------------------------------------
  const diamond = (x, y, size) => [[x, y - size], [x + size, y], [x, y + size], [x - size, y]];
  const SHAPES = {
    disc: (pen, x, y, size, own, card, alpha) => pen.circle(x, y, size, { fill: own, stroke: size > 4.5 ? card : null, alpha }),
    ring: (pen, x, y, size, own, card, alpha) => pen.circle(x, y, size, { fill: card, stroke: own, width: 1.5, alpha }),
    diamond: (pen, x, y, size, own, card, alpha) => pen.area(diamond(x, y, size), { fill: own, stroke: card, width: 1.4, alpha }),
    "hollow-diamond": (pen, x, y, size, own, card, alpha) => pen.area(diamond(x, y, size), { fill: card, stroke: own, width: 1.8, alpha }),
    cross: (pen, x, y, size, own, card, alpha) => {
      pen.line([[x - size, y - size], [x + size, y + size]], { stroke: own, width: 1.4, alpha });
      pen.line([[x - size, y + size], [x + size, y - size]], { stroke: own, width: 1.4, alpha });
    },
  };
  const SIZES = { disc: 3.6, ring: 3.4, diamond: 7, "hollow-diamond": 6.5, cross: 3 };

  function drawPoints(pen, mark, frame) {
    const { toX, toY } = frame;
    const own = colour(mark.role);
    const card = colour("card");
    const alpha = mark.faint ? 0.35 : 1;
    const size = mark.size ?? SIZES[mark.shape] * (mark.x.length > 3000 ? 0.62 : mark.x.length > 600 ? 0.8 : 1);
    const draw = SHAPES[mark.shape];
    if (mark.bars !== false && mark.x.length <= 400) {
      const bar = { stroke: own, width: 1.2, alpha: mark.faint ? 0.15 : 0.5 };
      for (let i = 0; i < mark.x.length; i += 1) {
        const [x, y] = [toX(mark.x[i]), toY(mark.y[i])];
        if (!Number.isFinite(x) || !Number.isFinite(y)) continue;
        if (mark.xLow && mark.xHigh[i] > mark.xLow[i]) pen.line([[frame.clampX(mark.xLow[i]), y], [frame.clampX(mark.xHigh[i]), y]], bar);
        if (mark.yLow && mark.yHigh[i] > mark.yLow[i]) pen.line([[x, frame.clampY(mark.yLow[i])], [x, frame.clampY(mark.yHigh[i])]], bar);
      }
    }
    for (let i = 0; i < mark.x.length; i += 1) {
      const [x, y] = [toX(mark.x[i]), toY(mark.y[i])];
      if (frame.holds(x, y)) draw(pen, x, y, size, own, card, alpha);
    }
  }
  function drawLine(pen, mark, frame) {
    const look = { stroke: colour(mark.role), width: mark.width ?? 2, dash: mark.dash ? [6, 4] : [], alpha: mark.faint ? 0.35 : 0.9 };
    let run = [];
    const end = () => { if (run.length > 1) pen.line(run, look); run = []; };
    for (let i = 0; i < mark.x.length; i += 1) {
      const point = [frame.toX(mark.x[i]), frame.toY(mark.y[i])];
      if (!point.every(Number.isFinite)) { end(); continue; }
      if (mark.step && run.length) run.push([point[0], run.at(-1)[1]]);
      run.push(point);
    }
    end();
  }
  function drawBand(pen, mark, frame) {
    const places = mark.x.map((_, i) => i).filter((i) => [mark.x[i], mark.low[i], mark.high[i]].every(Number.isFinite));
    if (places.length < 2) return;
    const top = places.map((i) => [frame.toX(mark.x[i]), frame.clampY(mark.high[i])]);
    const bottom = places.map((i) => [frame.toX(mark.x[i]), frame.clampY(mark.low[i])]).reverse();
    pen.area([...top, ...bottom], { fill: colour(mark.role), alpha: 0.16 });
  }
  function drawBars(pen, mark, frame) {
    const own = colour(mark.role);
    const half = Math.min(11, Math.abs(frame.toY(1) - frame.toY(0)) * 0.32);
    mark.value.forEach((value, i) => {
      const [y, zero, end] = [frame.toY(mark.at[i]), frame.clampX(0), frame.clampX(value)];
      pen.area([[zero, y - half], [end, y - half], [end, y + half], [zero, y + half]], { fill: own, alpha: mark.faint ? 0.35 : 0.85 });
      if (mark.low) pen.line([[frame.clampX(mark.low[i]), y], [frame.clampX(mark.high[i]), y]], { stroke: colour("ink"), width: 1.6 });
    });
  }
  function drawLinks(pen, mark, frame) {
    const look = { stroke: colour(mark.role), width: 1.6, dash: [1.5, 3.5], alpha: 0.9 };
    for (const [x, y, otherX, otherY] of mark.pairs) {
      const ends = [[frame.toX(x), frame.toY(y)], [frame.toX(otherX), frame.toY(otherY)]];
      if (ends.flat().every(Number.isFinite)) pen.line(ends, look);
    }
  }
  const DRAW = { points: drawPoints, line: drawLine, band: drawBand, bars: drawBars, links: drawLinks };

  // ---- frame: axes, grid, rules ------------------------------------------------------------------------------------
  const isFlat = (axis) => Boolean(axis.categories);
  const ticksOf = (axis, [low, high], count) => {
    if (axis.categories) return axis.categories.map((_, index) => index);
    if (axis.ticks) return axis.ticks.filter((tick) => tick >= Math.min(low, high) && tick <= Math.max(low, high));
    return axis.log ? logTicks(low, high, count) : linearTicks(low, high, count);
  };
  const plain = (value) => (Math.abs(value) >= 1e4 || (value && Math.abs(value) < 1e-3) ? general(value, 3) : String(Number(value.toPrecision(6))));
  const tickText = (axis, value) => (axis.categories ? axis.categories[value] : axis.form ? shortened(axis.form(value)) : plain(value));
  const shortened = (text) => text.replace(/(\.\d*?)0+(?=\s|$)/, "$1").replace(/\.(?=\s|$)/, "");
  const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

  function frameOf(spec, width, height, ranges) {
    const narrow = width < 520;
    const rangeY = ranges.y ?? extent(spec.y, "y", spec.marks, spec.rules ?? []);
    const rangeX = ranges.x ?? extent(spec.x, "x", spec.marks, spec.rules ?? []);
    const yTicks = ticksOf(spec.y, rangeY, Math.max(2, Math.round(height / 70)));
    const yTexts = yTicks.map((tick) => cut(tickText(spec.y, tick), narrow ? 16 : 34));
    const left = Math.min(width * 0.45, 14 + 7 * Math.max(3, ...yTexts.map((text) => text.length)) + (spec.y.title && !isFlat(spec.y) ? 20 : 0));
    const right = 14;
    const bottom = spec.x.title ? 52 : 30;
    const box = { left, top: 14, right: Math.max(left + 40, width - right), bottom: Math.max(54, height - bottom) };
    const xTicks = ticksOf(spec.x, rangeX, Math.max(2, Math.round((box.right - box.left) / (narrow ? 78 : 96))));
    const toX = scale(spec.x, rangeX, box.left, box.right);
    const toY = scale(spec.y, rangeY, box.bottom, box.top);
    const clamp = (value, low, high) => Math.min(Math.max(Number.isFinite(value) ? value : low, low), high);
    return {
      width, height, box, toX, toY, rangeX, rangeY, xTicks, yTicks, yTexts,
      xTexts: xTicks.map((tick) => cut(tickText(spec.x, tick), 16)),
      clampX: (value) => clamp(value === -Infinity ? box.left : value === Infinity ? box.right : toX(value), box.left, box.right),
      clampY: (value) => clamp(value === -Infinity ? box.bottom : value === Infinity ? box.top : toY(value), box.top, box.bottom),
      holds: (x, y) => x >= box.left - 2 && x <= box.right + 2 && y >= box.top - 2 && y <= box.bottom + 2,
    };
  }
  function drawGrid(parent, spec, frame) {
    const { box } = frame;
    const line = colour("line");
    for (const tick of frame.xTicks) drawn(parent, "line", { x1: frame.toX(tick), x2: frame.toX(tick), y1: box.top, y2: box.bottom, stroke: line });
    for (const tick of frame.yTicks) drawn(parent, "line", { x1: box.left, x2: box.right, y1: frame.toY(tick), y2: frame.toY(tick), stroke: line });
  }
  function drawRegions(parent, regions, frame) {
    for (const region of regions ?? []) {
      const points = region.points.map(([x, y]) => `${frame.clampX(x).toFixed(1)},${frame.clampY(y).toFixed(1)}`).join(" ");
      drawn(parent, "polygon", { points, fill: colour(region.role), opacity: region.alpha ?? 0.08 });
    }
  }
  function drawLabels(parent, spec, frame) {
    const { box } = frame;
    const text = (x, y, words, more = {}) => drawn(parent, "text", { x, y, fill: colour("soft"), "font-size": 12.5, ...more }, words);
    let last = -Infinity;
    frame.xTicks.forEach((tick, i) => {
      const half = 3.6 * frame.xTexts[i].length;
      if (frame.toX(tick) - half < last + 6) return;
      last = frame.toX(tick) + half;
      text(Math.min(frame.toX(tick), frame.width - half), box.bottom + 18, frame.xTexts[i], { "text-anchor": "middle" });
    });
    frame.yTicks.forEach((tick, i) => text(box.left - 8, frame.toY(tick) + 4, frame.yTexts[i], { "text-anchor": "end" }));
    if (spec.x.title) text((box.left + box.right) / 2, frame.height - 8, spec.x.title, { "text-anchor": "middle", fill: colour("ink"), "font-size": 13.5 });
    if (spec.y.title && !isFlat(spec.y)) {
      const middle = (box.top + box.bottom) / 2;
      text(14, middle, spec.y.title, { "text-anchor": "middle", fill: colour("ink"), "font-size": 13.5, transform: `rotate(-90 14 ${middle})` });
    }
  }
  function drawRules(parent, rules, frame) {
    const { box } = frame;
    for (const rule of rules ?? []) {
      const at = rule.axis === "x" ? frame.toX(rule.value) : frame.toY(rule.value);
      const inside = rule.axis === "x" ? at >= box.left && at <= box.right : at >= box.top && at <= box.bottom;
      if (!inside) continue;
      const own = colour(rule.role ?? "bad");
      const ends = rule.axis === "x" ? { x1: at, x2: at, y1: box.top, y2: box.bottom } : { x1: box.left, x2: box.right, y1: at, y2: at };
      drawn(parent, "line", { ...ends, stroke: own, "stroke-width": 1.5, "stroke-dasharray": "6 4" });
      const late = rule.axis === "x" && at > (box.left + box.right) / 2;
      const place = rule.axis === "x" ? { x: at + (late ? -6 : 6), y: box.top + 14, "text-anchor": late ? "end" : "start" } : { x: box.right - 4, y: at - 6, "text-anchor": "end" };
      drawn(parent, "text", { ...place, fill: own, "font-size": 12.5, "paint-order": "stroke", stroke: colour("card"), "stroke-width": 4 }, rule.text ?? "");
    }
  }
  function drawRings(parent, rings, frame) {
    for (const ring of rings ?? []) {
      const [x, y] = [frame.toX(ring.x), frame.toY(ring.y)];
      if (frame.holds(x, y)) drawn(parent, "circle", { cx: x, cy: y, r: 12, fill: "none", stroke: colour(ring.role ?? "accent"), "stroke-width": 2.5 });
    }
  }
  Charts.drawing = { DRAW, REACH, SHAPES, SIZES, canvasPen, svgPen, frameOf, drawGrid, drawRegions, drawLabels, drawRules, drawRings, dark };
})();
