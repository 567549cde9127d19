"use strict";
// The note beside the pointer.
{
  const box = raprune.h("div", { id: "tip", role: "status" });
  document.body.append(box);

  // Lines are strings, or pairs of a name and a value; the first is the heading.
  raprune.tip = (x, y, heading, lines) => {
    const rows = lines.map((line) =>
      Array.isArray(line)
        ? raprune.h("div", { class: "pair" }, raprune.h("span", null, line[0]), raprune.h("b", null, line[1]))
        : raprune.h("div", { class: "note" }, line),
    );
    box.replaceChildren(raprune.h("div", { class: "title" }, heading), ...rows);
    box.classList.add("shown");
    const [wide, high] = [box.offsetWidth, box.offsetHeight];
    const left = x + 16 + wide > innerWidth ? Math.max(8, x - 16 - wide) : x + 16;
    const top = y + 16 + high > innerHeight ? Math.max(8, y - 12 - high) : y + 16;
    Object.assign(box.style, { left: `${left}px`, top: `${top}px` });
  };
  raprune.noTip = () => box.classList.remove("shown");

  // Shows a note over an element while it is pointed at or has the focus.
  raprune.withTip = (element, heading, lines) => {
    const show = (event) => raprune.tip(event.clientX, event.clientY, heading, lines());
    element.addEventListener("pointermove", show);
    element.addEventListener("pointerleave", raprune.noTip);
    return element;
  };
}
