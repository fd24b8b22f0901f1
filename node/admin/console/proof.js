// The proof: the audit that runs or the last one, and the watch.

import { get, post } from "./api.js"
import { ask } from "./ask.js"
import { byId, el, keepFacts, mark, put, say, table } from "./dom.js"
import { count, many, plain, tidy, when } from "./format.js"

let done = () => {}
let reading = 0
let shown = ""

/** whenDone has fn called after each command. */
export function whenDone(fn) {
  done = fn
}

const ranges = list => (list ?? []).slice(0, 10).map(r => (r.first === r.last ? count(r.first) : `${count(r.first)} to ${count(r.last)}`)).join(", ") + (list?.length > 10 ? ", …" : "")

/** read shows how far the audit and the watch came. */
export async function read() {
  const mine = ++reading
  try {
    const state = await get("audit")
    if (mine === reading) draw(state)
  } catch (err) {
    if (mine === reading) say(byId("proof-note"), err.message)
  }
}

function draw({ audit: a, watch }) {
  const text = JSON.stringify([a, watch])
  if (text === shown) return
  shown = text
  say(byId("proof-note"), a ? "" : "No audit has been made.")
  const state = byId("proof-state")
  state.hidden = !a
  if (a) {
    say(state, `${a.cursor}: ${a.state}${a.missing ? `, ${many(a.missing, "event")} missing` : a.state === "done" ? ", nothing is missing" : ""}`)
    mark(state, "data-state", a.missing || a.state === "failed" ? "bad" : a.state === "done" ? "ok" : "waiting")
  }
  keepFacts(byId("proof-facts"), a ? [
    ["compared", many(a.compared, "event")], ["from", `seq ${count(a.from)}`], ["up to", `seq ${count(a.next - 1)} of ${count(a.to)}`],
    ["missing", a.missing ? ranges(a.holes) : null], ["filled in", a.healed ? many(a.healed, "event") : null],
    ["there more than once", a.doubles ? many(a.doubles, "event") : null], ["error", a.error ? tidy(plain(a.error)) : null],
  ] : [])
  const watched = watch.cursors ?? []
  put(byId("watch-list"), watch.every === "0s" || watched.length === 0 ? el("p", { class: "hint" }, "There is no watch: forebay audit --watch has the node prove what comes.")
    : table(`The watch, every ${watch.every}`, ["Cursor", { title: "Proven up to seq", number: true }, "Proven at", { title: "Missing", number: true }],
      watched.map(w => [w.cursor, count(w.proven_seq), w.proven_at ? when(w.proven_at) : "not yet", count(w.missing)])))
  byId("proof-stop").hidden = a?.state !== "running"
}

// begin asks which destination to compare with the log, and whether to fill in
// what is missing there.
function begin() {
  const cursor = el("select", {}, ["clickhouse", "session"].map(name => el("option", {}, name)))
  const fill = el("input", { type: "checkbox" })
  ask({
    title: "Audit a destination",
    lead: "What was delivered is compared with what is there. That reads both, in the background.",
    parts: [el("label", {}, "Destination", cursor), el("label", { class: "tick" }, fill, "Deliver once more what is missing (ClickHouse only)")],
    confirm: "Begin", home: byId("proof-start"),
    async run(command) {
      await post("audit", { ...command, cursor: cursor.value, ...(fill.checked ? { fill: true } : {}) })
      done()
      read()
      return `The audit of ${cursor.value} has begun.`
    },
  })
}

function stop() {
  ask({
    title: "Stop the audit", lead: "What it has found is kept, and it can be resumed by forebay audit --resume.", confirm: "Stop", home: byId("proof-start"),
    async run(command) {
      await post("audit/stop", command)
      done()
      read()
      return "The audit is stopped."
    },
  })
}
byId("proof-start").addEventListener("click", begin)
byId("proof-stop").addEventListener("click", stop)
