// The node's own log, as it writes it.

import { lines } from "./api.js"
import { byId, el, put, table } from "./dom.js"
import { clock, plain } from "./format.js"

const most = 200 // lines shown
const every = 500 // ms between two renderings

let kept = []
let timer

/** fill reads the lines that the node remembers. */
export async function fill() {
  kept = (await lines("log")).slice(-most)
  draw()
}

/** add takes one line of the live stream. */
export function add(line) {
  kept = [...kept.slice(1 - most), line]
  timer ??= setTimeout(() => {
    timer = undefined
    draw()
  }, every)
}

// What stands in columns of its own, or on every line alike.
const own = new Set(["time", "level", "msg", "node", "log_id"])

function draw() {
  put(byId("line-list"), table("The node’s log, the newest line first", ["Time", "Level", "Line"],
    [...kept].reverse().map(({ time, level, msg, ...rest }) => [
      time ? clock(time) : "", el("span", { class: "level", "data-level": level }, plain(level)),
      el("span", { class: "long" }, el("b", {}, plain(msg)), ...Object.entries(rest).filter(([name]) => !own.has(name))
        .map(([name, v]) => ` ${plain(name)}=${plain(typeof v === "object" ? JSON.stringify(v) : v)}`)),
    ])))
}
