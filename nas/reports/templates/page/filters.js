/* Filter by choices: a button for each option that occurs. */
(() => {
  "use strict";
  const { run, state } = Page;
  const { el } = Charts;
  const place = document.getElementById("filters");
  if (!place) return;

  function toggle(choice, option) {
    const wanted = new Set(state.filter.get(choice.name) ?? []);
    if (wanted.has(option)) wanted.delete(option); else wanted.add(option);
    const filter = new Map(state.filter);
    if (wanted.size) filter.set(choice.name, wanted); else filter.delete(choice.name);
    Page.change({ filter });
  }
  function row(choice) {
    const seen = new Uint32Array(choice.options.length + 1);
    for (let i = 0; i < run.count; i += 1) seen[choice.of[i]] += 1;
    const options = choice.options.map((text, k) => [text, k + 1]);
    if (seen[0]) options.push(["none", 0]);
    return el("div", { role: "group", "aria-label": choice.name }, el("div", { class: "name" }, choice.name, choice.training ? el("small", {}, " training") : null),
      el("div", { class: "options" }, options.map(([text, k]) => el("button", { type: "button", class: "option", "aria-pressed": String(state.filter.get(choice.name)?.has(k) ?? false), "data-choice": choice.name, "data-option": String(k), click: () => toggle(choice, k) }, text, el("small", {}, ` ${seen[k]}`)))));
  }
  const told = el("p", { class: "soft", role: "status" });
  const clear = el("button", { type: "button", click: () => Page.change({ filter: new Map() }) }, "Clear the filter");
  let groups = [];
  function show() {
    for (const group of groups) for (const button of group.querySelectorAll("button.option")) {
      const wanted = state.filter.get(button.dataset.choice);
      button.setAttribute("aria-pressed", String(wanted?.has(Number(button.dataset.option)) ?? false));
    }
    const passing = Page.passes().reduce((sum, each) => sum + each, 0);
    const chosen = [...state.filter.keys()];
    told.textContent = chosen.length ? `${passing} of ${run.count} architectures pass the filter on ${chosen.join(", ")}. It applies to the front, the budget, the lines and the table.` : `All ${run.count} architectures are shown. Press options to keep only architectures that have one of them.`;
    clear.hidden = chosen.length === 0;
  }
  Page.toggleOption = toggle;
  Page.showFilters = () => {
    const usable = run.choices.filter((choice) => !choice.many && choice.options.length + (choice.of.includes(0) ? 1 : 0) > 1 && choice.options.length <= 60);
    if (!usable.length) { place.replaceChildren(el("p", { class: "blank" }, "No choice of this run has two options to filter by.")); return; }
    const list = el("div", { class: "map" });
    groups = [list];
    place.replaceChildren(told, el("p", { class: "buttons" }, clear), el("details", { open: usable.length <= 8 }, el("summary", {}, `Choices (${usable.length})`), list));
    list.append(...usable.map(row));
    show();
    Page.onChange((names) => { if (names.includes("filter")) show(); });
  };
})();
