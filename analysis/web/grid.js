"use strict";
// A small table.
raprune.heights.grid = (chart) => 34 * (chart.rows.length + 1);

raprune.kinds.grid = (box, chart) => {
  const { h } = raprune;
  if (box.childElementCount) return;
  const isNumber = (text) => /^[+−-]?[\d.,]+\s*(%|[a-zA-Zµ]{0,3})( .*)?$/.test(text);
  const cell = (text) => h("td", { class: isNumber(text) ? null : "text" }, text);
  const rows = chart.rows.map((row, place) => raprune.opens(h("tr", null, row.map(cell)), chart.trials?.[place]));
  const first = chart.rows[0] ?? [];
  const head = chart.head.map((name, place) => h("th", { class: isNumber(first[place] ?? "") ? null : "text" }, name));
  box.append(h("div", { class: "scroll" }, h("table", null, h("thead", null, h("tr", null, head)), h("tbody", null, rows))));
};
