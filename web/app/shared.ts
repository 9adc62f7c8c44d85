// What both scripts of the page use. It is built into the first; the second takes it from there, so
// that nothing is loaded twice (build.js).

export { board, client } from "./live.js";
export { copy, find, get, list, main, name, put, remembered, say, words } from "./page.js";
export { left, leftOff } from "./reading.js";
export { draw, row } from "./rows.js";
export { show } from "./show.js";
