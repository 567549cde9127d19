"use strict";
// A heat map: rows of cells, the shade between the chart's lowest and highest value.
{
  raprune.heights.heat = (chart) => 28 * chart.rows.length + 110;

  raprune.kinds.heat = (box, chart, figure, width) => {
    const { s } = raprune;
    const [lowest, highest] = [chart.lowest ?? 0, chart.highest ?? 1];
    const longest = Math.max(0, ...chart.rows.map((row) => raprune.width(row, 12)));
    const beside = longest + 12 <= 0.42 * width; // else a row's name stands above its cells
    const left = beside ? longest + 12 : 2;
    const above = beside ? 0 : 17;
    const cell = Math.min(64, (width - left - 2) / chart.columns.length);
    const high = Math.min(28, Math.max(16, cell));
    const every = Math.max(1, Math.ceil(13 / cell));
    const names = chart.columns.map((name, place) => (place % every ? "" : raprune.fitted(name, 11, 120)));
    const widest = Math.max(0, ...names.map((name) => raprune.width(name, 11)));
    const flat = widest < cell - 4;
    const top = flat ? 20 : widest + 10;
    const heads = names.map((name, place) => {
      const x = left + cell * (place + 0.5);
      return flat
        ? s("text", { x, y: top - 7, "text-anchor": "middle", class: "tick" }, name)
        : s("text", { transform: `translate(${x + 4} ${top - 6}) rotate(-90)`, class: "tick" }, name);
    });
    const rows = chart.values.map((values, row) => {
      const trial = chart.trials?.[row];
      const y = top + row * (high + above) + above;
      const cells = values.map((value, column) => {
        const x = left + column * cell;
        const shade = value === null ? null : raprune.heat((value - lowest) / (highest - lowest || 1));
        const part = s(
          "g",
          null,
          s("rect", { x: x + 0.5, y: y + 0.5, width: Math.max(1, cell - 1), height: high - 1, rx: 2, fill: shade?.fill, class: shade ? null : "unknown" }),
          cell >= 30 && shade && s("text", { x: x + cell / 2, y: y + high / 2 + 4, "text-anchor": "middle", class: "inside", fill: shade.text }, raprune.number(value, 2)),
        );
        return raprune.withTip(part, raprune.nameOf(trial) || chart.rows[row], () => [
          [chart.columns[column], raprune.withUnit(raprune.exact(value), chart.unit.length <= 2 ? chart.unit : "")],
        ]);
      });
      const place = beside ? { x: left - 8, y: y + high / 2 + 4, "text-anchor": "end" } : { x: left, y: y - 4 };
      const name = s("text", { ...place, class: "cluster" }, raprune.fitted(chart.rows[row], 12, beside ? left - 10 : width));
      return raprune.opens(s("g", { class: "row" }, name, ...cells), trial);
    });
    const bottom = top + chart.rows.length * (high + above) + 12;
    const scale = Math.max(0, Math.min(left, width - 160 - raprune.width(chart.unit, 11)));
    const stops = [...Array(24).keys()].map((place) =>
      s("rect", { x: scale + place * 6, y: bottom, width: 6.5, height: 9, fill: raprune.heat(place / 23).fill }),
    );
    const ends = [
      s("text", { x: scale, y: bottom + 23, class: "tick" }, raprune.number(lowest)),
      s("text", { x: scale + 144, y: bottom + 23, "text-anchor": "end", class: "tick" }, raprune.number(highest)),
      s("text", { x: scale + 154, y: bottom + 9, class: "tick" }, chart.unit),
    ];
    const label = `${chart.title || "Heat map"}: ${chart.rows.length} rows of ${chart.columns.length}, ${chart.unit}`;
    box.replaceChildren(
      s("svg", { width, height: bottom + 28, viewBox: `0 0 ${width} ${bottom + 28}`, role: "group", "aria-label": label }, ...heads, ...rows, ...stops, ...ends),
    );
  };
}
