"use strict";
// Draws the marks of a plot on uPlot's canvas and remembers where they are.
{
  const CURVES = ["line", "steps", "dashed"];
  raprune.isCurve = (series) => CURVES.includes(series.look);

  // Curves first, then whiskers, then full points, then hollow ones, which stand around others.
  const depth = (series) => (raprune.isCurve(series) ? 0 : series.look === "hollow" ? 2 : 1);

  const curve = (ctx, points, look, dpr) => {
    ctx.setLineDash(look === "dashed" ? [5 * dpr, 4 * dpr] : []);
    ctx.lineWidth = 1.75 * dpr;
    ctx.lineJoin = "round";
    ctx.beginPath();
    let last = null;
    for (const point of points) {
      if (!point) {
        last = null;
        continue;
      }
      if (!last) ctx.moveTo(...point);
      else {
        if (look === "steps") ctx.lineTo(last[0], point[1]);
        ctx.lineTo(...point);
      }
      last = point;
    }
    ctx.stroke();
    ctx.setLineDash([]);
  };

  const whiskers = (ctx, series, places, toY, dpr) => {
    ctx.lineWidth = 1.25 * dpr;
    ctx.beginPath();
    places.forEach((point, place) => {
      const [low, high] = [series.low?.[place], series.high?.[place]];
      if (!point || low === null || low === undefined || high === null || high === undefined || low === high) return;
      for (const end of [low, high]) {
        ctx.moveTo(point[0] - 3 * dpr, toY(end));
        ctx.lineTo(point[0] + 3 * dpr, toY(end));
      }
      ctx.moveTo(point[0], toY(low));
      ctx.lineTo(point[0], toY(high));
    });
    ctx.stroke();
  };

  const horizontals = (u, chart, ctx, dpr) => {
    const { left, width } = u.bbox;
    ctx.strokeStyle = raprune.variable("soft");
    ctx.fillStyle = raprune.variable("soft");
    ctx.font = raprune.font(11 * dpr);
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    for (const [value, label] of chart.lines ?? []) {
      const y = Math.round(u.valToPos(value, "y", true)) + 0.5;
      if (y < u.bbox.top - 1 || y > u.bbox.top + u.bbox.height + 1) continue;
      ctx.lineWidth = dpr;
      ctx.setLineDash([1.5 * dpr, 3 * dpr]);
      ctx.beginPath();
      ctx.moveTo(left, y);
      ctx.lineTo(left + width, y);
      ctx.stroke();
      ctx.setLineDash([]);
      ctx.fillText(label, left + width + 6 * dpr, y);
    }
  };

  // Paints everything; returns the marks as { x, y, series, place } in CSS pixels of the plot's area.
  raprune.paint = (u, chart, figure, size) => {
    const { ctx } = u;
    const dpr = uPlot.pxRatio;
    const toX = (value) => u.valToPos(value, "x", true);
    const toY = (value) => u.valToPos(value, "y", true);
    const marks = [];
    ctx.save();
    horizontals(u, chart, ctx, dpr);
    ctx.beginPath();
    ctx.rect(u.bbox.left - 6 * dpr, u.bbox.top - 6 * dpr, u.bbox.width + 12 * dpr, u.bbox.height + 12 * dpr);
    ctx.clip();
    const shown = chart.series.filter((series) => !raprune.isHidden(figure, series));
    for (const series of shown.sort((a, b) => depth(a) - depth(b))) {
      const colour = raprune.ink(series.colour);
      const points = series.x.map((x, place) => {
        const y = series.y[place];
        return x === null || y === null ? null : [toX(x), toY(y)];
      });
      ctx.strokeStyle = colour;
      ctx.fillStyle = colour;
      if (series.low?.length) whiskers(ctx, series, points, toY, dpr);
      if (raprune.isCurve(series)) curve(ctx, points, series.look, dpr);
      else {
        for (const point of points.filter(Boolean)) {
          const path = new Path2D(raprune.markPath(series.marker ?? "o", point[0], point[1], size * dpr * (series.look === "hollow" ? 1.3 : 1)));
          if (series.look === "hollow") {
            ctx.lineWidth = 1.6 * dpr;
            ctx.stroke(path);
          } else {
            ctx.fill(path);
            ctx.lineWidth = 0.8 * dpr;
            ctx.strokeStyle = raprune.variable("back");
            ctx.stroke(path);
            ctx.strokeStyle = colour;
          }
        }
      }
      points.forEach((point, place) => {
        if (point) marks.push({ x: (point[0] - u.bbox.left) / dpr, y: (point[1] - u.bbox.top) / dpr, series, place });
      });
    }
    ctx.restore();
    return marks;
  };
}
