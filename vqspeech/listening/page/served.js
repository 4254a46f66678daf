"use strict";
// The server of `vqspeech listening-test serve` puts its own address here; opened otherwise, answers stay in the browser.
window.LISTENING_SERVER = null;
