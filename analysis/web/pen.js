"use strict";
/* Turns strokes of a pen into an image like those of the data set: `drawn` says how (raprune.plugins.datasets.base.Drawn).
   A stroke is a list of points [x, y], in any unit. */

const Pen = (() => {
  /** Pixels 0 to 255 of an image of H x W pixels with one channel, ink white. */
  function imageOf(strokes, drawn, [, H, W]) {
    const inked = bitmap(fitted(strokes, drawn), drawn);
    return enlarged(counted(inked, drawn), drawn.cells, H, W);
  }

  /** The strokes moved and scaled to fill the bitmap's height, and at most `width` across, in its middle. */
  function fitted(strokes, { bitmap: side, width, pen }) {
    const points = strokes.flat();
    const [left, right] = ends(points.map(([x]) => x)), [top, bottom] = ends(points.map(([, y]) => y));
    const [wide, high] = [right - left, Math.max(bottom - top, (right - left) / 4)];
    const down = high > 0 ? (side - pen) / high : 0;
    const across = wide > 0 ? Math.min(down, (width - pen) / wide) : 0;
    const place = ([x, y]) => [
      (x - (left + right) / 2) * across + side / 2,
      (y - (top + bottom) / 2) * down + side / 2,
    ];
    return strokes.map((stroke) => stroke.map(place));
  }

  function ends(values) {
    return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  }

  /** Which pixels' centres are under the pen: 0 or 1, row by row. */
  function bitmap(strokes, { bitmap: side, pen }) {
    const inked = new Uint8Array(side * side);
    for (const stroke of strokes) {
      stroke.forEach((end, number) => {
        const start = stroke[Math.max(0, number - 1)];
        const reach = (a, b) => [Math.max(0, Math.floor(Math.min(a, b) - pen)), Math.min(side, Math.ceil(Math.max(a, b) + pen))];
        const [left, right] = reach(start[0], end[0]), [top, bottom] = reach(start[1], end[1]);
        for (let y = top; y < bottom; y++) {
          for (let x = left; x < right; x++) {
            if (distance([x + 0.5, y + 0.5], start, end) <= pen / 2) inked[y * side + x] = 1;
          }
        }
      });
    }
    return inked;
  }

  /** From a point to the line between two others. */
  function distance([x, y], [x1, y1], [x2, y2]) {
    const [dx, dy] = [x2 - x1, y2 - y1], squared = dx * dx + dy * dy;
    const along = squared ? Math.min(1, Math.max(0, ((x - x1) * dx + (y - y1) * dy) / squared)) : 0;
    return Math.hypot(x - x1 - along * dx, y - y1 - along * dy);
  }

  /** The share of ink in each square cell. */
  function counted(inked, { bitmap: side, cells }) {
    const wide = side / cells, shares = new Float32Array(cells * cells);
    inked.forEach((ink, place) => {
      const row = Math.floor(Math.floor(place / side) / wide), column = Math.floor((place % side) / wide);
      shares[row * cells + column] += ink / (wide * wide);
    });
    return shares;
  }

  /** Bilinear interpolation between the centres of cells; outside of them the nearest. */
  function enlarged(shares, cells, H, W) {
    const image = new Uint8Array(H * W);
    const between = (place, length) => {
      const at = Math.max(0, ((place + 0.5) * cells) / length - 0.5), low = Math.min(cells - 1, Math.floor(at));
      return [low, Math.min(cells - 1, low + 1), at - low];
    };
    for (let y = 0; y < H; y++) {
      const [top, bottom, down] = between(y, H);
      for (let x = 0; x < W; x++) {
        const [left, right, across] = between(x, W);
        const row = (r) => shares[r * cells + left] * (1 - across) + shares[r * cells + right] * across;
        image[y * W + x] = Math.round(255 * (row(top) * (1 - down) + row(bottom) * down));
      }
    }
    return image;
  }

  return { imageOf, counted, bitmap, fitted, enlarged };
})();
