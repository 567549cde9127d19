"use strict";
// A figure: its legend and its charts, side by side where there is room, drawn when they come near the screen.
{
  const SMALL = 4; // more charts than this are drawn smaller

  // Axes of one label have one scale in all panels of a figure, so that panels can be compared.
  const sharedRanges = (charts) => {
    const ranges = {};
    for (const chart of charts.filter((one) => one.kind === "plot")) {
      for (const side of ["x", "y"]) {
        const key = `${side}:${chart[side].label}`;
        const values = chart.series.flatMap((series) => [
          ...series[side],
          ...(side === "y" ? [...(series.low ?? []), ...(series.high ?? [])] : []),
        ]);
        if (side === "y") values.push(...(chart.lines ?? []).map(([value]) => value));
        const known = values.filter((value) => value !== null);
        const [low, high] = ranges[key] ?? [Infinity, -Infinity];
        ranges[key] = [known.reduce((a, b) => Math.min(a, b), low), known.reduce((a, b) => Math.max(a, b), high)];
      }
    }
    return ranges;
  };

  raprune.sections.charts = (element, charts) => {
    const box = element.querySelector(".charts");
    const legend = raprune.h("div", { class: "legend" });
    const drawn = [];
    const figure = {
      hidden: new Set(),
      ranges: sharedRanges(charts),
      small: charts.filter((chart) => chart.kind === "plot").length > SMALL,
      redraw: () => drawn.forEach((chart) => chart.draw()),
    };
    box.before(legend);
    const kinds = new Set(charts.map((chart) => chart.kind));
    box.classList.add(...kinds, ...(figure.small ? ["small"] : []));
    for (const chart of charts) {
      const inner = raprune.h("div", { class: "chart" });
      const [first, ...more] = (chart.title ?? "").split("\n");
      const heading = first && raprune.h("figcaption", null, first, more.length ? raprune.h("span", null, `\n${more.join("\n")}`) : null);
      const whole = raprune.h("figure", { class: chart.kind }, heading, inner);
      box.append(whole);
      inner.style.minHeight = `${raprune.heights[chart.kind](chart, figure, inner.clientWidth)}px`;
      let width = 0;
      let near = false;
      const one = {
        draw: () => {
          if (!near || !inner.clientWidth) return;
          inner.style.minHeight = "";
          width = inner.clientWidth;
          raprune.kinds[chart.kind](inner, chart, figure, width);
        },
        now: () => {
          near = true;
          one.draw();
        },
      };
      drawn.push(one);
      raprune.onPrint.push(one.now);
      new IntersectionObserver(
        (entries, observer) => {
          if (!entries.some((entry) => entry.isIntersecting)) return;
          observer.disconnect();
          one.now();
        },
        { rootMargin: "600px" },
      ).observe(whole);
      new ResizeObserver(() => {
        if (Math.abs(inner.clientWidth - width) >= 1) one.draw();
      }).observe(inner);
      document.addEventListener("raprune-theme", one.draw);
    }
    raprune.legend(legend, charts, figure);
  };

  raprune.onPrint = [];
  // A click, or Enter, on an element opens its trial.
  raprune.opens = (element, trial) => {
    if (!trial || !raprune.trials[trial]) return element;
    element.classList.add("opens");
    element.setAttribute("tabindex", "0");
    element.addEventListener("click", () => raprune.open(trial));
    element.addEventListener("keydown", (event) => event.key === "Enter" && raprune.open(trial));
    return element;
  };
}
