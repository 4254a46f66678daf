"use strict";
// The steps of the test, one screen each: consent, volume, instructions, trials, thanks.

(() => {
  const { test, state, sender, player, scales, element: el } = listening;
  const main = document.getElementById("main");
  const title = document.getElementById("title");

  const later = "If you close this page, open it again on this device to go on where you stopped.";

  // Shows a screen and moves the focus to its heading, where reading and the keyboard begin.
  function show(heading, ...children) {
    player.stop();
    const head = el("h1", { tabIndex: -1 }, heading);
    main.replaceChildren(head, ...children);
    document.title = `${heading} – ${test.title}`;
    progress();
    window.scrollTo(0, 0);
    head.focus({ preventScroll: true });
  }

  function progress() {
    const isOn = state.step === "trials" && !state.isFinished;
    document.getElementById("progress").hidden = !isOn;
    if (!isOn) return;
    const [done, all] = [state.answers.length, state.order.length];
    Object.assign(document.getElementById("bar"), { max: all, value: done });
    document.getElementById("count").textContent = `Page ${done + 1} of ${all}`;
  }

  function next(label, call) {
    return el("button", { type: "button", className: "next", onclick: call }, label);
  }

  const paragraphs = (texts) => texts.map((text) => el("p", {}, text));

  function consent() {
    const hint = el("p", { className: "hint", role: "status" });
    const box = el("input", { type: "checkbox", id: "consent" });
    const go = next("Begin", async () => {
      if (!box.checked) {
        hint.textContent = "Please tick the box if you agree; without that the test does not begin.";
        box.focus();
        return;
      }
      go.disabled = true;
      try {
        const given = listening.server ? await sender.join((why) => {
          hint.textContent = `The server cannot be reached (${why}). Trying again …`;
        }) : {};
        state.begin(given.listener, given.place);
        step("volume");
      } catch (error) {
        hint.textContent = `The test cannot begin: ${error.message}.`;
        go.disabled = false;
      }
    });
    show("Welcome", ...paragraphs(["Thank you for taking part in this listening test."]), ...paragraphs(test.consent),
      el("label", { className: "consent" }, box, el("span", {}, "I have read this, I am an adult, and I agree to take part.")),
      hint, go, ...(state.isStored ? [] : paragraphs(["This browser keeps nothing: do not reload or close the page before the end."])));
  }

  function volume() {
    const hint = el("p", { className: "hint", role: "status" }, "Play the sound to its end to go on.");
    const go = next("The volume is right", () => step("instructions"));
    go.disabled = true;
    show("Set your volume", ...paragraphs([
      "Use headphones if you can, in a quiet place.",
      "Play this sound and set the volume of your device so that it is comfortable and clear. Then leave it as it is: all sounds of the test are equally loud."]),
      player.button(test.volume, "Play the sound", () => { go.disabled = false; hint.textContent = ""; }), hint, go);
  }

  function instructions() {
    show(test.title, ...paragraphs(test.instructions),
      ...paragraphs([`You can go on from a page once you have heard each sound to its end and answered. There are ${state.order.length} pages; the first is for practice. ${later}`,
        "With a keyboard: Tab goes from one control to the next, the space bar presses buttons, the arrow keys choose an answer."]),
      next("Start with the practice page", () => step("trials")));
  }

  // Sounds of one page in an order of its own, the same after a reload.
  function shuffled(names, seed) {
    let h = 2166136261;
    const draw = () => {
      h = Math.imul(h ^ (h >>> 15), 2246822519);
      h = Math.imul(h ^ (h >>> 13), 3266489917);
      return ((h ^= h >>> 16) >>> 0) / 2 ** 32;
    };
    for (const c of seed) h = Math.imul(h ^ c.charCodeAt(0), 16777619);
    const result = [...names];
    for (let i = result.length - 1; i > 0; i -= 1) {
      const j = Math.floor(draw() * (i + 1));
      [result[i], result[j]] = [result[j], result[i]];
    }
    return result;
  }

  function trial() {
    const name = state.order[state.answers.length];
    const page = test.trials[name];
    const began = performance.now();
    const answer = { trial: name, ratings: {}, choice: null };
    const todo = new Map(); // what is still to be done, in words
    const hint = el("p", { className: "hint", role: "status" });
    const comment = el("textarea", { id: "comment", maxLength: 1000, rows: 2 });
    const isLast = state.answers.length + 1 === state.order.length;
    const go = next(isLast ? "Finish" : "Next", () => {
      answer.milliseconds = Math.round(performance.now() - began);
      answer.comment = comment.value.trim().slice(0, 1000);
      state.add(answer);
      sender.send();
      step("trials");
    });

    function update() {
      go.disabled = todo.size > 0;
      hint.textContent = todo.size ? `Still to do: ${[...todo.values()].join(", ")}.` : "";
    }
    function done(key) {
      todo.delete(key);
      update();
    }
    function sound(stimulus, label, words) {
      todo.set(`heard ${label}`, `listen to ${words} to the end`);
      return player.button(stimulus, label, () => done(`heard ${label}`));
    }
    function choice(values) {
      todo.set("answer", "answer the question");
      return scales.radios(test.question, test.labels, (value) => { values(value); done("answer"); });
    }

    const rate = (value) => { answer.ratings = { [page.rated[0]]: Number(value) }; };
    const pick = (value) => { answer.choice = value ? page.rated["AB".indexOf(value)] : null; };
    const parts = {
      mos: () => [row(sound(page.rated[0], "Play", "the recording")), choice(rate)],
      similarity: () => [
        row(sound(page.reference, "Recording 1", "recording 1"), sound(page.rated[0], "Recording 2", "recording 2")), choice(rate)],
      abx: () => [
        row(sound(page.rated[0], "A", "A"), sound(page.rated[1], "B", "B"), sound(page.reference, "X", "X")), choice(pick)],
      preference: () => [row(sound(page.rated[0], "A", "A"), sound(page.rated[1], "B", "B")), choice(pick)],
      mushra: () => {
        const rows = shuffled(page.rated, `${state.place}${name}${state.listener}`).map((stimulus, place) => {
          const label = String.fromCharCode(65 + place);
          const button = sound(stimulus, label, label);
          todo.set(`rated ${label}`, `rate ${label}`);
          return el("div", { className: "version", role: "group", "aria-label": `Version ${label}` }, button,
            scales.slider(label, test.labels, (value) => { answer.ratings[stimulus] = value; done(`rated ${label}`); }));
        });
        return [row(sound(page.reference, "Reference", "the reference")), el("p", { className: "question" }, test.question),
          scales.ruler(test.labels), ...rows];
      },
    }[test.kind]();

    show(page.practice ? "Practice" : `Page ${state.answers.length + 1}`,
      ...(page.practice ? paragraphs(["This page is for practice; its answer does not count."]) : []),
      ...parts, el("details", {}, el("summary", {}, "Leave a comment"),
        el("label", { htmlFor: "comment" }, "Comment on this page (optional, nothing personal)"), comment),
      hint, go);
    update();
    const coming = test.trials[state.order[state.answers.length + 1]];
    if (coming) player.preload([...coming.rated, coming.reference]);
  }

  const row = (...sounds) => el("div", { className: "sounds" }, ...sounds);

  function save(name, type, text) {
    const link = el("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  function downloads() {
    const name = `${test.test}-${state.listener}`;
    return row(
      el("button", { type: "button", onclick: () => save(`${name}.json`, "application/json", JSON.stringify(state.results(), null, 1)) }, "Download answers (JSON)"),
      el("button", { type: "button", onclick: () => save(`${name}.csv`, "text/csv", state.csv()) }, "Download answers (CSV)"));
  }

  function outcome() {
    return !listening.server ? "Please download your answers as JSON and send the file to whoever asked you to take part."
      : state.sent >= state.answers.length ? "Your answers have been stored. You can close this page."
        : "Your answers are still being sent. Please keep this page open, or download them.";
  }

  function thanks() {
    show("Thank you", ...paragraphs(["That was the last page."]), el("p", { id: "outcome", role: "status" }, outcome()), downloads(),
      el("details", {}, el("summary", {}, "Another listener on this device"), ...paragraphs([
        "This removes these answers from the browser. Download them first."]),
      el("button", { type: "button", onclick: () => { state.forget(); step("consent"); } }, "Remove them and start anew")));
  }

  function step(name) {
    if (name) state.go(name);
    if (state.step === "trials" && state.isFinished) thanks();
    else ({ consent, volume, instructions, trials: trial }[state.step] || consent)();
  }

  function sending(isFailing) {
    const unsent = state.answers.length - state.sent;
    document.getElementById("sending").textContent = !listening.server || !state.listener ? ""
      : state.refused ? `The server did not accept an answer (${state.refused}). Please download your answers at the end.`
        : unsent && isFailing ? `${unsent} of ${state.answers.length} answers are still to be sent. Trying again …`
          : "";
    const end = document.getElementById("outcome");
    if (end) end.textContent = outcome();
  }

  if (!test) {
    main.replaceChildren(el("p", {}, "This folder is not whole: test.js is missing."));
    return;
  }
  title.textContent = test.title;
  sender.onChange(sending);
  window.addEventListener("beforeunload", (event) => {
    if (listening.server && state.sent < state.answers.length && !state.refused) event.preventDefault();
  });
  step();
  sender.send();
})();
