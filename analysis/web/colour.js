"use strict";
// Dark and light, and colours of figures that can be told from either.
{
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const KEY = "raprune-theme";
  const LEAST = 3; // contrast of a mark with what is behind it

  const kept = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // a browser that keeps nothing for files
    }
  };
  let chosen = kept();
  let printing = false;
  raprune.isDark = () => !printing && (chosen ? chosen === "dark" : system.matches);
  raprune.variable = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

  const button = document.getElementById("theme");
  const tell = () => {
    root.dataset.theme = raprune.isDark() ? "dark" : "light";
    button.textContent = raprune.isDark() ? "Light" : "Dark";
    document.dispatchEvent(new CustomEvent("raprune-theme"));
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    chosen = raprune.isDark() ? "light" : "dark";
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      // it holds until the page is closed
    }
    tell();
  });
  system.addEventListener("change", tell);
  raprune.print = (now) => {
    printing = now;
    tell();
  };
  tell();

  const parsed = (colour) => {
    const digits = /^#([0-9a-f]{6})([0-9a-f]{2})?$/i.exec(colour);
    if (!digits) return null;
    const parts = [0, 2, 4].map((place) => parseInt(digits[1].slice(place, place + 2), 16));
    return { parts, alpha: digits[2] ? parseInt(digits[2], 16) / 255 : 1 };
  };
  const light = (parts) => {
    const [r, g, b] = parts.map((part) => (part / 255 <= 0.03928 ? part / 3294.6 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const mixed = (one, other, share) => one.map((part, place) => Math.round(part + share * (other[place] - part)));
  const written = (parts, alpha = 1) => `rgb(${parts.join(" ")} / ${alpha})`;

  // A colour as the figure names it, lighter on dark or darker on light until it stands out; the ink if there is none.
  raprune.ink = (colour) => {
    const found = parsed(colour ?? "");
    if (!found) return raprune.variable("ink");
    const back = parsed(raprune.variable("back")).parts;
    const goal = raprune.isDark() ? [255, 255, 255] : [0, 0, 0];
    let parts = found.parts;
    for (let share = 0.1; contrast(parts, back) < LEAST && share <= 1; share += 0.1) {
      parts = mixed(found.parts, goal, share);
    }
    return written(parts, found.alpha);
  };
  // A shade between the page's lowest and highest heat, and a text colour to write on it.
  raprune.heat = (share) => {
    const [low, high] = ["heat-low", "heat-high"].map((name) => parsed(raprune.variable(name)).parts);
    const parts = mixed(low, high, Math.min(1, Math.max(0, share)));
    const [white, black] = [[255, 255, 255], [17, 20, 24]];
    return { fill: written(parts), text: written(contrast(parts, white) > contrast(parts, black) ? white : black) };
  };
}
