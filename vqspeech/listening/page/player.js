"use strict";
// Elements, and buttons that play a sound from its start to its end and remember that it was heard.

// An element with properties, attributes (aria-..., for, role) and children; text is only ever text.
listening.element = (tag, properties = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
};

listening.player = (() => {
  const el = listening.element;
  const sounds = new Map();
  let playing = null;

  function soundOf(name) {
    if (!sounds.has(name)) {
      const audio = new Audio(`sounds/${encodeURIComponent(name)}.wav`);
      audio.preload = "auto";
      sounds.set(name, audio);
    }
    return sounds.get(name);
  }

  function stop() {
    if (playing) playing();
    playing = null;
  }

  // A button for one sound. `heard` is called each time the sound has played to its end.
  function button(name, label, heard) {
    const audio = soundOf(name);
    const mark = el("span", { className: "heard", role: "img", hidden: true, "aria-label": "heard" }, "✓");
    const face = el("span", { className: "face", "aria-hidden": "true" }, "▶");
    const bar = el("span", { className: "elapsed" });
    const control = el("button", { type: "button", className: "play", "aria-pressed": "false" }, face, ` ${label} `, mark, bar);
    const problem = el("p", { className: "problem", role: "alert", hidden: true });
    let isOn = false;

    function show(on) {
      isOn = on;
      face.textContent = on ? "■" : "▶";
      control.setAttribute("aria-pressed", String(on));
      if (!on) bar.style.width = "0";
    }

    function end() {
      audio.pause();
      show(false);
    }

    function fail() {
      if (!document.contains(control)) return;
      stop();
      problem.textContent = "This sound could not be played. Check your connection and press the button again.";
      problem.hidden = false;
      sounds.delete(name);
    }

    audio.ontimeupdate = () => { bar.style.width = `${Math.min(100, 100 * audio.currentTime / (audio.duration || 1))}%`; };
    audio.onended = () => {
      if (!isOn) return;
      playing = null;
      show(false);
      mark.hidden = false;
      heard();
    };
    audio.onerror = () => { if (isOn) fail(); };
    control.onclick = async () => {
      if (isOn) return stop();
      stop();
      problem.hidden = true;
      playing = end;
      show(true);
      if (audio.error) audio.load(); // try again what could not be loaded
      audio.currentTime = 0;
      try {
        await audio.play();
      } catch (error) {
        if (isOn && error.name !== "AbortError") fail();
      }
    };
    return el("div", { className: "sound" }, control, problem);
  }

  return { button, stop, preload: (names) => names.forEach((name) => name && soundOf(name)) };
})();
