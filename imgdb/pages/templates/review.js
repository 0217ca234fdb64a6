/* Each decision is sent at once, and the server says what is next: nothing is kept here. */
(() => {
  const place = document.getElementById("pair");
  const filters = document.getElementById("filters");
  const trouble = document.getElementById("trouble");
  const help = document.getElementById("help");
  const lens = document.getElementById("lens");
  let busy = false;
  let loading = null;
  let again = false;
  let watching = null;
  const searched = document.getElementById("searched");

  const pair = () => place.querySelector(".pair");
  const query = () => {
    const given = new URLSearchParams(new FormData(filters));
    for (const [name, value] of [...given]) if (!value) given.delete(name);
    const hash = new URLSearchParams(location.search).get("hash");
    if (hash) given.set("hash", hash);
    return given.toString();
  };

  const told = (error) => {
    trouble.textContent = `${error.message || error}`;
    trouble.hidden = false;
  };

  /* Shows how far a search is, until it is told to stop. */
  const watch = () => setInterval(async () => {
    const answer = await fetch("/review/searched").catch(() => null);
    const done = answer?.ok ? await answer.json() : null;
    searched.hidden = done === null || !loading;
    searched.value = done ?? 0;
  }, 1000);

  /* One request at a time: a search takes seconds, and a slider that moves on makes one more, not ten. */
  const load = () => {
    again = true;
    loading ??= (async () => {
      place.setAttribute("aria-busy", "true");
      watching = watch();
      let text = "";
      while (again) {
        again = false;
        text = await (await askServer(`/review/pair?${query()}`)).text();
      }
      show(text);
    })().finally(() => {
      loading = null;
      clearInterval(watching);
      searched.hidden = true;
      place.setAttribute("aria-busy", "false");
    });
    return loading;
  };
  const show = (text) => {
    place.innerHTML = text;
    document.getElementById("pair-name").focus({ preventScroll: true });
    const shown = pair();
    if (!shown) return;
    for (const address of JSON.parse(shown.dataset.coming)) new Image().src = address;
    compare(shown).catch(() => {}); // it only adds to what is shown
  };

  /* Read from both files, so it comes when it comes. */
  const compare = async (shown) => {
    const { left, right } = shown.dataset;
    const found = await fetch(`/api/metadata?image_id=${left}&beside_id=${right}`).catch(() => null);
    if (!found?.ok) return;
    const { image, beside } = await found.json();
    for (const [word, kinds] of [["left", image], ["right", beside]]) {
      const badge = shown.querySelector(`[data-metadata="${word}"]`);
      badge.textContent = `has ${kinds.join(", ")}`;
      badge.hidden = !kinds.length;
    }
  };

  /* One thing at a time: a key that is held down decides nothing that was not seen. */
  const doing = async (work) => {
    if (busy) return;
    busy = true;
    trouble.hidden = true;
    // After a failure, too: it may have been decided, and only the answer was lost.
    await work().catch(told);
    await load().catch(told);
    busy = false;
  };
  const post = (decisions) => doing(() => askServer("/api/decisions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(decisions),
  }));
  const remove = (address) => doing(() => askServer(address, { method: "DELETE" }));

  const decide = (verdict) => {
    const shown = pair();
    if (!shown || !shown.querySelector(".verdicts")) return;
    const left = Number(shown.dataset.left);
    const right = Number(shown.dataset.right);
    if (verdict === "right") post([{ image_id: left, beside_id: right, verdict: "remove" }]);
    else {
      const word = { left: "remove", both: "keep" }[verdict] || verdict;
      post([{ image_id: right, beside_id: left, verdict: word }]);
    }
  };
  const accept = () => {
    const shown = pair();
    const proposal = shown && shown.querySelector(".verdicts") ? JSON.parse(shown.dataset.proposal) : [];
    const beside_id = Number(shown && shown.dataset.left);
    if (proposal.length) post(proposal.map((image_id) => ({ image_id, beside_id, verdict: "remove" })));
  };
  const next = () => {
    const shown = pair();
    if (!shown || !shown.querySelector(".verdicts")) return;
    const beside_id = Number(shown.dataset.left);
    post(JSON.parse(shown.dataset.candidates).map((image_id) => ({ image_id, beside_id, verdict: "skip" })));
  };
  const undo = () => remove("/api/decisions/last");
  const enlarge = () => place.querySelector("[data-lens]")?.click();

  place.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.verdict) decide(button.dataset.verdict);
    else if ("accept" in button.dataset) accept();
    else if ("next" in button.dataset) next();
    else if ("undo" in button.dataset) undo();
    else if ("askAgain" in button.dataset) remove("/api/decisions/skipped");
    else if ("help" in button.dataset) help.showModal();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || lens.open || help.open) return;
    if (event.target.matches("input, select, textarea")) return;
    const key = event.key.toLowerCase();
    const verdict = { arrowleft: "left", arrowright: "right", b: "both", d: "different", s: "skip" }[key];
    if (verdict) decide(verdict);
    else if (key === "a") accept();
    else if (key === "n") next();
    else if (key === "u") undo();
    else if (key === "z") enlarge();
    else if (key === "?") help.showModal();
    else return;
    event.preventDefault();
  });

  const changed = () => {
    history.replaceState(null, "", `?${query()}`);
    trouble.hidden = true;
    load().catch(told);
  };
  filters.addEventListener("submit", (event) => { event.preventDefault(); changed(); });
  filters.addEventListener("change", changed);
  filters.elements.max_distance.addEventListener("input", (event) => {
    document.getElementById("limit-value").textContent = event.target.value;
  });
  document.getElementById("search-again").addEventListener("click", () => {
    doing(() => askServer("/api/groups/search-again", { method: "POST" }));
  });
  load().catch(told);
})();
