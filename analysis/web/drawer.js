"use strict";
// One trial: its outcome, commands, layers with their masks, and settings. `#trial=ID` opens it.
{
  const { h, s } = raprune;
  const PREFIX = "#trial=";

  // A command's text; options are not broken at their hyphens.
  const parts = (text) => text.split(/(?<!\S)(--?[a-z][\w-]*)/).map((part, at) => (at % 2 ? h("span", { class: "option" }, part) : part));

  const copied = (text) => {
    const button = h("button", { type: "button", class: "copy", "aria-label": `Copy ${text}` }, "Copy");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(button.previousElementSibling);
        button.textContent = "Selected";
      }
    });
    return h("div", { class: "command" }, h("code", null, ...parts(text)), button);
  };

  // The mask's filters as a strip of one column each: kept ones coloured.
  const strip = (bits, number) => {
    const runs = [];
    for (let place = 0; place < number; place++) {
      const kept = (parseInt(bits.slice(2 * (place >> 3), 2 * (place >> 3) + 2), 16) >> (7 - (place % 8))) & 1;
      if (runs.at(-1)?.kept === kept) runs.at(-1).wide += 1;
      else runs.push({ kept, from: place, wide: 1 });
    }
    const kept = runs.filter((run) => run.kept);
    const paths = kept.map((run) => `M${run.from} 0h${run.wide}v1h${-run.wide}Z`).join("");
    return s(
      "svg",
      { class: "mask", viewBox: `0 0 ${number} 1`, preserveAspectRatio: "none", role: "img", "aria-label": "which filters are kept" },
      s("rect", { width: number, height: 1, class: "pruned" }),
      s("path", { d: paths, class: "kept" }),
    );
  };

  const table = (head, rows, kind) =>
    h("div", { class: "scroll" }, h("table", { class: kind }, h("thead", null, h("tr", null, head)), h("tbody", null, rows)));
  const th = (name, text) => h("th", { class: text ? "text" : null }, name);

  const layers = (rows) => {
    if (!rows.length) return null;
    const masks = rows.some((row) => row[6] !== null);
    const score = (value) => (value === null ? "" : value.toFixed(2));
    const drop = (value) => (value === null ? "" : `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(2)}`);
    const body = rows.map(([name, number, kept, cut, finetuned, used, mask]) =>
      h(
        "tr",
        null,
        h("td", { class: "text", title: name }, name),
        h("td", null, `${((100 * (number - kept)) / number).toFixed(0)}%`),
        h("td", null, `${kept} of ${number}`),
        masks && h("td", { class: "of-mask" }, mask === null ? "" : strip(mask, number)),
        [score(cut), score(finetuned), drop(used)].map((text) => h("td", null, text)),
      ),
    );
    const head = [th("layer", true), th("pruned"), th("kept"), masks && th("filters (filled: kept)", true), th("as cut"), th("after"), th("drop used")];
    return [
      h("h3", null, "Layers as they were decided, in that order"),
      table(head, body, "layers"),
      masks ? null : h("p", { class: "soft" }, "A page of so many trials leaves the masks out; they are in the trial's layers-*.parquet."),
    ];
  };

  const list = (pairs) => h("dl", null, pairs.flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]));

  const content = (id, view) => [
    view.partner && raprune.trials[view.partner]
      ? h("p", null, "Matched: it prunes as many filters of every layer as ", h("a", { href: `${PREFIX}${encodeURIComponent(view.partner)}` }, raprune.trials[view.partner].name), ".")
      : null,
    view.error ? h("pre", { class: "error" }, view.error) : null,
    view.outcome.length
      ? table([th("", true), th("baseline"), th("pruned"), th("change")], view.outcome.map((row) => h("tr", null, row.map((text, place) => h("td", { class: place ? null : "text" }, text)))))
      : null,
    view.cost.length ? h("p", { class: "soft" }, view.cost.map(([name, value]) => `${name}: ${value}`).join("; ")) : null,
    view.commands.length ? [h("h3", null, "Take it with you"), view.commands.map(copied)] : [h("h3", null, "Where it is"), copied(view.home)],
    layers(view.layers),
    h("h3", null, "Settings"),
    list(view.settings),
  ];

  raprune.drawer = () => {
    const dialog = h("dialog", { id: "drawer", "aria-labelledby": "drawer-name" });
    document.body.append(dialog);
    const ids = Object.keys(raprune.trials);
    const asked = () => {
      if (!location.hash.startsWith(PREFIX)) return null;
      try {
        return decodeURIComponent(location.hash.slice(PREFIX.length));
      } catch {
        return null;
      }
    };
    const close = () => dialog.close();
    const go = (step) => {
      const place = ids.indexOf(asked());
      raprune.open(ids[(place + step + ids.length) % ids.length]);
    };
    const show = () => {
      const id = asked();
      const view = id && Object.hasOwn(raprune.trials, id) ? raprune.trials[id] : null;
      if (!view) return close();
      raprune.noTip();
      const button = (name, label, onclick) => h("button", { type: "button", "aria-label": label, title: label, onclick }, name);
      dialog.replaceChildren(
        h(
          "header",
          null,
          h("div", null, h("h2", { id: "drawer-name" }, view.name), h("p", null, h("code", null, id), view.status === "completed" ? null : ` ${view.status}`)),
          ids.length > 1 ? [button("‹", "Previous trial", () => go(-1)), button("›", "Next trial", () => go(1))] : null,
          button("×", "Close", close),
        ),
        h("div", { class: "inside", tabindex: "-1", autofocus: true }, content(id, view).flat()),
      );
      if (!dialog.open) dialog.showModal();
      dialog.querySelector(".inside").focus();
    };
    dialog.addEventListener("close", () => {
      if (asked()) history.replaceState(null, "", location.pathname + location.search);
    });
    dialog.addEventListener("click", (event) => event.target === dialog && close());
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") go(-1);
      if (event.key === "ArrowRight") go(1);
    });
    addEventListener("hashchange", show);
    show();
  };
}
