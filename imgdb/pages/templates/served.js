/* Asks the server; an error says what a person can do. */
const askServer = async (address, options) => {
  const answer = await fetch(address, options).catch((error) => {
    throw error instanceof TypeError ? new Error("imgdb serve does not answer: does it still run?") : error;
  });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Error(said.detail || said.title || `the server answers ${answer.status}`);
};

/* A picture that the server cannot show says why, in its place. */
document.addEventListener("error", async (event) => {
  const image = event.target;
  if (!(image instanceof HTMLImageElement) || !image.matches(".frame > img.picture")) return;
  const note = document.createElement("span");
  note.className = "picture placeholder";
  note.setAttribute("role", "img");
  const words = document.createElement("span");
  note.append(words);
  const name = image.alt;
  const say = (reason) => {
    words.textContent = reason;
    note.setAttribute("aria-label", `${name}: ${reason}`);
  };
  say("cannot be shown");
  const address = image.src;
  const frame = image.parentElement;
  image.replaceWith(note);
  if (frame.matches("button")) frame.disabled = true;
  try {
    const response = await fetch(address);
    if (!response.ok) say((await response.json()).detail);
  } catch { /* the server is gone: no reason to give */ }
}, true);
