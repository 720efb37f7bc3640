(() => {
  "use strict";
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const touch = window.matchMedia("(pointer: coarse)");

  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const faded = (hex, share) => hex + Math.round(255 * share).toString(16).padStart(2, "0");

  function themedTrace(trace) {
    const role = trace.meta.role;
    const own = colour(role);
    const themed = { ...trace };
    if (trace.marker) {
      themed.marker = { ...trace.marker, color: own, line: { width: 1.4, color: role === "winner" ? colour("card") : own } };
      themed.opacity = role === "stopped" ? 0.55 : 1;
    }
    if (trace.line) themed.line = { ...trace.line, color: faded(own, 0.75) };
    for (const axis of ["error_x", "error_y"]) {
      if (trace[axis]) themed[axis] = { ...trace[axis], color: faded(own, role === "winner" ? 0.75 : 0.4) };
    }
    return themed;
  }

  function themedLayout(layout, narrow, crowded) {
    const axis = (own) => ({
      gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("line"),
      tickcolor: colour("line"), automargin: true, ...own, title: { ...own.title, standoff: 10 },
    });
    const bad = colour("bad");
    return {
      ...layout,
      xaxis: axis(layout.xaxis),
      yaxis: axis(layout.yaxis),
      shapes: (layout.shapes || []).map((shape) => ({ ...shape, line: { ...shape.line, color: bad } })),
      annotations: (layout.annotations || []).map((label) => ({
        ...label, font: { color: bad, size: 13 }, bgcolor: faded(colour("card"), 0.85),
      })),
      paper_bgcolor: colour("card"),
      plot_bgcolor: colour("card"),
      font: { family: getComputedStyle(document.body).fontFamily, size: narrow ? 12 : 13, color: colour("ink") },
      legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
      hoverlabel: { align: "left", bgcolor: colour("card"), bordercolor: colour("soft"), font: { color: colour("ink"), size: 12 } },
      hovermode: "closest",
      hoverdistance: 24,
      dragmode: touch.matches ? false : "zoom",
      margin: { l: 8, r: 14, t: crowded ? 64 : 8, b: 8 }, // 64: the tool bar stands above the legend
    };
  }

  function draw() {
    for (const [id, figure] of Object.entries(figures)) {
      const place = document.getElementById(id);
      if (!place) continue;
      const narrow = place.clientWidth < 560;
      const crowded = !narrow && place.clientWidth < 800;
      const config = {
        responsive: true, displaylogo: false, showSendToCloud: false, showEditInChartStudio: false,
        modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
        displayModeBar: touch.matches || narrow ? false : "hover",
      };
      Plotly.react(place, figure.data.map(themedTrace), themedLayout(figure.layout, narrow, crowded), config);
    }
  }

  function sortBy(table, index, ascending) {
    const body = table.tBodies[0];
    const keyOf = (row) => row.cells[index].dataset.sort;
    const rows = Array.from(body.rows);
    const numeric = rows.every((row) => keyOf(row) === "" || !Number.isNaN(Number(keyOf(row))));
    const compare = (a, b) => (numeric ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true }));
    rows.sort((one, other) => {
      const [a, b] = [keyOf(one), keyOf(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      return ascending ? compare(a, b) : compare(b, a);
    });
    body.append(...rows);
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = Array.from(table.tHead.rows[0].cells);
    headings.forEach((heading, index) => {
      heading.querySelector("button").addEventListener("click", () => {
        const ascending = heading.getAttribute("aria-sort") !== "ascending";
        for (const other of headings) other.setAttribute("aria-sort", "none");
        heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        sortBy(table, index, ascending);
      });
    });
  }

  draw();
  dark.addEventListener("change", draw);
  window.addEventListener("beforeprint", () => { root.classList.add("printing"); draw(); });
  window.addEventListener("afterprint", () => { root.classList.remove("printing"); draw(); });
})();
