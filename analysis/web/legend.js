"use strict";
// The legend of a figure: one for all its panels. A click hides what has that name; a second one shows it again.
{
  // Entries of a chart as [heading, name, swatch].
  const entriesOf = (chart) => {
    if (chart.kind === "plot") {
      return chart.series.flatMap((series) => [
        ...(series.name ? [[series.group ?? "", series.name, { ...series, own: true }]] : []),
        ...(series.also ?? []).map(([group, name]) => [group, name, { ...series, colour: "" }]),
      ]);
    }
    if (chart.kind === "bars") {
      return chart.clusters.flatMap(([, bars]) => bars.map((bar) => ["", bar.name, { colour: bar.colour, look: "bar" }]));
    }
    if (chart.kind === "pictures") return (chart.legend ?? []).map(([name, colour]) => ["", name, { colour, look: "bar", exact: true }]);
    return [];
  };

  const swatch = (look) => {
    const colour = look.exact ? look.colour : raprune.ink(look.colour); // a class is drawn as the picture has it
    const icon = raprune.s("svg", { width: 22, height: 12, viewBox: "0 0 22 12", "aria-hidden": "true" });
    if (look.look === "bar") {
      icon.append(raprune.s("rect", { x: 5, y: 1, width: 12, height: 10, rx: 2, fill: colour }));
      return icon;
    }
    if (["line", "steps", "dashed"].includes(look.look)) {
      const dash = look.look === "dashed" ? "4 3" : null;
      icon.append(raprune.s("path", { d: "M1 6H21", stroke: colour, "stroke-width": 2, "stroke-dasharray": dash }));
      return icon;
    }
    const hollow = look.look === "hollow";
    const shape = { d: raprune.markPath(look.marker ?? "o", 11, 6, 4.6), stroke: colour, "stroke-width": 1.5 };
    icon.append(raprune.s("path", { ...shape, fill: hollow ? "none" : colour }));
    return icon;
  };

  // Draws the legend of `charts` into `box`; `figure.hidden` holds what is hidden, `figure.redraw()` follows a click.
  raprune.legend = (box, charts, figure) => {
    const groups = new Map();
    for (const [group, name, look] of charts.flatMap(entriesOf)) {
      if (!groups.has(group)) groups.set(group, new Map());
      const known = groups.get(group).get(name);
      if (!known || (look.own && !known.own)) groups.get(group).set(name, look);
    }
    const number = [...groups.values()].reduce((sum, entries) => sum + entries.size, 0);
    if (number < 2) return;
    const fixed = charts.every((chart) => chart.kind === "pictures");
    const draw = () =>
      box.replaceChildren(
        ...[...groups].map(([group, entries]) => {
          const buttons = [...entries].map(([name, look]) => {
            if (fixed) return raprune.h("span", { class: "entry" }, swatch(look), name);
            const key = `${group}\n${name}`;
            const click = () => {
              if (!figure.hidden.delete(key)) figure.hidden.add(key);
              draw();
              figure.redraw();
            };
            const shown = !figure.hidden.has(key);
            return raprune.h("button", { type: "button", "aria-pressed": String(shown), onclick: click }, swatch(look), name);
          });
          return raprune.h("div", { class: "group" }, group && raprune.h("span", { class: "name" }, group), buttons);
        }),
      );
    document.addEventListener("raprune-theme", draw);
    draw();
  };
  raprune.isHidden = (figure, series) =>
    [[series.group ?? "", series.name], ...(series.also ?? [])].some(([group, name]) =>
      figure.hidden.has(`${group}\n${name}`),
    );
}
