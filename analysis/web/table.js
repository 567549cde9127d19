"use strict";
// The table of all trials: sorted by a click on a heading, filtered by what its columns have in common.
{
  const FILTERED = ["study", "method", "order", "bound"];

  // What a cell is sorted by: its first number, or its text.
  const UNITS = { k: 1e3, M: 1e6, G: 1e9 };
  const key = (cell) => {
    const text = cell?.textContent.trim() ?? "";
    const found = /^([+−-]?[\d.,]+(?:e[+-]?\d+)?)([kMG%]?)/.exec(text);
    if (!found) return text ? [1, text] : [2, ""];
    return [0, Number(found[1].replaceAll(",", "").replace("−", "-")) * (UNITS[found[2]] ?? 1)];
  };
  const compared = ([a, x], [b, y]) => a - b || (typeof x === "string" ? x.localeCompare(y) : x - y);

  const sorting = (table, body) => {
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const sort = () => {
        const next = { none: "descending", descending: "ascending", ascending: "none" };
        const way = next[head.getAttribute("aria-sort") ?? "none"];
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        const keys = new Map(rows.map((row) => [row, key(row.cells[column])]));
        const sorted = [...rows];
        if (way !== "none") {
          head.setAttribute("aria-sort", way);
          const sign = way === "ascending" ? 1 : -1;
          sorted.sort((a, b) => sign * compared(keys.get(a), keys.get(b)));
        }
        body.append(...sorted);
      };
      const button = raprune.h("button", { type: "button", onclick: sort }, ...head.childNodes);
      head.replaceChildren(button);
    });
  };

  const filtering = (box, table, body) => {
    const rows = [...body.rows].filter((row) => row.cells.length > 2);
    const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent);
    const chosen = new Map();
    const count = raprune.h("output", null, "");
    const apply = () => {
      let number = 0;
      for (const row of body.rows) {
        const fits = [...chosen].every(([column, value]) => row.cells[column]?.textContent === value);
        row.hidden = !fits;
        number += fits ? 1 : 0;
      }
      count.textContent = chosen.size ? `${number} of ${body.rows.length} trials` : "";
    };
    for (const name of FILTERED.filter((one) => heads.includes(one))) {
      const column = heads.indexOf(name);
      const values = [...new Set(rows.map((row) => row.cells[column]?.textContent ?? ""))].filter(Boolean);
      if (values.length < 2) continue;
      const options = ["", ...values].map((value) => raprune.h("option", { value }, value || "all"));
      const change = (event) => {
        if (event.target.value) chosen.set(column, event.target.value);
        else chosen.delete(column);
        apply();
      };
      box.append(raprune.h("label", null, name, raprune.h("select", { onchange: change, name }, options)));
    }
    if (box.childElementCount) box.append(count);
  };

  raprune.sections.trials = (element) => {
    const table = element.querySelector("table.trials");
    const [body] = table.tBodies;
    filtering(element.querySelector(".filters"), table, body);
    sorting(table, body);
    body.addEventListener("click", (event) => {
      const link = event.target.closest("tr")?.querySelector("a.id");
      if (link && !event.target.closest("a") && !getSelection().toString()) location.hash = link.hash;
    });
    raprune.drawer();
  };
}
