"use strict";
// What a listener answers with: one of a few labelled values, or a slider for each sound.

listening.scales = (() => {
  const el = listening.element;
  let numbers = 0;

  // Radio buttons under a question; `choose` gets the value of the chosen one.
  function radios(question, labels, choose) {
    const group = `answer-${numbers += 1}`;
    return el("fieldset", { className: "radios" }, el("legend", {}, question), ...labels.map(([value, words]) => {
      const input = el("input", { type: "radio", name: group, value, onchange: () => choose(value) });
      const shown = /^\d+$/.test(value) ? el("span", { className: "value" }, value) : null;
      return el("label", { className: "radio" }, input, shown, el("span", {}, words));
    }));
  }

  // A slider from 0 to 100 that counts as an answer once it was moved.
  function slider(label, labels, rate) {
    const id = `slider-${numbers += 1}`;
    const value = el("output", { htmlFor: id }, "–");
    const words = (number) => labels.find(([low], place) => number > Number(labels[place + 1]?.[0] ?? -1))[1];
    const input = el("input", { type: "range", id, min: 0, max: 100, step: 1, value: 50, className: "unset",
      "aria-label": `Rating of ${label}`, "aria-valuetext": "not rated yet" });
    const settle = () => {
      input.className = "";
      value.textContent = input.value;
      input.setAttribute("aria-valuetext", `${input.value}, ${words(Number(input.value))}`);
      rate(Number(input.value));
    };
    input.oninput = settle;
    input.onpointerup = settle; // a click on the middle changes nothing, and is an answer too
    input.onkeydown = (event) => { if (event.key === "Enter") settle(); };
    return el("div", { className: "slider" }, input, value);
  }

  // The names of a slider's five intervals, worst at the left.
  function ruler(labels) {
    return el("div", { className: "ruler", "aria-hidden": "true" }, ...labels.toReversed().map(([, words]) => el("span", {}, words)));
  }

  return { radios, slider, ruler };
})();
