"use strict";
// Scatter and curves: uPlot gives axes, scales and size; the marks are painted by paint.js.
{
  const NEAR = 22; // pixels from the pointer within which a mark is meant

  const niceRange = (axis, range) => {
    if (axis.ticks?.length) return [-0.6, axis.ticks.length - 0.4];
    const [low, high] = range;
    if (low > high) return [0, 1];
    const pad = high > low ? 0.06 * (high - low) : Math.abs(high) * 0.1 || 1;
    return [low - pad, high + pad];
  };

  // Ticks of an axis that is linear up to a distance from zero and logarithmic beyond it.
  const symlogSplits = (edge, low, high) => {
    const step = [0.1, 0.2, 0.25, 0.5, 1, 2, 2.5, 5, 10].find((one) => edge / one <= 4) ?? edge / 4;
    const inner = [];
    for (let value = -edge; value <= edge + 1e-9; value += step) inner.push(Math.round(value / step) * step);
    const outer = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].filter((value) => value > 1.5 * edge);
    return [...outer.map((value) => -value), ...inner, ...outer].filter((value) => value >= low && value <= high);
  };

  const WHOLE = [1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000, 1e6, 1e7];
  const isWhole = (chart) => chart.series.every((series) => series.x.every((value) => value === null || Number.isInteger(value)));

  const axisOf = (axis, side, room, whole) => {
    const names = axis.ticks ?? [];
    const soft = raprune.variable("soft");
    const grid = { stroke: raprune.variable("grid"), width: 1 };
    const base = {
      label: axis.label,
      labelFont: raprune.font(12),
      labelSize: 20,
      labelGap: 2,
      font: raprune.font(11.5),
      stroke: soft,
      ticks: { ...grid, size: 4 },
      grid,
      gap: 4,
    };
    if (names.length) {
      const every = Math.max(1, Math.ceil((names.length * 13) / room));
      const longest = 130;
      const texts = names.map((name, place) => (place % every ? "" : raprune.fitted(name, 11, longest)));
      const wide = Math.max(...texts.map((text) => raprune.width(text, 11)));
      const flat = side === "y" || wide < room / names.length - 8;
      return {
        ...base,
        splits: () => names.map((_, place) => place),
        values: () => texts,
        rotate: flat ? 0 : 90,
        size: side === "y" ? wide + 12 : flat ? 24 : wide + 14,
        grid: side === "x" ? { show: false } : grid,
      };
    }
    const values = (u, splits) => splits.map((value) => (value === null ? "" : raprune.number(value)));
    if (side === "x") return { ...base, values, size: 26, space: 54, ...(whole ? { incrs: WHOLE } : {}) };
    const size = (u, texts) => Math.max(...(texts ?? [""]).map((text) => raprune.width(text, 11.5)), 8) + 12;
    const splits = axis.linear_to ? (u, _, low, high) => symlogSplits(axis.linear_to, low, high) : undefined;
    return { ...base, values, size, splits, space: 34 };
  };

  const nearest = (marks, x, y) => {
    let best = null;
    let least = NEAR ** 2;
    for (const mark of marks) {
      const far = (mark.x - x) ** 2 + (mark.y - y) ** 2;
      const weighed = raprune.isCurve(mark.series) ? far + 9 : far; // a point in front of a curve is meant first
      if (weighed < least) [best, least] = [mark, weighed];
    }
    return best;
  };

  const lines = (chart, { series, place }) => {
    const value = (axis, number) => (axis.ticks?.length ? (axis.ticks[number] ?? "") : raprune.exact(number));
    const [low, high] = [series.low?.[place], series.high?.[place]];
    const spread = low !== undefined && low !== null && low !== high;
    return [
      [chart.x.label, value(chart.x, series.x[place])],
      [chart.y.label, value(chart.y, series.y[place])],
      ...(spread ? [["from, to", `${raprune.exact(low)}, ${raprune.exact(high)}`]] : []),
      ...(series.notes?.[place] ? series.notes[place].split("\n") : []),
    ];
  };

  const spoken = (chart) => {
    const kinds = chart.series.map((series) => `${series.name || "unnamed"} (${series.x.length})`);
    return `${chart.title ? `${chart.title}: ` : ""}${chart.y.label} against ${chart.x.label}; ${kinds.join(", ")}`;
  };

  raprune.heights.plot = (chart, figure, width) =>
    (figure.small ? 165 : Math.min(380, Math.max(280, 0.62 * width))) + (chart.x.ticks?.length ? 60 : 0);

  raprune.kinds.plot = (box, chart, figure, width) => {
    const state = (box.raprune ??= { zoom: null });
    state.plot?.destroy();
    const labels = (chart.lines ?? []).map(([, label]) => raprune.width(label, 11));
    const right = Math.max(10, ...labels.map((wide) => wide + 12));
    const full = ["x", "y"].map((side) => niceRange(chart[side], figure.ranges[`${side}:${chart[side].label}`]));
    state.marks = [];
    const u = new uPlot(
      {
        width,
        height: raprune.heights.plot(chart, figure, width),
        padding: [8, right, 0, 0],
        scales: {
          x: { time: false, range: () => state.zoom?.x ?? full[0] },
          y: {
            range: () => state.zoom?.y ?? full[1],
            ...(chart.y.linear_to ? { distr: 4, asinh: chart.y.linear_to } : {}),
          },
        },
        axes: [axisOf(chart.x, "x", width - 70 - right, isWhole(chart)), axisOf(chart.y, "y", 240)],
        series: [{}, { paths: () => null, points: { show: false } }],
        legend: { show: false },
        cursor: { points: { show: false }, drag: { x: true, y: true, setScale: false }, bind: { dblclick: () => null } },
        hooks: {
          draw: [
            (plot) => {
              state.marks = raprune.paint(plot, chart, figure, figure.small ? 2.6 : 4.4);
            },
          ],
          setSelect: [
            (plot) => {
              const { left, top, width: wide, height: high } = plot.select;
              if (wide < 8 || high < 8) return;
              const value = (px, scale) => plot.posToVal(px, scale);
              state.zoom = {
                x: [value(left, "x"), value(left + wide, "x")],
                y: [value(top + high, "y"), value(top, "y")],
              };
              plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
              plot.setData(plot.data);
            },
          ],
        },
      },
      [full[0], full[0].map(() => null)],
      box,
    );
    state.plot = u;
    const over = u.over;
    over.setAttribute("role", "img");
    over.setAttribute("aria-label", spoken(chart));
    over.addEventListener("dblclick", () => {
      state.zoom = null;
      u.setData(u.data);
    });
    const find = (event) => {
      const frame = over.getBoundingClientRect();
      return nearest(state.marks, event.clientX - frame.left, event.clientY - frame.top);
    };
    over.addEventListener("pointermove", (event) => {
      const mark = find(event);
      const trial = mark?.series.trials?.[mark.place];
      over.style.cursor = trial ? "pointer" : "";
      if (!mark) raprune.noTip();
      else raprune.tip(event.clientX, event.clientY, raprune.nameOf(trial) || mark.series.name, lines(chart, mark));
    });
    over.addEventListener("pointerleave", raprune.noTip);
    let pressed = null;
    over.addEventListener("pointerdown", (event) => (pressed = [event.clientX, event.clientY]));
    over.addEventListener("click", (event) => {
      const moved = pressed && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) > 5;
      const mark = find(event);
      if (mark && !moved) raprune.open(mark.series.trials?.[mark.place]);
    });
    raprune.noTip();
  };
}
