/* The slider hides what is beyond it: what is farther away, or has fewer votes. */
(() => {
  const slider = document.getElementById("limit");
  if (!slider) return;
  const beyond = (card) => {
    const value = card.dataset[slider.dataset.measure];
    // Without this hash there is no distance, and nothing to hide it for.
    if (value === "" || "same" in card.dataset) return false;
    const over = Number(value) - Number(slider.value);
    return "least" in slider.dataset ? over < 0 : over > 0;
  };

  const hide = () => {
    let total = 0;
    for (const list of document.querySelectorAll(".answer")) {
      let shown = 0;
      for (const card of list.querySelectorAll(".match")) {
        card.hidden = beyond(card);
        if (!card.hidden) shown += 1;
      }
      list.querySelector("[data-shown]").textContent = String(shown);
      total += shown;
    }
    document.getElementById("limit-value").textContent = slider.value;
    document.getElementById("shown").textContent = String(total);
  };

  slider.addEventListener("input", hide);
  hide();
})();
