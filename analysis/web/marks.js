"use strict";
// The shapes of points, as SVG paths: for the legend, and for the canvas as Path2D.
{
  const MARKS = {
    o: (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`,
    s: (x, y, r) => `M${x - r * 0.88} ${y - r * 0.88}h${1.76 * r}v${1.76 * r}h${-1.76 * r}Z`,
    "^": (x, y, r) => `M${x} ${y - 1.1 * r}L${x + r} ${y + 0.8 * r}H${x - r}Z`,
    v: (x, y, r) => `M${x} ${y + 1.1 * r}L${x + r} ${y - 0.8 * r}H${x - r}Z`,
    D: (x, y, r) => `M${x} ${y - 1.15 * r}L${x + 1.15 * r} ${y}L${x} ${y + 1.15 * r}L${x - 1.15 * r} ${y}Z`,
    P: (x, y, r) => {
      const [a, b] = [0.4 * r, r];
      return `M${x - a} ${y - b}h${2 * a}v${b - a}h${b - a}v${2 * a}h${a - b}v${b - a}h${-2 * a}v${a - b}h${a - b}v${-2 * a}h${b - a}Z`;
    },
    X: (x, y, r) => {
      const c = 0.55 * r;
      return `M${x} ${y - c}L${x + r - c / 2} ${y - r - c / 8}L${x + r + c / 8} ${y - r + c / 2}L${x + c} ${y}L${x + r + c / 8} ${y + r - c / 2}L${x + r - c / 2} ${y + r + c / 8}L${x} ${y + c}L${x - r + c / 2} ${y + r + c / 8}L${x - r - c / 8} ${y + r - c / 2}L${x - c} ${y}L${x - r - c / 8} ${y - r + c / 2}L${x - r + c / 2} ${y - r - c / 8}Z`;
    },
    "*": (x, y, r) => {
      const tips = [...Array(10).keys()].map((place) => {
        const [angle, far] = [(Math.PI * place) / 5, place % 2 ? 0.5 * r : 1.25 * r];
        return `${x + far * Math.sin(angle)} ${y - far * Math.cos(angle)}`;
      });
      return `M${tips.join("L")}Z`;
    },
  };
  // The outline of a marker as an SVG path.
  raprune.markPath = (marker, x, y, r) => (MARKS[marker] ?? MARKS.o)(x, y, r);
}
