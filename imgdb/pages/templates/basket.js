/* What is in the basket goes to the trash, or comes back; what was refused is listed with its reason. */
(() => {
  const done = document.getElementById("done");
  const groups = document.getElementById("groups");
  const buttons = [...document.querySelectorAll("#apply, #restore, [data-take-back]")];

  const ask = async (address, method) => {
    for (const button of buttons) button.disabled = true;
    return (await askServer(address, { method })).json();
  };
  const tell = (words, refused) => {
    document.getElementById("done-name").textContent = words;
    document.getElementById("refused").replaceChildren(...refused.map((one) => {
      const line = document.createElement("li");
      const path = document.createElement("span");
      path.className = "path";
      path.textContent = one.path;
      line.append(`${one.reason} `, path);
      return line;
    }));
    done.hidden = false;
    groups.hidden = true;
    document.getElementById("done-name").focus();
  };
  const run = async (address, word) => {
    try {
      const result = (await ask(address, "POST")).done;
      const refused = result.filter((one) => one.outcome === "refused");
      const count = result.length - refused.length;
      const files = count === 1 ? "1 file" : `${count} files`;
      tell(`${files} ${word}${refused.length ? `, ${refused.length} refused` : ""}`, refused);
    } catch (error) {
      tell(error.message, []);
    }
  };
  document.getElementById("apply")?.addEventListener("click", () => run("/api/plan/apply", "moved to the trash"));
  document.getElementById("restore")?.addEventListener("click", () => run("/api/plan/restore", "put back"));
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-take-back]");
    if (!button) return;
    try {
      await ask(`/api/decisions/${button.dataset.takeBack}`, "DELETE");
      location.reload();
    } catch (error) {
      tell(error.message, []);
    }
  });
})();
