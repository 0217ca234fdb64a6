/* Another hash orders the matches anew, and the slider then goes by it. */
(() => {
  const slider = document.getElementById("limit");
  if (!slider) return;
  const cards = [...document.querySelectorAll(".match")];
  const measures = [...document.querySelectorAll("[name=measure]")];
  const first = new Map(cards.map((card, number) => [card, number]));

  const choose = () => {
    const name = measures.find((one) => one.checked).value;
    const distance = (card) => (card.dataset[name] === "" ? null : Number(card.dataset[name]));
    const rank = (card) => ["same" in card.dataset ? 0 : 1, distance(card) ?? 129, first.get(card)];
    for (const list of document.querySelectorAll("ol.cards")) {
      const ranked = [...list.children].map((card) => [rank(card), card]);
      ranked.sort(([a], [b]) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
      list.append(...ranked.map(([, card]) => card));
    }
    for (const row of document.querySelectorAll(".distance")) row.classList.toggle("chosen", row.dataset.hash === name);
    const farthest = String(Math.max(0, ...cards.map((card) => distance(card) ?? 0)));
    slider.dataset.measure = name;
    slider.max = farthest;
    slider.value = farthest;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  };

  for (const one of measures) one.addEventListener("change", choose);
  choose();
})();
