"use strict";
/* What the section of draw.js shows. Texts of a study become text nodes only. */

function drawView(parts, data) {
  const { networks, class_names: names, noun } = data;
  const { h, s } = raprune;
  const one = `${noun === "image" ? "an" : "a"} ${noun}`;
  const MOST_CLASSES = 10;
  const percent = (share) => (share < 0.995 && share >= 0.005 ? `${Math.round(100 * share)}%` : share < 0.5 ? "<1%" : ">99%");
  const layers = parts.filters ? filterCells() : [];
  const rows = scoreRows();
  const buttons = new Map(); // of the real images

  /** One row of cells a convolution, one cell for each of its filters before pruning. */
  function filterCells() {
    return networks[0].steps.filter((step) => step.op === "conv").map((step) => {
      const cells = Array.from({ length: step.num_filters }, () => h("i"));
      const left = h("span");
      parts.filters.append(h("div", {}, h("p", {}, h("b", {}, step.layer), " ", left), h("div", { class: "draw-cells" }, cells)));
      return { cells, left };
    });
  }

  function showFilters(number, answer) {
    const steps = networks[number].steps.filter((step) => step.op === "conv");
    layers.forEach(({ cells, left }, place) => {
      const { kept, num_filters: all } = steps[place];
      const means = answer ? answer.filters[place].means : new Float32Array(kept.length);
      const most = Math.max(...means) || 1;
      const lit = new Map(kept.map((filter, own) => [filter, Math.max(0, means[own]) / most]));
      cells.forEach((cell, filter) => {
        cell.className = lit.has(filter) ? "" : "gone";
        cell.style.opacity = lit.has(filter) ? 0.12 + 0.88 * lit.get(filter) : "";
      });
      left.textContent = kept.length === all ? `all ${all} filters` : `${kept.length} of ${all} filters left`;
    });
  }

  /** Bars of the likeliest classes: name, baseline, pruned. */
  function scoreRows() {
    return Array.from({ length: Math.min(MOST_CLASSES, names.length) }, () => {
      const name = h("th", { scope: "row" });
      const bars = [0, 1].map(() => ({ bar: h("i"), share: h("span") }));
      const row = h("tr", {}, name, bars.map(({ bar, share }) => h("td", {}, h("div", {}, bar), share)));
      parts.scores.append(row);
      return { row, name, bars };
    });
  }

  function showScores(both) {
    const order = names.map((_, place) => place);
    if (both && names.length > MOST_CLASSES) order.sort((a, b) => Math.max(...both.map((s) => s[b])) - Math.max(...both.map((s) => s[a])));
    rows.forEach(({ row, name, bars }, place) => {
      const own = order[place];
      name.textContent = names[own];
      bars.forEach(({ bar, share }, side) => {
        bar.style.width = both ? `${100 * both[side][own]}%` : 0;
        share.textContent = both ? percent(both[side][own]) : "";
      });
      row.classList.toggle("first", Boolean(both) && both.some((shares) => shares[own] === Math.max(...shares)));
    });
  }

  function verdict(number, chosen, both) {
    if (!chosen) return parts.pad ? `Draw ${one}, or choose a real one.` : `Choose ${one}.`;
    const answers = both.map(argmax);
    const said = (side) => `${names[answers[side]]} (${percent(both[side][answers[side]])})`;
    const holds = answers[0] === answers[1];
    const words = [`Baseline: ${said(0)}.`];
    if (number) words.push(`Pruned: ${said(1)}.`, holds ? "The answer holds." : "The answer changes.");
    if (chosen.label !== null) words.push(...comment(number, holds, answers[0] === chosen.label, names[chosen.label]));
    return words.join(" ");
  }

  /** What is known of a real image's answers. */
  function comment(number, holds, isRight, label) {
    if (!holds) return [`The label is ${label}.`];
    const both = number ? "Both are" : "That is";
    return [isRight ? `${both} right.` : `${both} wrong: the label is ${label}.`];
  }

  function show(number, chosen, before, after) {
    const network = networks[number];
    const both = before && [before, after].map(({ logits }) => Network.softmax(logits));
    parts.bound.textContent = network.name;
    parts.bounds.setAttribute("aria-valuetext", network.name);
    parts.facts.replaceChildren(network.facts, " ");
    if (network.trial) {
      parts.facts.append(h("a", { href: `#trial=${encodeURIComponent(network.trial)}` }, `trial ${network.trial}`));
    }
    const said = verdict(number, chosen, both);
    if (parts.verdict.textContent !== said) parts.verdict.textContent = said; // the same words are not read out again
    parts.verdict.dataset.holds = String(!both || argmax(both[0]) === argmax(both[1]));
    showScores(both);
    showFilters(number, after);
    paint(parts.seen, chosen?.pixels);
    buttons.forEach((button, example) => button.setAttribute("aria-pressed", String(example === chosen)));
  }

  const argmax = (shares) => shares.indexOf(Math.max(...shares));

  /** Pixels 0 to 255, grey or in colours, on a canvas of the image's size. */
  function paint(canvas, pixels) {
    const [channels, height, width] = data.input_shape, area = height * width;
    Object.assign(canvas, { width, height });
    if (!pixels) return;
    const context = canvas.getContext("2d"), image = context.createImageData(width, height);
    for (let place = 0; place < area; place++) {
      for (let colour = 0; colour < 3; colour++) {
        image.data[4 * place + colour] = pixels[Math.min(colour, channels - 1) * area + place];
      }
      image.data[4 * place + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  /** A button for each real image; `choose` gets the one that was pressed. */
  function examples(choose) {
    for (const [part, some] of [["examples", data.examples], ["wrong", data.wrong]]) {
      for (const example of some) {
        const canvas = h("canvas");
        const words = `${noun} ${names[example.label]}, number ${example.index} of the ${data.split} images`;
        const button = h("button", { type: "button", title: words, "aria-label": words }, canvas);
        buttons.set(example, button);
        paint(canvas, example.pixels);
        button.addEventListener("click", () => choose(example));
        parts[part].append(button);
      }
    }
  }

  function strokes(all) {
    if (!parts.pad) return;
    const points = (stroke) => [...stroke, stroke.at(-1)].map(([x, y]) => `${100 * x},${100 * y}`).join(" ");
    const hint = s("text", { x: 50, y: 52 }, "draw here");
    parts.pad.replaceChildren(...(all.length ? all.map((stroke) => s("polyline", { points: points(stroke) })) : [hint]));
  }

  return { show, examples, strokes };
}
