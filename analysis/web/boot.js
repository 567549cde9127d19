"use strict";
// Inflates the page's code and data, then runs the code; the policy of the page allows this code and no other.
(async () => {
  const note = document.getElementById("no-script");
  const inflated = async (id) => {
    const packed = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };
  try {
    window.raprunePage = JSON.parse(await inflated("packed-data"));
    const script = document.createElement("script");
    script.textContent = await inflated("packed-code");
    document.body.append(script);
    note.remove();
  } catch (error) {
    note.textContent = `The figures of this page could not be drawn (${error}). A browser of 2023 or later can.`;
    throw error;
  }
})();
