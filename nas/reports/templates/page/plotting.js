/* Charts.plot: a plot in an element, with its legend, pointer, keys, zoom and files. */
(() => {
  "use strict";
  const { el, drawn, SVG } = Charts;
  const { DRAW, REACH, canvasPen, svgPen, frameOf, drawGrid, drawRegions, drawLabels, drawRules, drawRings, dark } = Charts.drawing;
  const touch = window.matchMedia("(pointer: coarse)");
  let count = 0;

  class Plot {
    constructor(place, spec) {
      count += 1;
      this.place = place;
      this.ranges = {};
      this.told = null;
      this.layers = {};
      this.back = document.createElementNS(SVG, "svg");
      this.canvas = el("canvas", { "aria-hidden": "true" });
      this.front = document.createElementNS(SVG, "svg");
      for (const svg of [this.back, this.front]) {
        svg.setAttribute("aria-hidden", "true");
        svg.setAttribute("preserveAspectRatio", "none"); // on paper it shrinks with the canvas, not apart from it
      }
      this.tip = el("div", { class: "tip", hidden: true });
      this.speaker = el("div", { class: "unseen", role: "status", "aria-live": "polite" });
      const hint = `plot-keys-${count}`;
      this.stage = el("div", { class: "stage", tabindex: "0", role: "application", "aria-roledescription": "plot", "aria-describedby": hint },
        this.back, this.canvas, this.front, this.tip);
      this.hint = el("p", { class: "unseen", id: hint }, "Arrow keys go from point to point. Enter opens one. Plus and minus zoom, 0 shows all.");
      this.legend = el("div", { class: "legend", role: "group", "aria-label": "Shown in the plot" });
      place.classList.add("drawn");
      place.replaceChildren(this.legend, this.stage, this.hint, this.speaker);
      this.listen();
      new ResizeObserver(() => this.resize()).observe(this.stage);
      Charts.plots.add(this);
      this.update(spec);
    }

    update(spec) {
      this.spec = spec;
      this.hiddenNames ??= new Set((spec.marks ?? []).filter((mark) => mark.off).map((mark) => mark.name));
      if (spec.keep !== true) this.ranges = {};
      this.over_ = { rules: spec.rules ?? [], regions: spec.regions ?? [], rings: spec.rings ?? [] };
      this.stage.setAttribute("aria-label", spec.label ?? "Plot");
      this.writeLegend();
      this.untell();
      this.redraw();
    }

    over(changed) {
      Object.assign(this.over_, changed);
      if (!this.frame) return;
      this.drawBack();
      this.drawFront();
    }

    // ---- drawing
    marks() { return this.spec.marks.filter((mark) => !this.hiddenNames.has(mark.name)); }
    resize() {
      const [width, height] = [this.stage.clientWidth, this.stage.clientHeight];
      if (width !== this.width || height !== this.height) this.redraw();
    }
    redraw(sharpness = window.devicePixelRatio || 1) {
      [this.width, this.height] = [this.stage.clientWidth, this.stage.clientHeight];
      if (!this.width || !this.height) { this.frame = null; return; }
      for (const svg of [this.back, this.front]) svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
      const marks = this.marks();
      const shown = { ...this.spec, marks, rules: this.over_.rules };
      this.frame = frameOf(shown, this.width, this.height, this.ranges);
      this.canvas.width = Math.round(this.width * sharpness);
      this.canvas.height = Math.round(this.height * sharpness);
      const context = this.canvas.getContext("2d");
      context.scale(sharpness, sharpness);
      this.drawMarks(canvasPen(context), marks, () => {
        const { box } = this.frame;
        context.beginPath();
        context.rect(box.left - 8, box.top - 8, box.right - box.left + 16, box.bottom - box.top + 16);
        context.clip();
      });
      this.places = null;
      this.drawBack();
      this.drawFront();
    }
    drawMarks(pen, marks, clip) {
      clip();
      for (const mark of marks) DRAW[mark.kind](pen, mark, this.frame);
    }
    drawBack() {
      this.back.replaceChildren();
      drawGrid(this.back, this.spec, this.frame);
      drawRegions(this.back, this.over_.regions, this.frame);
    }
    drawFront() {
      this.front.replaceChildren();
      drawLabels(this.front, this.spec, this.frame);
      drawRules(this.front, this.over_.rules, this.frame);
      drawRings(this.front, this.over_.rings, this.frame);
      if (this.told) {
        const { x, y } = this.told;
        drawn(this.front, "circle", { cx: x, cy: y, r: 10, fill: "none", stroke: Charts.colour("ink"), "stroke-width": 2 });
      }
    }
    writeLegend() {
      const entries = this.spec.legend === false ? [] : this.spec.marks.filter((mark) => mark.name);
      this.legend.hidden = entries.length === 0;
      this.legend.replaceChildren(...entries.map((mark) => el("button", {
        type: "button", class: "entry", "aria-pressed": String(!this.hiddenNames.has(mark.name)), click: (event) => this.toggle(mark.name, event.currentTarget),
      }, swatch(mark), mark.name)));
    }
    toggle(name, button) {
      if (this.hiddenNames.has(name)) this.hiddenNames.delete(name); else this.hiddenNames.add(name);
      button.setAttribute("aria-pressed", String(!this.hiddenNames.has(name)));
      this.redraw();
    }

    // ---- points under the pointer and the keys
    points() {
      if (this.places) return this.places;
      this.places = [];
      for (const mark of this.marks()) {
        if (mark.kind !== "points" && mark.kind !== "bars") continue;
        const at = [];
        const [xs, ys] = mark.kind === "bars" ? [mark.value, mark.at] : [mark.x, mark.y];
        for (let i = 0; i < xs.length; i += 1) {
          const [x, y] = [this.frame.toX(xs[i]), this.frame.toY(ys[i])];
          if (this.frame.holds(x, y)) at.push({ mark, i, x, y });
        }
        at.sort(mark.kind === "bars" ? (a, b) => a.y - b.y : (a, b) => a.x - b.x || a.y - b.y);
        if (at.length) this.places.push({ mark, at });
      }
      this.places.reverse(); // what is drawn last lies on top, and comes first
      return this.places;
    }
    nearest(x, y) {
      let best = null;
      let least = REACH ** 2;
      for (const { mark, at } of this.points()) {
        for (const each of at) {
          const far = mark.kind === "bars" ? (each.y - y) ** 2 : (each.x - x) ** 2 + (each.y - y) ** 2;
          if (far < least) { least = far; best = each; }
        }
        if (best && least < 64) break;
      }
      return best;
    }
    tell(point, aloud) {
      this.told = point;
      const { mark, i, x, y } = point;
      const lines = mark.describe ? mark.describe(i) : mark.texts?.[i] ?? [];
      this.tip.replaceChildren(...lines.map((line, index) => el(index ? "div" : "strong", {}, line)));
      this.tip.hidden = lines.length === 0;
      this.tip.style.left = `${x > this.width / 2 ? Math.max(0, x - 14 - this.tip.offsetWidth) : Math.min(x + 14, this.width - this.tip.offsetWidth)}px`;
      this.tip.style.top = `${Math.max(0, Math.min(y + 12, this.height - this.tip.offsetHeight))}px`;
      this.stage.classList.toggle("can-pick", Boolean(mark.pick));
      if (aloud) this.speaker.textContent = `${mark.name ? `${mark.name}: ` : ""}${lines.join(", ")}`;
      this.drawFront();
    }
    untell() {
      if (!this.told) return;
      this.last = this.told;
      this.told = null;
      this.tip.hidden = true;
      this.stage.classList.remove("can-pick");
      if (this.frame) this.drawFront();
    }
    pick() { if (this.told?.mark.pick) this.told.mark.pick(this.told.i); }

    listen() {
      const { stage } = this;
      const where = (event) => { const box = stage.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
      let drag = null;
      stage.addEventListener("pointermove", (event) => {
        if (!this.frame) return;
        const [x, y] = where(event);
        if (drag) { this.showDrag(drag, [x, y]); return; }
        const point = this.nearest(x, y);
        if (!point) this.untell(); else if (point.mark !== this.told?.mark || point.i !== this.told?.i) this.tell(point, false);
      });
      stage.addEventListener("pointerleave", () => { if (!drag) this.untell(); });
      stage.addEventListener("pointerdown", (event) => {
        if (this.spec.zoom === false || touch.matches || event.button || !this.frame) return;
        drag = where(event);
      });
      window.addEventListener("pointerup", (event) => {
        if (!drag) return;
        const [start, end] = [drag, where(event)];
        drag = null;
        this.rubber?.remove();
        if (Math.abs(end[0] - start[0]) < 8 || Math.abs(end[1] - start[1]) < 8) return;
        this.dragged = true;
        this.zoomTo(start, end);
      });
      stage.addEventListener("click", (event) => {
        if (this.dragged) { this.dragged = false; return; }
        if (!this.frame) return;
        const point = this.nearest(...where(event));
        if (point) { this.tell(point, false); this.pick(); }
      });
      stage.addEventListener("dblclick", () => this.zoomOut());
      stage.addEventListener("keydown", (event) => this.key(event));
      stage.addEventListener("blur", () => this.untell());
    }
    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || !this.frame) return;
      const moves = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      const acts = { Enter: () => this.pick(), " ": () => this.pick(), Escape: () => this.untell(), "+": () => this.zoomBy(0.5), "=": () => this.zoomBy(0.5), "-": () => this.zoomBy(2), 0: () => this.zoomOut(), Home: () => this.go(0, -Infinity), End: () => this.go(0, Infinity) };
      if (event.key in moves) this.go(...moves[event.key]); else if (event.key in acts) acts[event.key](); else return;
      event.preventDefault();
    }
    go(group, by) {
      const groups = this.points();
      if (!groups.length) return;
      const from = this.told ?? this.last;
      const own = from ? groups.findIndex((each) => each.mark === from.mark) : -1;
      if (own < 0) { this.tell(groups[0].at[0], true); return; }
      const next = groups[Math.min(Math.max(own + group, 0), groups.length - 1)];
      let place = next.at.findIndex((each) => each.i === from.i && each.mark === from.mark);
      if (place < 0) place = next.at.reduce((best, each, index) => (Math.abs(each.x - from.x) < Math.abs(next.at[best].x - from.x) ? index : best), 0);
      this.tell(next.at[Math.min(Math.max(place + by, 0), next.at.length - 1)], true);
    }

    // ---- zoom
    showDrag(start, end) {
      this.rubber?.remove();
      const [x, y] = [Math.min(start[0], end[0]), Math.min(start[1], end[1])];
      this.rubber = drawn(this.front, "rect", { x, y, width: Math.abs(end[0] - start[0]), height: Math.abs(end[1] - start[1]), fill: Charts.colour("accent"), "fill-opacity": 0.1, stroke: Charts.colour("accent") });
    }
    zoomTo(start, end) {
      const [low, high] = [Math.min(start[0], end[0]), Math.max(start[0], end[0])];
      const [top, bottom] = [Math.min(start[1], end[1]), Math.max(start[1], end[1])];
      const { toX, toY } = this.frame;
      if (!this.spec.x.categories) this.ranges.x = [toX.back(low), toX.back(high)];
      if (!this.spec.y.categories) this.ranges.y = [toY.back(bottom), toY.back(top)];
      this.untell();
      this.redraw();
    }
    zoomBy(factor) {
      if (this.spec.zoom === false) return;
      const { box } = this.frame;
      const [x, y] = this.told ? [this.told.x, this.told.y] : [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
      const [wide, tall] = [(box.right - box.left) * factor / 2, (box.bottom - box.top) * factor / 2];
      this.zoomTo([x - wide, y - tall], [x + wide, y + tall]);
      this.speaker.textContent = factor < 1 ? "Zoomed in." : "Zoomed out.";
    }
    zoomOut() { this.ranges = {}; this.untell(); this.redraw(); }

    // ---- files
    svg() {
      const file = document.createElementNS(SVG, "svg");
      for (const [name, value] of Object.entries({ xmlns: SVG, width: this.width, height: this.height, viewBox: `0 0 ${this.width} ${this.height}`, "font-family": "sans-serif" })) file.setAttribute(name, value);
      drawn(file, "title", {}, this.spec.label ?? "Plot");
      drawn(file, "rect", { width: this.width, height: this.height, fill: Charts.colour("card") });
      drawGrid(file, this.spec, this.frame);
      drawRegions(file, this.over_.regions, this.frame);
      this.drawMarks(svgPen(file), this.marks(), () => {});
      drawLabels(file, this.spec, this.frame);
      drawRules(file, this.over_.rules, this.frame);
      drawRings(file, this.over_.rings, this.frame);
      return new XMLSerializer().serializeToString(file);
    }
    save(name) { Charts.save(`${name}.svg`, "image/svg+xml", this.svg()); }
  }

  function swatch(mark) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "0 0 22 14");
    svg.setAttribute("aria-hidden", "true");
    const own = `var(--${mark.role})`;
    if (mark.kind === "points") Charts.drawing.SHAPES[mark.shape](svgPen(svg), 11, 7, 4.6, own, "var(--card)", 1);
    else if (mark.kind === "band" || mark.kind === "bars") drawn(svg, "rect", { x: 2, y: 3, width: 18, height: 8, fill: own, opacity: mark.kind === "band" ? 0.3 : 0.85 });
    else drawn(svg, "line", { x1: 1, x2: 21, y1: 7, y2: 7, stroke: own, "stroke-width": 2, "stroke-dasharray": mark.kind === "links" ? "2 3" : mark.dash ? "6 3" : "none" });
    return svg;
  }

  const redrawAll = (sharpness) => { for (const plot of Charts.plots) if (plot.stage.isConnected) plot.redraw(sharpness); };
  Charts.plot = (place, spec) => new Plot(place, spec);
  Charts.save = (name, type, text) => {
    const link = el("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name, hidden: true });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  dark.addEventListener("change", () => redrawAll());
  /* On paper a plot keeps the size in which it was drawn: points, axes and labels would not all stretch alike. A picture
     takes the canvas's place, because Chromium prints a canvas 1.6 % smaller than its box, so that points were not at
     their values. */
  const hold = (stage, isHeld) => {
    const size = isHeld ? [`${stage.offsetWidth}px`, `${stage.offsetHeight}px`, "none"] : ["", "", ""];
    const canvas = stage.querySelector("canvas");
    [stage.style.width, stage.style.height, stage.style.flex] = size;
    stage.querySelector("img")?.remove();
    if (isHeld) canvas.before(el("img", { alt: "", src: canvas.toDataURL() }));
    canvas.style.display = isHeld ? "none" : "";
  };
  const holdAll = (isHeld) => { for (const plot of Charts.plots) if (plot.stage.isConnected) hold(plot.stage, isHeld); };
  window.addEventListener("beforeprint", () => { Charts.root.classList.add("printing"); redrawAll(3); holdAll(true); });
  window.addEventListener("afterprint", () => { Charts.root.classList.remove("printing"); holdAll(false); redrawAll(); });
})();
