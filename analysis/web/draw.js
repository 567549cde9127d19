"use strict";
/* The section that a person draws into: a pad, real images, a slider over the networks, and what they answer.
   Its data are made by analysis/sections/draw.py. */

raprune.sections.draw = (element, data) => {
  const parts = Object.fromEntries([...element.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
  const view = drawView(parts, data);
  const prepared = [];
  let strokes = [];
  let chosen = null; // what the networks are asked about: { pixels, label }, label null for a drawing

  const answer = (number, input) => Network.run((prepared[number] ??= Network.prepare(data.networks[number].steps)), input);

  function show() {
    const number = Number(parts.bounds.value);
    const input = chosen && Network.inputOf(chosen.pixels, data);
    const before = input && answer(0, input);
    view.show(number, chosen, before, number && input ? answer(number, input) : before);
  }

  const soon = oncePerFrame(show);

  function drawn(all) {
    strokes = all;
    chosen = all.length ? { pixels: Pen.imageOf(all, data.drawn, data.input_shape), label: null } : null;
    view.strokes(all);
    soon();
  }

  view.examples((example) => {
    drawn([]);
    chosen = example;
  });
  parts.bounds.addEventListener("input", soon);
  parts.clear?.addEventListener("click", () => drawn([]));
  if (parts.pad) listenToPen(parts.pad, () => strokes, drawn);
  view.strokes([]);
  chosen = data.examples[0] ?? null;
  show();
};

/** Calls `work` before the next picture, however often it is asked to. */
function oncePerFrame(work) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      work();
    });
  };
}

/** Mouse, finger or pen on `pad`: `changed` gets all strokes at each move, in shares of the pad's side. */
function listenToPen(pad, strokes, changed) {
  let stroke = null;
  const at = (event) => {
    const box = pad.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  pad.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    pad.setPointerCapture(event.pointerId);
    stroke = [at(event)];
    changed([...strokes(), stroke]);
  });
  pad.addEventListener("pointermove", (event) => {
    if (!stroke) return;
    stroke.push(...(event.getCoalescedEvents?.() ?? []).map(at), at(event));
    changed(strokes());
  });
  const end = () => (stroke = null);
  pad.addEventListener("pointerup", end);
  pad.addEventListener("pointercancel", end);
}
