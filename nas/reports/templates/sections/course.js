/* How the search went: hypervolume of the search and of random search, by evaluation and by time. */
setTimeout(() => {
  "use strict";
  const percent = (value) => `${Charts.general(value, 3)} %`;
  const whole = (value) => (Number.isInteger(value) ? Charts.general(value, 6) : "");
  const time = (seconds) => {
    if (seconds < 120) return `${Charts.general(seconds, 3)} s`;
    return seconds < 7200 ? `${Charts.general(seconds / 60, 3)} min` : `${Charts.general(seconds / 3600, 3)} h`;
  };
  const scaled = (shares) => shares.map((share) => 100 * share);
  const marks = (found, x, randomX) => [
    { kind: "band", name: "random, middle 90 %", role: "identity", x: randomX, low: scaled(found.random.lower), high: scaled(found.random.upper) },
    { kind: "line", name: "random search (estimate)", role: "identity", x: randomX, y: scaled(found.random.mean), dash: true },
    { kind: "line", name: "this search", role: "winner", x, y: scaled(found.share), step: true, width: 2.5 },
  ];
  Charts.document().sections.course.runs.forEach((run, number) => {
    const found = run.hypervolume;
    if (!found.known) return;
    const label = run.run ? ` of ${run.run}` : "";
    const draw = (id, title, form, x, randomX) => {
      const place = document.getElementById(`${id}-${number}`);
      if (!place) return;
      Charts.plot(place, {
        label: `${title}${label}. ${found.sentences.join(" ")}`,
        x: { title, form, range: [0, Math.max(...x.slice(-1), ...randomX.slice(-1))] },
        y: { title: "Share of the final hypervolume", form: percent, range: [0, 102] },
        marks: marks(found, x, randomX),
      });
    };
    draw("course-evaluations", "Evaluations", whole, found.n, found.random.n);
    if (found.seconds.length) draw("course-time", run.clock === "search" ? "Time of the search" : "Time of simulated training", time, found.seconds, found.random.seconds);
  });
}, 0); // once the first screen stands
