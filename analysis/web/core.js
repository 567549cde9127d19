"use strict";
// What all scripts of the page share. A section's script registers itself in `sections`, a kind of chart in `kinds`.
const raprune = { sections: {}, kinds: {}, heights: {}, trials: {} };
window.raprune = raprune;
{
  const made = (element, attributes, children) => {
    for (const [name, value] of Object.entries(attributes ?? {})) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "style") Object.assign(element.style, value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
    return element;
  };

  // An element; strings become text nodes, never HTML.
  raprune.h = (name, attributes, ...children) => made(document.createElement(name), attributes, children);
  raprune.s = (name, attributes, ...children) =>
    made(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

  // A number as people write it: at most `digits` significant digits, thousands parted.
  raprune.number = (value, digits = 4) => {
    if (value === null || value === undefined) return "unknown";
    const size = Math.abs(value);
    if (size >= 1e9 || (size > 0 && size < 1e-4)) return value.toExponential(2).replace("-", "−");
    const text = value.toLocaleString("en", { maximumSignificantDigits: Math.max(digits, 1) });
    return text === "-0" ? "0" : text.replace("-", "−");
  };
  raprune.exact = (value) => raprune.number(value, 6);
  raprune.withUnit = (text, unit) => (unit === "%" ? `${text}%` : unit ? `${text} ${unit}` : text);

  // How wide a text is, in pixels.
  const pen = document.createElement("canvas").getContext("2d");
  raprune.font = (size, weight = "") => `${weight} ${size}px system-ui, -apple-system, "Segoe UI", sans-serif`.trim();
  raprune.width = (text, size) => {
    pen.font = raprune.font(size);
    return pen.measureText(text).width;
  };
  // A text cut to fit, its end kept: the end of a layer's name tells it apart.
  raprune.fitted = (text, size, most) => {
    if (raprune.width(text, size) <= most) return text;
    let cut = text;
    while (cut.length > 1 && raprune.width(`…${cut}`, size) > most) cut = cut.slice(1);
    return `…${cut}`;
  };

  raprune.nameOf = (trial) => raprune.trials[trial]?.name ?? "";
  raprune.open = (trial) => {
    if (raprune.trials[trial]) location.hash = `trial=${encodeURIComponent(trial)}`;
  };
}
