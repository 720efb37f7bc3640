/* Several runs: hypervolume of searches on one target, and the same architectures in two runs. */
setTimeout(() => {
  "use strict";
  const ROLES = ["winner", "measured", "predicted", "good", "warn", "bad"];
  const percent = (value) => `${Charts.general(value, 3)} %`;
  Charts.document().sections.runs.groups.forEach((group, place) => {
    group.fronts.forEach((front, index) => {
      const at = document.getElementById(`runs-fronts-${place}-${index}`);
      if (!at) return;
      const [x, y] = [Charts.form(front.cost), Charts.form(front.quality)];
      const marks = front.runs.flatMap((run, number) => {
        const role = ROLES[number % ROLES.length];
        const told = (of, more) => (point) => [`${run.run}: ${of.id[point]}`, `${front.cost.title} ${x(of.x[point])}`, `${front.quality.title} ${y(of.y[point])}`, ...more(point)];
        const part = (name, shape, wanted) => {
          const chosen = run.candidates.id.map((_, point) => point).filter((point) => run.candidates.predicted[point] === wanted);
          const of = Object.fromEntries(["id", "x", "y"].map((key) => [key, chosen.map((point) => run.candidates[key][point])]));
          return { kind: "points", name, role, shape, size: 5, faint: true, x: of.x, y: of.y, describe: told(of, () => [wanted ? "predicted cost" : "candidate"]) };
        };
        const winners = run.winners;
        return [
          part(`${run.run}, candidates`, "disc", false),
          part(`${run.run}, predicted`, "ring", true),
          { kind: "points", name: `${run.run}, winners`, role, shape: "diamond", size: 9, x: winners.x, y: winners.y, xLow: winners.xLow, xHigh: winners.xHigh, yLow: winners.yLow, yHigh: winners.yHigh,
            describe: told(winners, (point) => [winners.meets[point] ? "winner" : "winner that breaks a limit"]) },
        ];
      }).filter((mark) => mark.x.length);
      Charts.plot(at, {
        label: `${front.quality.title} and ${front.cost.title} of ${group.members.join(", ")}`,
        x: { title: front.cost.title, form: x, log: true },
        y: { title: front.split ? `${front.quality.title} (${front.split})` : front.quality.title, form: y },
        marks,
      });
    });
    group.growth.forEach((picture, index) => {
      const at = document.getElementById(`runs-growth-${place}-${index}`);
      if (!at) return;
      Charts.plot(at, {
        label: picture.sentences.join(" "),
        x: { title: "Evaluations" },
        y: { title: "Share of the hypervolume of all", form: percent, range: [0, 102] },
        marks: picture.curves.map((curve, number) => ({
          kind: "line", name: curve.run, role: ROLES[number % ROLES.length], dash: number >= ROLES.length, step: true, width: 2.5,
          x: curve.n, y: curve.share.map((share) => 100 * share),
        })),
      });
    });
    group.comparisons.forEach((pair, index) => {
      const at = document.getElementById(`runs-pair-${place}-${index}`);
      if (!at) return;
      const form = Charts.form(pair.metric);
      const { x, y, id } = pair.points;
      const fates = new Map((pair.front ? pair.front.models : []).map((model) => [model.id, model.fate]));
      const of = (wanted) => id.map((_, number) => number).filter((number) => (fates.get(id[number]) ?? "other") === wanted);
      const points = (name, role, shape, wanted) => {
        const chosen = of(wanted);
        return {
          kind: "points", name, role, shape, size: 6,
          x: chosen.map((number) => x[number]), y: chosen.map((number) => y[number]),
          describe: (number) => [id[chosen[number]], `${pair.first}: ${form(x[chosen[number]])}`, `${pair.second}: ${form(y[chosen[number]])}`],
        };
      };
      const ends = [Math.min(...x, ...y), Math.max(...x, ...y)];
      const log = ends[0] > 0;
      Charts.plot(at, {
        label: pair.sentences.join(" "),
        x: { title: `${pair.metric.title}, ${pair.first}`, form, log },
        y: { title: `${pair.metric.title}, ${pair.second}`, form, log },
        marks: [
          { kind: "line", name: "equal", role: "identity", x: ends, y: ends, dash: true },
          points("on neither front", "stopped", "disc", "other"),
          points("stay on the front", "winner", "disc", "stays"),
          points("leave the front", "bad", "cross", "leaves"),
          points("join the front", "good", "diamond", "joins"),
        ].filter((mark) => mark.x.length),
      });
    });
  });
}, 0); // once the first screen stands
