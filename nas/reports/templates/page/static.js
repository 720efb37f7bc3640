/* Tables that sort by their headings, and plots whose specs stand in the document. */
(() => {
  "use strict";
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
  for (const [id, spec] of Object.entries(Charts.document().plots ?? {})) {
    const place = document.getElementById(id);
    if (place) Charts.plot(place, spec);
  }
})();
