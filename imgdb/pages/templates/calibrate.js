"use strict";
/* A distance is chosen by the slider or by pointing at a chart; marks and values follow. */
(() => {
  const given = JSON.parse(document.getElementById("curves").textContent);
  const slider = document.getElementById("distance");
  const most = Number(slider.max);
  const percent = (share) => `${Math.round(100 * share)} %`;
  const few = (count) => (count >= 100 ? Math.round(count).toLocaleString("en")
    : count ? String(Number(count.toPrecision(2))) : "0");

  const dots = [...document.querySelectorAll(".chart .curve")].map((curve) => ({
    dot: curve.querySelector(".dot"),
    // The line itself knows where each distance lies.
    places: curve.querySelector("polyline").getAttribute("points").split(" ").map((pair) => pair.split(",")),
  }));
  const cursors = [...document.querySelectorAll(".cursor")];
  const rows = new Map([...document.querySelectorAll(".values tbody tr")].map((row) => [row.dataset.hash,
    Object.fromEntries([...row.querySelectorAll("[data-value]")].map((cell) => [cell.dataset.value, cell]))]));

  const show = (distance) => {
    document.getElementById("distance-shown").innerHTML = "";
    const strong = document.createElement("strong");
    strong.textContent = distance;
    document.getElementById("distance-shown").append(strong, ` bits may differ`);
    document.getElementById("distance-told").textContent = distance;
    for (const cursor of cursors) {
      const at = given.left + distance * given.step;
      cursor.setAttribute("x1", at);
      cursor.setAttribute("x2", at);
    }
    // Hashes of 64 bits end before PDQ does.
    for (const { dot, places } of dots) {
      const [x, y] = places[Math.min(distance, places.length - 1)];
      dot.setAttribute("cx", x);
      dot.setAttribute("cy", y);
    }
    for (const curve of given.curves) {
      const cells = rows.get(curve.hash);
      const at = Math.min(distance, curve.found.length - 1);
      const [found, foundLow, foundHigh] = curve.found[at];
      const [wrong, wrongLow, wrongHigh] = curve.wrong[at];
      cells.found.textContent = percent(found);
      cells["found-range"].textContent = `${Math.round(100 * foundLow)} to ${percent(foundHigh)}`;
      cells.wrong.textContent = few(wrong);
      cells["wrong-range"].textContent = `${few(wrongLow)} to ${few(wrongHigh)}`;
      cells.right.textContent = percent(curve.right[at]);
      cells.words.textContent = curve.words[at];
    }
  };

  const choose = (distance) => {
    slider.value = Math.min(Math.max(Math.round(distance), 0), most);
    show(Number(slider.value));
  };
  slider.addEventListener("input", () => show(Number(slider.value)));
  for (const chart of document.querySelectorAll(".by-distance")) {
    const point = (event) => {
      const box = chart.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * chart.viewBox.baseVal.width;
      choose((x - given.left) / given.step);
    };
    chart.addEventListener("pointermove", point);
    chart.addEventListener("pointerdown", point);
  }

  for (const box of document.querySelectorAll(".legend input")) {
    box.addEventListener("change", () => {
      for (const shown of document.querySelectorAll(`[data-hash="${box.value}"]`)) {
        shown.toggleAttribute("hidden", !box.checked);
      }
    });
  }
  for (const radio of document.querySelectorAll(".choose input")) {
    radio.addEventListener("change", () => {
      for (const table of document.querySelectorAll("[data-table]")) {
        table.hidden = table.dataset.table !== radio.value;
      }
    });
  }
  show(Number(slider.value));
})();
