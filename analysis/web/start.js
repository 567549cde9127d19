"use strict";
// Runs every section's script with its data, and draws everything anew for paper.
{
  const page = window.raprunePage;
  raprune.trials = page.trials?.[1] ?? {};
  for (const [id, [start, data]] of Object.entries(page)) {
    const element = document.getElementById(id);
    try {
      raprune.sections[start](element, data);
    } catch (error) {
      element.append(raprune.h("p", { class: "warning" }, `This part could not be drawn: ${error}`));
      console.error(error);
    }
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
