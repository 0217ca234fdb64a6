/* A picture over another one: by the pointer in its card, by every means in the dialog. */
(() => {
  const dialog = document.getElementById("lens");
  if (!dialog) return;
  const part = (name) => document.getElementById(`lens-${name}`);
  const stage = part("stage");
  const above = stage.querySelector(".above");
  const share = part("share");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const BLINK = 650; // milliseconds: well below three flashes a second
  let frames = [];
  let place = 0;
  let timer = 0;

  const other = (frame) => document.getElementById(frame.dataset.lens).querySelector("img");
  const word = stage.querySelector(".above figcaption").textContent;
  const turn = (image, frame) => {
    image.style.transform = frame.dataset.turn || "";
    image.classList.toggle("sideways", "sideways" in frame.dataset);
  };

  /* In the card. */
  const cover = (frame) => {
    if (frame.querySelector(".over")) return;
    const over = new Image();
    over.className = "picture over";
    over.alt = "";
    over.src = other(frame).src;
    turn(over, frame);
    const clip = document.createElement("span");
    clip.className = "picture over-clip";
    clip.append(over);
    const edge = document.createElement("span");
    edge.className = "edge";
    const caption = document.createElement("span");
    caption.className = "over-word";
    caption.textContent = word;
    frame.append(clip, edge, caption);
    wipe(frame, 50);
  };
  const wipe = (frame, percent) => {
    const clip = frame.querySelector(".over-clip");
    if (!clip) return;
    clip.style.clipPath = `inset(0 ${100 - percent}% 0 0)`;
    frame.querySelector(".edge").style.left = `${percent}%`;
  };
  const uncover = (frame) => {
    for (const made of frame.querySelectorAll(".over-clip, .edge, .over-word")) made.remove();
  };
  const at = (event, element) => {
    const box = element.getBoundingClientRect();
    return Math.min(100, Math.max(0, ((event.clientX - box.left) / box.width) * 100));
  };
  const frameOf = (event) => (event.target instanceof Element ? event.target.closest("button.frame[data-lens]") : null);

  document.addEventListener("pointermove", (event) => {
    const frame = event.pointerType === "mouse" ? frameOf(event) : null;
    if (!frame) return;
    cover(frame);
    wipe(frame, at(event, frame));
  });
  document.addEventListener("pointerout", (event) => {
    const frame = frameOf(event);
    if (frame && !frame.contains(event.relatedTarget) && !frame.matches(":focus-visible")) uncover(frame);
  });
  document.addEventListener("focusin", (event) => {
    const frame = frameOf(event);
    if (frame && frame.matches(":focus-visible")) cover(frame);
  });
  document.addEventListener("focusout", (event) => {
    const frame = frameOf(event);
    if (frame) uncover(frame);
  });
  document.addEventListener("click", (event) => {
    const frame = frameOf(event);
    if (frame) open(frame);
  });

  /* In the dialog. */
  const mode = () => dialog.querySelector("[name=lens-mode]:checked").value;
  const open = (frame) => {
    uncover(frame);
    frames = [...frame.closest("[data-lens-set]").querySelectorAll("button.frame[data-lens]")].filter((one) => !one.closest("[hidden]"));
    place = frames.indexOf(frame);
    show();
    dialog.showModal();
    share.focus();
  };
  /* The small picture at once; the large one, where the server has it, when it is there. */
  const fill = (image, small) => {
    image.src = small.src;
    image.dataset.shows = small.dataset.large ?? small.src;
    if (!small.dataset.large) return;
    const large = new Image();
    large.src = small.dataset.large;
    large.decode().then(() => {
      if (image.dataset.shows === small.dataset.large) image.src = large.src;
    }, () => {});
  };
  const show = () => {
    const frame = frames[place];
    const card = frame.closest(".card");
    zoom(1);
    fill(part("below"), frame.querySelector("img"));
    fill(part("above"), other(frame));
    turn(part("above"), frame);
    part("name").replaceChildren(...[...card.querySelector(".path").childNodes].map((node) => node.cloneNode(true)));
    part("count").textContent = `${place + 1} of ${frames.length}`;
    const texts = [...card.querySelectorAll(".distances, .facts, .tags")].map((node) => node.cloneNode(true));
    part("text").replaceChildren(...texts);
    part("previous").disabled = place === 0;
    part("next").disabled = place === frames.length - 1;
    mix();
  };
  const mix = () => {
    const percent = Number(share.value);
    const way = mode();
    stage.dataset.mode = way;
    share.disabled = way !== "wipe" && way !== "fade";
    above.style.clipPath = way === "wipe" ? `inset(0 ${100 - percent}% 0 0)` : "";
    stage.querySelector(".edge").style.left = `${percent}%`;
    above.style.opacity = way === "fade" ? String(percent / 100) : "";
    clearInterval(timer);
    above.classList.remove("off");
    // Who asked for less motion blinks by hand: with the space bar, or a tap.
    if (way === "blink" && !calm.matches) timer = setInterval(blink, BLINK);
  };
  const choose = (choice) => {
    choice.click();
    // The slider may have been switched off under the reader's hands.
    (share.disabled ? choice : share).focus();
  };
  const blink = () => above.classList.toggle("off");
  const step = (by) => {
    if (!frames[place + by]) return;
    place += by;
    show();
  };
  const slide = (to) => { share.value = String(to); mix(); };

  /* Zoom and place are those of the stage, so both pictures always show the same part. */
  const view = { zoom: 1, x: 0, y: 0 };
  const look = () => {
    const box = stage.querySelector(".below").getBoundingClientRect();
    const room = (size) => (size * (view.zoom - 1)) / 2;
    view.x = Math.min(room(box.width), Math.max(-room(box.width), view.x));
    view.y = Math.min(room(box.height), Math.max(-room(box.height), view.y));
    stage.style.setProperty("--zoom", String(view.zoom));
    stage.style.setProperty("--x", `${view.x}px`);
    stage.style.setProperty("--y", `${view.y}px`);
    stage.classList.toggle("zoomed", view.zoom > 1);
    part("zoom").textContent = `${Math.round(view.zoom * 100)} %`;
  };
  /* `event` is where on the stage the picture stays in its place. */
  const zoom = (to, event) => {
    const next = Math.min(16, Math.max(1, to));
    if (event) {
      const over = [...stage.querySelectorAll("figure")].reverse().find((figure) => {
        const box = figure.getBoundingClientRect();
        return event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
      });
      const box = (over ?? stage).getBoundingClientRect();
      const [x, y] = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
      view.x = x - ((x - view.x) * next) / view.zoom;
      view.y = y - ((y - view.y) * next) / view.zoom;
    } else {
      view.x *= next / view.zoom;
      view.y *= next / view.zoom;
    }
    view.zoom = next;
    look();
  };
  const pan = (x, y) => { view.x += x; view.y += y; look(); };
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(view.zoom * 1.0015 ** -event.deltaY, event);
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => zoom(view.zoom > 1 ? 1 : 3, event));
  part("zoom").addEventListener("click", () => zoom(1));
  part("closer").addEventListener("click", () => zoom(view.zoom * 1.5));
  part("farther").addEventListener("click", () => zoom(view.zoom / 1.5));

  share.addEventListener("input", mix);
  for (const choice of dialog.querySelectorAll("[name=lens-mode]")) choice.addEventListener("change", mix);
  part("previous").addEventListener("click", () => step(-1));
  part("next").addEventListener("click", () => step(1));
  part("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => {
    clearInterval(timer);
    frames[place]?.scrollIntoView({ block: "nearest" });
    frames[place]?.focus();
  });
  const fingers = new Map();
  const apart = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  };
  const middle = () => {
    const [a, b] = [...fingers.values()];
    return { clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 };
  };
  const drag = (event) => {
    const before = fingers.get(event.pointerId);
    if (fingers.size === 2 && before) {
      const [far, from] = [apart(), middle()];
      fingers.set(event.pointerId, event);
      const to = middle();
      pan(to.clientX - from.clientX, to.clientY - from.clientY);
      if (far) zoom((view.zoom * apart()) / far, to);
      return;
    }
    if (before) fingers.set(event.pointerId, event);
    if (before && view.zoom > 1) pan(event.clientX - before.clientX, event.clientY - before.clientY);
    else if (mode() === "wipe" && (before || event.pointerType === "mouse")) slide(at(event, stage));
  };
  stage.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event);
    if (mode() === "blink" && view.zoom === 1) { clearInterval(timer); blink(); }
    drag(event);
  });
  for (const end of ["pointerup", "pointercancel", "pointerleave"]) stage.addEventListener(end, (event) => fingers.delete(event.pointerId));
  stage.addEventListener("pointermove", drag);
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    const inRadio = event.target.matches("[type=radio]");
    if (key === "n") step(1);
    else if (key === "p") step(-1);
    else if (key === "m") frames[place].closest(".card").querySelector("[data-mark]")?.click();
    else if (key >= "1" && key <= "5") choose(dialog.querySelectorAll("[name=lens-mode]")[Number(key) - 1]);
    else if (key === "+" || key === "=") zoom(view.zoom * 1.5);
    else if (key === "-") zoom(view.zoom / 1.5);
    else if (key === "0") zoom(1);
    else if (event.shiftKey && key.startsWith("arrow")) {
      const by = 60;
      pan({ arrowleft: by, arrowright: -by }[key] ?? 0, { arrowup: by, arrowdown: -by }[key] ?? 0);
    }
    else if (key === " " && mode() === "blink" && !event.target.matches("button")) { clearInterval(timer); blink(); }
    else if ((key === "arrowleft" || key === "arrowright") && !inRadio && event.target !== share) {
      slide(Number(share.value) + (key === "arrowleft" ? -5 : 5));
    } else return;
    event.preventDefault();
  });
})();
