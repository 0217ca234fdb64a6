/* What is ticked -> the commands that remember it; a page cannot run them itself. */
(() => {
  const bar = document.getElementById("marks");
  if (!bar) return;
  const command = document.getElementById("marks-command");
  const count = document.getElementById("marks-count");
  const copy = document.getElementById("marks-copy");
  const ticked = () => [...document.querySelectorAll("[data-mark]:checked")];

  const lines = () => {
    const found = [];
    for (const around of document.querySelectorAll("[data-marks]")) {
      const words = [...around.querySelectorAll("[data-mark]:checked")].map((box) => box.dataset.mark);
      const from = JSON.parse(around.dataset.marks);
      // Different from these, though perhaps not from each other; a command takes all for different.
      for (const one of from) for (const word of words) found.push([one, word]);
      if (!from.length && words.length > 1) found.push(words);
    }
    const options = bar.dataset.options ?? "";
    return found.map((words) => `imgdb mark different${options} ${words.join(" ")}`);
  };

  const update = () => {
    const boxes = ticked();
    bar.hidden = !boxes.length;
    count.textContent = `${boxes.length} marked as different.`;
    command.value = lines().join("\n") + (lines().length ? "\n" : "");
    command.placeholder = "Mark another picture of the group.";
    copy.textContent = "Copy";
  };

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-mark]")) update();
  });
  document.getElementById("marks-clear").addEventListener("click", () => {
    for (const box of ticked()) box.checked = false;
    update();
  });
  copy.addEventListener("click", async () => {
    let done;
    try {
      await navigator.clipboard.writeText(command.value);
      done = true;
    } catch { // an old browser, or one that does not trust a file
      command.select();
      done = document.execCommand("copy");
    }
    copy.textContent = done ? "Copied" : "Select and copy";
  });
  update();
})();
