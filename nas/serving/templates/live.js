/* Keeps a page of the server up to date: asks for plain data every other second, and puts it in place as text. */
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const EVERY_MS = 2000;
  const page = document.body.dataset.page;
  const at = (id) => document.getElementById(id);
  const told = at("told");

  const el = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== false) made.setAttribute(name, value === true ? "" : value);
    made.append(...children);
    return made;
  };
  const drawn = (tag, attributes, text) => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const say = (text) => { if (told.textContent !== text) told.textContent = text; };
  const facts = (place, pairs) => place.replaceChildren(...pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));

  /* A line of steps from the origin; the last count ends the axis. */
  const steps = ({ n, share }, width, height) => {
    const last = n.length ? n[n.length - 1] : 1;
    let path = `M0 ${height}`;
    let level = height;
    n.forEach((count, index) => {
      const x = (width * count) / last;
      path += ` H${x.toFixed(2)}`;
      level = height * (1 - share[index]);
      path += ` V${level.toFixed(2)}`;
    });
    return path;
  };
  const spark = (growth) => {
    const svg = drawn("svg", { class: "spark", viewBox: "-1 -1 122 30", preserveAspectRatio: "none", role: "img", "aria-label": growth.sentence });
    if (growth.n.length) svg.append(drawn("path", { d: steps(growth, 120, 28) }));
    return svg;
  };
  const chart = (growth) => {
    const [width, height, left, low] = [900, 240, 48, 28];
    const svg = drawn("svg", { viewBox: `0 0 ${width + left + 12} ${height + low + 12}`, role: "img", "aria-label": `Hypervolume by evaluation. ${growth.sentence}` });
    const inner = drawn("g", { transform: `translate(${left} 8)` });
    for (const part of [0, 0.25, 0.5, 0.75, 1]) {
      const y = height * (1 - part);
      inner.append(drawn("line", { x1: 0, x2: width, y1: y, y2: y }), drawn("text", { x: -8, y: y + 4, "text-anchor": "end" }, `${100 * part} %`));
    }
    const last = growth.n.length ? growth.n[growth.n.length - 1] : 0;
    inner.append(drawn("text", { x: 0, y: height + 20 }, "0"), drawn("text", { x: width, y: height + 20, "text-anchor": "end" }, `${last} evaluations`));
    if (growth.n.length) inner.append(drawn("path", { d: steps(growth, width, height) }));
    svg.append(inner);
    return svg;
  };

  const trained = (run) => `${run.evaluations}${run.planned ? ` of ${run.planned}` : ""}`;
  const notFinished = (run) => [run.stopped ? `${run.stopped} stopped early` : "", run.failed ? `${run.failed} failed` : ""].filter(Boolean).join(", ");
  const trainedText = (run) => {
    if (run.evaluations === undefined) return "";
    return `${trained(run)}${notFinished(run) ? ` (${notFinished(run)})` : ""}`;
  };
  const dated = (run) => (run.last_at ? new Date(1000 * run.last_at).toLocaleString([], { dateStyle: "short", timeStyle: "short" }) : "");

  /* Search and order. Rows that do not match are hidden and not removed, so that chosen runs stay chosen. */
  const rank = { key: "", down: false };
  let runs = [];
  const compared = (first, second) => {
    const [a, b] = [first[rank.key], second[rank.key]];
    if (a == null || b == null) return (a == null) - (b == null); // what is not known comes last in either order
    const order = typeof a === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
    return rank.down ? -order : order;
  };
  const arrange = () => {
    const words = at("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = new Map([...at("rows").children].map((row) => [row.dataset.run, row]));
    const ordered = rank.key ? [...runs].sort(compared) : runs;
    let shownRuns = 0;
    ordered.forEach((run, place) => {
      const row = rows.get(run.name);
      const text = [run.name, run.state, run.target, run.problem, run.headline].join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shownRuns += row.hidden ? 0 : 1;
      if (at("rows").children[place] !== row) at("rows").insertBefore(row, at("rows").children[place]);
    });
    const hiddenChosen = [...document.querySelectorAll("tr[hidden] input[name=run]:checked")].length;
    at("count").textContent = `${shownRuns} of ${runs.length} run${runs.length === 1 ? "" : "s"}${hiddenChosen ? `, and ${hiddenChosen} chosen that are not shown` : ""}`;
    at("none").hidden = shownRuns > 0 || runs.length === 0;
  };
  const sortBy = (button) => {
    const key = button.dataset.sort;
    const first = key === "evaluations" || key === "last_at"; // the largest and the latest are looked for
    if (rank.key !== key) Object.assign(rank, { key, down: first });
    else if (rank.down === first) rank.down = !first;
    else rank.key = ""; // the third time, the newest run first again
    for (const each of document.querySelectorAll("[data-sort]")) {
      const heading = each.closest("th");
      if (each.dataset.sort === rank.key) heading.setAttribute("aria-sort", rank.down ? "descending" : "ascending");
      else heading.removeAttribute("aria-sort");
    }
    arrange();
  };
  if (page === "index") {
    at("find").addEventListener("input", arrange);
    at("find").addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); }); // it does not send the form
    at("rows").addEventListener("change", arrange);
    for (const button of document.querySelectorAll("[data-sort]")) button.addEventListener("click", () => sortBy(button));
  }
  const chosen = () => new Set([...document.querySelectorAll("input[name=run]:checked")].map((box) => box.value));
  let shown = "";
  const index = (data) => {
    say(data.gone);
    facts(at("machine"), data.machine);
    at("blank").hidden = data.runs.length > 0;
    const text = JSON.stringify(data.runs);
    if (text === shown) return; // so that the focus stays where it is
    shown = text;
    runs = data.runs;
    const kept = chosen();
    const focused = document.activeElement?.dataset?.key;
    at("rows").replaceChildren(...data.runs.map((run) => el("tr", { "data-run": run.name },
      el("td", {}, el("input", { type: "checkbox", name: "run", value: run.name, checked: kept.has(run.name), "aria-label": `Choose ${run.name}`, "data-key": `box ${run.name}` })),
      el("th", { scope: "row" }, el("a", { href: run.link, "data-key": `link ${run.name}` }, run.name)),
      el("td", {}, run.state),
      el("td", {}, trainedText(run)),
      el("td", {}, run.growth ? spark(run.growth) : ""),
      el("td", {}, dated(run)),
      el("td", {}, run.problem || run.headline || ""))));
    arrange();
    if (focused) [...document.querySelectorAll("[data-key]")].find((each) => each.dataset.key === focused)?.focus();
  };
  const run = (data) => {
    say(data.problem || data.gone);
    facts(at("machine"), data.machine);
    at("workers-part").hidden = !data.workers;
    at("workers-text").textContent = data.workers ? data.workers.sentence : "";
    at("workers").replaceChildren(...(data.workers ? data.workers.rows : []).map(([job, ...cells]) => el("tr", {}, el("th", { scope: "row" }, job), ...cells.map((cell) => el("td", {}, cell)))));
    if (data.evaluations === undefined) return;
    at("headline").textContent = data.headline;
    const last = data.last_at ? new Date(1000 * data.last_at) : null;
    const tiles = [
      [data.state, "state", data.sentence],
      [trained(data), "candidates trained", notFinished(data)],
      [`${data.round} of ${data.rounds}`, "round", ""],
      [String(data.measured), "candidates measured", ""],
      [String(data.winners), "winners", ""],
      last ? [last.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }), "last row", last.toLocaleDateString()] : ["–", "last row", ""],
    ];
    at("tiles").replaceChildren(...tiles.map(([value, label, remark]) => el("li", {}, el("strong", {}, value), el("span", {}, label), el("small", {}, remark))));
    at("growth").replaceChildren(chart(data.growth));
    at("growth-text").textContent = `As a share of what the run has now. ${data.growth.sentence}`;
    at("latest").replaceChildren(...data.latest.map((row) => el("tr", {}, el("td", {}, row.stage), el("th", { scope: "row" }, row.id), el("td", {}, row.text))));
    facts(at("device"), data.device.length ? data.device : [["Device", "nothing has been measured yet"]]);
  };

  const show = { index, run }[page];
  const ask = async () => {
    if (at("live").checked && !document.hidden) {
      try {
        const answer = await fetch("live.json", { cache: "no-store" });
        if (answer.ok) show(await answer.json());
        else say(answer.status === 404 ? "This run is no longer there." : "The server could not answer this time.");
      } catch {
        say("The server does not answer any more. Start it again with: nas serve");
      }
    }
    setTimeout(ask, EVERY_MS);
  };
  ask();
})();
