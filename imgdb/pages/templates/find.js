/* A picture, a path or a hash -> the matches; the slider then only hides, in answers.js. */
(() => {
  const how = document.getElementById("how");
  if (!how) return;
  const part = (id) => document.getElementById(id);
  const [ask, drop, file, typed, says, answer, slider] = ["ask", "drop", "file", "text", "says", "answer", "limit"].map(part);
  // Of one hash, of PDQ, or of a rule of two; all else is a path or a name.
  const HASH = /^(?:[0-9a-f]{16}\+)?(?:[0-9a-f]{16}|[0-9a-f]{64})$/i;
  let asked = null; // { body, name }, { hex } or { path }
  let running = null;
  let chosen = null; // the distance that somebody chose; else the usual one of the rule

  const say = (words, bad = false) => {
    says.textContent = words;
    says.classList.toggle("bad", bad);
  };

  const options = () => {
    const given = new URLSearchParams();
    for (const [name, value] of new FormData(how)) if (value !== "") given.set(name, value);
    for (const box of how.querySelectorAll("[type=checkbox]")) given.set(box.name, String(box.checked));
    if (asked.path) given.set("path", asked.path);
    else if (asked.hex) {
      given.set("hex", asked.hex);
      for (const name of ["any_orientation", "same_colours"]) given.delete(name); // those of a picture
      if (!asked.hex.includes("+") && given.get("hash").includes("+")) given.delete("hash");
    } else given.set("name", asked.name.slice(0, 200));
    return given;
  };

  const find = async () => {
    if (!asked) return;
    running?.abort();
    const mine = running = new AbortController();
    answer.setAttribute("aria-busy", "true");
    say("Searching …");
    try {
      const request = !asked.body ? { signal: mine.signal } : { method: "POST", body: asked.body, headers: { "Content-Type": "application/octet-stream" }, signal: mine.signal };
      const response = await fetch(`/find?${options()}`, request);
      const text = await response.text();
      if (mine !== running) return;
      if (!response.ok) throw new Error(problem(text));
      show(text);
    } catch (error) {
      if (mine !== running) return;
      answer.replaceChildren();
      part("total").textContent = part("shown").textContent = "0";
      slider.disabled = true;
      say(error instanceof TypeError ? "imgdb serve does not answer: does it still run?" : error.message, true);
    } finally {
      if (mine === running) answer.removeAttribute("aria-busy");
    }
  };
  const problem = (text) => {
    try { return JSON.parse(text).detail; } catch { return text || "The server has failed."; }
  };

  const show = (html) => {
    // The server has escaped all names; scripts of parsed text do not run.
    const found = new DOMParser().parseFromString(html, "text/html").querySelector(".found");
    const { hash, usual, farthest, total } = found.dataset;
    for (const row of found.querySelectorAll(".distance")) row.classList.toggle("chosen", row.dataset.hash === hash);
    answer.replaceChildren(found);
    document.body.classList.add("asked");
    slider.disabled = false;
    slider.dataset.measure = hash;
    slider.max = farthest;
    slider.value = String(chosen ?? usual);
    part("total").textContent = Number(total).toLocaleString("en");
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    const notes = [];
    if ("stored" in found.dataset) notes.push("Its file is not there: this is by its stored hashes.");
    if ("flat" in found.dataset) notes.push("This picture is flat (a solid colour, a blank page): only the same bytes are shown.");
    if ("more" in found.dataset) notes.push("There are more: these are the nearest.");
    if (total === "0") notes.push(`Nothing within distance ${farthest}.`);
    say(notes.join(" "));
  };

  const take = (picture) => {
    if (!picture) return;
    asked = { body: picture, name: picture.name || "pasted picture" };
    chosen = null;
    typed.value = "";
    find();
  };

  file.addEventListener("change", () => {
    take(file.files[0]);
    file.value = ""; // the same file again is a change, too
  });
  ask.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = typed.value.trim();
    if (!text) return typed.focus();
    asked = HASH.test(text) ? { hex: text } : { path: text };
    chosen = null;
    find();
  });
  how.addEventListener("submit", (event) => event.preventDefault());
  how.addEventListener("change", (event) => {
    if (event.target === slider) return;
    if (event.target.name === "hash") chosen = null;
    find();
  });
  slider.addEventListener("input", (event) => { if (event.isTrusted) chosen = Number(slider.value); });

  document.addEventListener("paste", (event) => {
    const picture = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
    if (picture) {
      event.preventDefault();
      take(picture);
    }
  });
  for (const kind of ["dragenter", "dragover"]) document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const picture = event.dataTransfer.files[0];
    if (picture) take(picture);
    else say("What was dropped is no file: save the picture first, or copy and paste it.", true);
  });

  // An address may say what to look for: /?path=/photos/cat.jpg
  const given = new URLSearchParams(location.search);
  typed.value = given.get("path") ?? given.get("hex") ?? "";
  if (typed.value) ask.requestSubmit();
})();
