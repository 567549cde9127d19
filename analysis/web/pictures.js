"use strict";
// Rows of pictures side by side, under the names of their columns.
{
  raprune.heights.pictures = (chart, _, width) => chart.rows.length * (60 + Math.min(190, width / chart.columns.length));

  raprune.kinds.pictures = (box, chart) => {
    const { h } = raprune;
    if (box.childElementCount) return; // the same at any size and on any ground
    // Pictures of one column are as large as they are; others share the width.
    const many = Math.max(...chart.rows.map(([, , pictures]) => pictures.length), chart.columns.length);
    if (many === 1) box.classList.add("single");
    const columns = { style: { gridTemplateColumns: `repeat(${many}, minmax(0, 1fr))`, maxWidth: many > 1 ? `${12 * many}rem` : null } };
    const heads = chart.columns.map((name) => h("span", null, name));
    const rows = chart.rows.map(([label, trial, pictures]) => {
      const shown = pictures.map((picture, place) => {
        const alt = [label, chart.columns[place], picture.caption].filter(Boolean).join(", ");
        return h("div", null, h("img", { src: picture.png, alt, loading: "eager" }), picture.caption && h("small", null, picture.caption));
      });
      const row = h("div", { class: "row" }, h("p", null, label), h("div", { class: "strip", ...columns }, shown));
      return raprune.opens(row, trial);
    });
    box.append(h("div", { class: "strip heads", ...columns }, heads), ...rows);
  };
}
