"use strict";
// Who is listening, what was answered, and the way of the answers: into the browser's storage first, then to the server.

const listening = { test: window.LISTENING_TEST, server: window.LISTENING_SERVER };

listening.state = (() => {
  const test = listening.test;
  const place = `vqspeech-listening-test:${test.test}${listening.server ? ":served" : ""}`;
  const fresh = () => ({ listener: null, place: null, step: "consent", answers: [], sent: 0, refused: "" });
  let state = fresh();
  let stored = true;
  try {
    state = Object.assign(fresh(), JSON.parse(localStorage.getItem(place) || "{}"));
    localStorage.setItem(place, JSON.stringify(state));
  } catch {
    stored = false; // storage is switched off, or holds what is not ours: the test works, but not after a reload
  }

  function save() {
    try {
      localStorage.setItem(place, JSON.stringify(state));
    } catch {
      stored = false;
    }
  }

  function randomName() {
    return Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");
  }

  function ownPlace() {
    const asked = Number.parseInt(new URLSearchParams(location.search).get("place"), 10);
    const chosen = Number.isNaN(asked) ? crypto.getRandomValues(new Uint32Array(1))[0] : Math.abs(asked);
    return chosen % test.orders.length;
  }

  return {
    get step() { return state.step; },
    get listener() { return state.listener; },
    get answers() { return state.answers; },
    get sent() { return state.sent; },
    get refused() { return state.refused; },
    get isStored() { return stored; },
    get order() { return test.orders[state.place % test.orders.length]; },
    get isFinished() { return state.place !== null && state.answers.length >= this.order.length; },
    go(step) { state.step = step; save(); },
    begin(listener, chosen) {
      state.listener = listener ?? randomName();
      state.place = chosen ?? ownPlace();
      save();
    },
    add(answer) { state.answers.push(answer); save(); },
    acknowledged() { state.sent += 1; save(); },
    refuse(why) { state.refused = why; save(); },
    forget() { state = fresh(); save(); },
    results() {
      return {
        format: "vqspeech-listening-test-results/1", test: test.test, kind: test.kind, listener: state.listener,
        place: state.place, consented: true, finished: this.isFinished, answers: state.answers,
      };
    },
    csv() {
      // A cell that begins like a formula is not run by a spreadsheet when a quote stands before it.
      const cell = (value) => `"${String(value ?? "").replace(/^[=+\-@\t\r]/, "'$&").replaceAll('"', '""')}"`;
      const rows = [["test", "kind", "listener", "place", "trial", "stimulus", "rating", "choice", "milliseconds", "comment"]];
      for (const answer of state.answers) {
        const start = [test.test, test.kind, state.listener, state.place, answer.trial];
        const end = [answer.choice, answer.milliseconds, answer.comment];
        const ratings = Object.entries(answer.ratings);
        for (const [stimulus, rating] of ratings.length ? ratings : [["", ""]]) rows.push([...start, stimulus, rating, ...end]);
      }
      return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
    },
  };
})();

// Sends what the server has not acknowledged yet, one answer after the other, and tries again until it has.
listening.sender = (() => {
  const state = listening.state;
  const pauses = [1000, 2000, 5000, 10000, 30000];
  let failures = 0;
  let busy = false;
  let told = () => {};

  async function post(what, body) {
    const response = await fetch(listening.server.api + what, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
      credentials: "same-origin", cache: "no-store",
    });
    if (response.ok) return response.json();
    const said = await response.json().catch(() => ({}));
    const error = new Error(said.error || `the server answered ${response.status}`);
    error.isFinal = response.status >= 400 && response.status < 500 && ![408, 425, 429].includes(response.status);
    error.waitMs = 1000 * (Number.parseFloat(response.headers.get("Retry-After")) || 0);
    throw error;
  }

  function pauseAfter(error) {
    failures += 1;
    return Math.max(error.waitMs || 0, pauses[Math.min(failures, pauses.length) - 1]);
  }

  async function send() {
    if (!listening.server || busy || !state.listener || state.refused) return;
    busy = true;
    try {
      while (state.sent < state.answers.length) {
        await post("answers", { listener: state.listener, answer: state.answers[state.sent] });
        state.acknowledged();
        failures = 0;
        told();
      }
    } catch (error) {
      if (error.isFinal) state.refuse(error.message);
      else setTimeout(send, pauseAfter(error));
    } finally {
      busy = false;
      told(failures > 0);
    }
  }

  return {
    send,
    onChange(call) { told = call; },
    // Asks for the next place; keeps asking while the server cannot be reached.
    async join(waiting) {
      for (;;) {
        try {
          return await post("join", { consented: true });
        } catch (error) {
          if (error.isFinal) throw error;
          waiting(error.message);
          await new Promise((resolve) => setTimeout(resolve, pauseAfter(error)));
        }
      }
    },
  };
})();
