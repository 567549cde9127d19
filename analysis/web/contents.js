"use strict";
// The bar of links at the top: an arrow wherever it goes on, and a mark on the section that is being read.
{
  const bar = document.querySelector("#contents div");
  const [before, after] = document.querySelectorAll("#contents .arrow");
  const links = [...bar.querySelectorAll("a")];
  const parts = links.map((link) => document.getElementById(link.hash.slice(1)));

  const arrows = () => {
    before.hidden = bar.scrollLeft < 2;
    after.hidden = bar.scrollWidth - bar.clientWidth - bar.scrollLeft < 2;
  };
  const turn = (way) => () => bar.scrollBy({ left: way * 0.8 * bar.clientWidth, behavior: "smooth" });
  before.addEventListener("click", turn(-1));
  after.addEventListener("click", turn(1));
  bar.addEventListener("scroll", arrows, { passive: true });
  new ResizeObserver(arrows).observe(bar);

  let current = null;
  const read = () => {
    const begun = parts.filter((part) => part && part.getBoundingClientRect().top < 0.35 * innerHeight);
    const link = links[parts.indexOf(begun.at(-1))] ?? links[0];
    if (link === current) return;
    current?.removeAttribute("aria-current");
    current = link;
    current.setAttribute("aria-current", "true");
    const left = link.offsetLeft - bar.offsetLeft;
    if (left < bar.scrollLeft || left + link.offsetWidth > bar.scrollLeft + bar.clientWidth) {
      bar.scrollTo({ left: Math.max(0, left - 0.2 * bar.clientWidth) });
    }
  };
  addEventListener("scroll", read, { passive: true });
  read();
}
