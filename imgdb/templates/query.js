/* The slider hides what is farther than it says; another hash orders anew. */
(() => {
  const slider = document.getElementById("limit");
  if (!slider) return;
  const cards = [...document.querySelectorAll(".match")];
  const lists = [...document.querySelectorAll(".answer")];
  const measures = [...document.querySelectorAll("[name=measure]")];
  const first = new Map(cards.map((card, number) => [card, number]));
  const measure = () => measures.find((one) => one.checked).value;
  // Without this hash there is no distance, and nothing to hide it for.
  const distance = (card) => (card.dataset[measure()] === "" ? null : Number(card.dataset[measure()]));

  const hide = () => {
    const limit = Number(slider.value);
    let total = 0;
    for (const list of lists) {
      let shown = 0;
      for (const card of list.querySelectorAll(".match")) {
        card.hidden = distance(card) > limit && !("same" in card.dataset);
        if (!card.hidden) shown += 1;
      }
      list.querySelector("[data-shown]").textContent = String(shown);
      total += shown;
    }
    document.getElementById("limit-value").textContent = String(limit);
    document.getElementById("shown").textContent = String(total);
  };

  const order = () => {
    const name = measure();
    const rank = (card) => ["same" in card.dataset ? 0 : 1, distance(card) ?? 65, first.get(card)];
    for (const list of document.querySelectorAll("ol.cards")) {
      const ranked = [...list.children].map((card) => [rank(card), card]);
      ranked.sort(([a], [b]) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
      list.append(...ranked.map(([, card]) => card));
    }
    for (const row of document.querySelectorAll(".distance")) row.classList.toggle("chosen", row.dataset.hash === name);
  };

  const choose = () => {
    const farthest = Math.max(0, ...cards.map((card) => distance(card) ?? 0));
    slider.max = String(farthest);
    slider.value = String(farthest);
    order();
    hide();
  };

  slider.addEventListener("input", hide);
  for (const one of measures) one.addEventListener("change", choose);
  choose();
})();
