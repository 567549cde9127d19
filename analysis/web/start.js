"use strict";
// Runs every section's script with its data, and draws everything anew for paper.
{
  const page = window.raprunePage;
  raprune.trials = page.trials?.[1] ?? {};
  for (const [id, [start, data]] of Object.entries(page)) {
    raprune.sections[start]?.(document.getElementById(id), data);
  }
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("printing");
    raprune.print(true);
    raprune.onPrint.forEach((draw) => draw());
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    raprune.print(false);
  });
  document.documentElement.classList.add("ready");
}
