"use strict";
// Clusters of bars, from top to bottom.
{
  const [HIGH, GAP, BETWEEN, FONT] = [15, 4, 16, 12];

  const words = (text, size, most) => {
    const rows = [];
    for (const line of text.split("\n")) {
      let row = "";
      for (const word of line.split(" ")) {
        if (row && raprune.width(`${row} ${word}`, size) > most) {
          rows.push(row);
          row = word;
        } else row = row ? `${row} ${word}` : word;
      }
      rows.push(row);
    }
    return rows.map((row) => raprune.fitted(row, size, most));
  };

  const steps = (low, high, number) => {
    const rough = (high - low) / number || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
    const found = [];
    for (let place = Math.ceil(low / step); place * step <= high + step * 1e-6; place++) {
      found.push(Number((place * step).toPrecision(10)));
    }
    return found;
  };

  // All bars of a chart have as many decimals; what would be zero with so many keeps its first digit.
  const decimals = (bars) => {
    const most = Math.max(0, ...bars.map((bar) => Math.abs(bar.value ?? 0)));
    return most >= 100 ? 0 : most >= 10 ? 1 : 2;
  };
  const rounded = (value, digits) => {
    const text = Math.abs(value ?? 0).toFixed(digits);
    if (value === null || value === undefined || (Number(text) === 0 && value !== 0)) return raprune.number(value, 1);
    return `${value < 0 ? "−" : ""}${Number(text).toLocaleString("en", { minimumFractionDigits: digits })}`;
  };

  const shown = (bar, unit, digits) => {
    const value = raprune.withUnit(rounded(bar.value, digits), unit);
    return bar.note && bar.note.length <= 16 ? `${value}  ${bar.note}` : value;
  };

  raprune.heights.bars = (chart) =>
    chart.clusters.reduce((sum, [, bars]) => sum + bars.length * (HIGH + GAP) - GAP + BETWEEN, 40);

  raprune.kinds.bars = (box, chart, figure, width) => {
    const { s } = raprune;
    const unit = chart.unit.length <= 2 ? chart.unit : "";
    const clusters = chart.clusters
      .map(([label, bars]) => [label, bars.filter((bar) => !figure.hidden.has(`\n${bar.name}`))])
      .filter(([, bars]) => bars.length);
    const digits = decimals(clusters.flatMap(([, bars]) => bars));
    const all = clusters.flatMap(([, bars]) => bars).flatMap((bar) => [bar.value, bar.low, bar.high]);
    const known = [...all, ...(chart.lines ?? []).map(([value]) => value)].filter((v) => v !== null && v !== undefined);
    const [low, high] = [Math.min(0, ...known), Math.max(0, ...known)];
    const beside = width > 560;
    const longest = Math.max(0, ...clusters.flatMap(([label]) => label.split("\n").map((line) => raprune.width(line, FONT))));
    const left = beside ? Math.min(0.34 * width, longest + 14) : 2;
    const texts = Math.max(0, ...clusters.flatMap(([, bars]) => bars.map((bar) => raprune.width(shown(bar, unit, digits), FONT))));
    const before = low < 0 ? texts + 8 : 0;
    const span = Math.max(40, width - left - texts - 14 - before);
    const x = (value) => left + before + (span * (value - low)) / (high - low || 1);
    const top = chart.lines?.length ? 18 : 4;
    const parts = [];
    let y = top;
    for (const [label, bars] of clusters) {
      const rows = words(label, FONT, beside ? left - 14 : width);
      if (!beside) {
        rows.forEach((row) => parts.push(s("text", { x: 0, y: (y += 16) - 3, class: "cluster" }, row)));
        y += 2;
      }
      const height = bars.length * (HIGH + GAP) - GAP;
      const block = beside ? Math.max(height, rows.length * 16) : height;
      if (beside) {
        const start = y + (block - rows.length * 16) / 2;
        rows.forEach((row, place) =>
          parts.push(s("text", { x: left - 12, y: start + 12 + 16 * place, "text-anchor": "end", class: "cluster" }, row)),
        );
      }
      bars.forEach((bar, place) => parts.push(one(bar, y + (block - height) / 2 + place * (HIGH + GAP), x, [unit, digits], chart)));
      y += block + BETWEEN;
    }
    const bottom = y - BETWEEN / 2;
    const ticks = steps(low, high, Math.max(2, Math.floor(span / 80)));
    const grid = ticks.map((value) => [
      s("line", { x1: x(value), x2: x(value), y1: top - 2, y2: bottom, class: value === 0 ? "zero" : "grid" }),
      s("text", { x: x(value), y: bottom + 15, "text-anchor": "middle", class: "tick" }, raprune.number(value)),
    ]);
    const dotted = (chart.lines ?? []).map(([value, label]) => [
      s("line", { x1: x(value), x2: x(value), y1: top - 4, y2: bottom, class: "dotted" }),
      s("text", { x: x(value), y: 11, "text-anchor": x(value) > width - 60 ? "end" : "middle", class: "tick" }, label),
    ]);
    const name = s("text", { x: left + before + span / 2, y: bottom + 34, "text-anchor": "middle", class: "axis" }, chart.unit);
    const label = `${chart.title || "Bars"}: ${clusters.length} clusters of bars, ${chart.unit}`;
    box.replaceChildren(
      s("svg", { width, height: bottom + 40, viewBox: `0 0 ${width} ${bottom + 40}`, role: "group", "aria-label": label }, ...grid.flat(), ...parts, ...dotted.flat(), name),
    );
  };

  const one = (bar, y, x, [unit, digits], chart) => {
    const { s } = raprune;
    if (bar.value === null || bar.value === undefined) {
      return s("text", { x: x(0) + 4, y: y + 12, class: "value" }, "unknown");
    }
    const [from, to] = [x(Math.min(0, bar.value)), x(Math.max(0, bar.value))];
    const ends = [bar.low, bar.high].every((end) => end !== null && end !== undefined) && bar.low !== bar.high;
    const middle = y + HIGH / 2;
    const far = bar.value < 0 ? Math.min(from, ends ? x(bar.low) : from) : Math.max(to, ends ? x(bar.high) : to);
    const part = s(
      "g",
      { class: "bar" },
      s("rect", { x: from, y, width: Math.max(1, to - from), height: HIGH, rx: 2, fill: raprune.ink(bar.colour) }),
      ends && s("path", { class: "whisker", d: `M${x(bar.low)} ${middle}H${x(bar.high)}M${x(bar.low)} ${middle - 3}v6M${x(bar.high)} ${middle - 3}v6` }),
      s("text", { x: far + (bar.value < 0 ? -5 : 5), y: y + 12, "text-anchor": bar.value < 0 ? "end" : "start", class: "value" }, shown(bar, unit, digits)),
    );
    raprune.withTip(part, raprune.nameOf(bar.trial) || bar.name, () => [
      [chart.unit, raprune.exact(bar.value)],
      ...(ends ? [["from, to", `${raprune.exact(bar.low)}, ${raprune.exact(bar.high)}`]] : []),
      ...(bar.note ? bar.note.split("\n") : []),
    ]);
    return raprune.opens(part, bar.trial);
  };
}
