/* Where in the query a match lies: of the card under the pointer, else of the one that has the
   keyboard's focus, else of the one that was clicked or tapped. */
(() => {
  const cardOf = (event) => (event.target instanceof Element ? event.target.closest(".match") : null);

  const show = (answer, card) => {
    const part = answer.querySelector(".query-panel .part");
    if (!part) return;
    part.toggleAttribute("hidden", !card);
    for (const one of answer.querySelectorAll(".match.placed")) one.classList.remove("placed");
    if (!card) return;
    card.classList.add("placed");
    const { width, height } = part.viewBox.baseVal;
    part.querySelector(".around").setAttribute("d", `M0 0h${width}v${height}h-${width}z${card.dataset.outline}`);
    for (const line of part.querySelectorAll(".halo, .rim")) line.setAttribute("d", card.dataset.outline);
  };
  const settle = (answer) => {
    const seen = (state) => answer.querySelector(`.match:not([hidden]):has(${state})`);
    show(answer, seen(":focus-visible") ?? seen("[aria-pressed=true]"));
  };

  document.addEventListener("pointerover", (event) => {
    const card = event.pointerType === "mouse" ? cardOf(event) : null;
    if (card) show(card.closest(".answer"), card);
  });
  document.addEventListener("pointerout", (event) => {
    const card = cardOf(event);
    if (card && !card.contains(event.relatedTarget)) settle(card.closest(".answer"));
  });
  for (const kind of ["focusin", "focusout"]) {
    document.addEventListener(kind, (event) => {
      const card = cardOf(event);
      if (card) settle(card.closest(".answer"));
    });
  }
  document.addEventListener("click", (event) => {
    const frame = event.target instanceof Element ? event.target.closest("button.frame") : null;
    if (!frame) return;
    const answer = frame.closest(".answer");
    const on = frame.getAttribute("aria-pressed") !== "true";
    for (const other of answer.querySelectorAll("button.frame")) other.setAttribute("aria-pressed", String(other === frame && on));
    if (on) show(answer, frame.closest(".match"));
    else settle(answer);
  });
  // A card that the slider hides is not shown in the query either.
  document.addEventListener("input", () => document.querySelectorAll(".answer").forEach(settle));
})();
