/* How metrics grow with size: models as points, the fitted power law as a line with the band of its mean. */
setTimeout(() => {
  "use strict";
  Charts.document().sections.scaling.runs.forEach((run, number) => {
    if (!run.fits.length) return;
    const box = document.getElementById(`scaling-fit-${number}`);
    let plot;
    const show = () => {
      const fit = run.fits[Number(box.value)];
      const form = Charts.form(fit.metric);
      const sizes = Charts.form({ unit: fit.size.unit, share: false, source: "counted" });
      const spec = {
        label: fit.sentence,
        x: { title: fit.size.title, form: sizes, log: true },
        y: { title: fit.metric.title, form, log: true },
        marks: [
          { kind: "band", name: "95 % interval of the mean", role: "winner", x: fit.curve.x, low: fit.curve.low, high: fit.curve.high },
          { kind: "points", name: "models", role: "measured", shape: "disc", size: 5, x: fit.points.x, y: fit.points.y,
            describe: (index) => [fit.points.id[index], `${fit.size.title} ${sizes(fit.points.x[index])}`, `${fit.metric.title} ${form(fit.points.y[index])}`] },
          { kind: "line", name: "power law", role: "winner", x: fit.curve.x, y: fit.curve.y, width: 2.5 },
        ],
      };
      if (plot) plot.update(spec);
      else plot = Charts.plot(document.getElementById(`scaling-chart-${number}`), spec);
      document.getElementById(`scaling-caption-${number}`).textContent = fit.sentence;
    };
    box.addEventListener("change", show);
    show();
  });
}, 0); // once the first screen stands
