// Events as they are accepted, while somebody looks.

import { stream } from "./api.js"
import { byId, el, mark, put, say, table } from "./dom.js"
import { clock, count, foreign, many, plain } from "./format.js"

const most = 50 // rows
const every = 500 // ms between two renderings
const patience = 60_000

let kept = []
let passed = 0
let following = null // what ends the stream
let timer
let trace = () => {}

/** start names what is called to trace a seq. */
export function start(jump) {
  trace = jump
}

async function follow() {
  const mine = following = {}
  kept = []
  passed = 0
  say(byId("tail-note"), "Waiting for events …")
  const query = new URLSearchParams()
  for (const name of ["project", "session"]) {
    const value = byId(`tail-${name}`).value.trim()
    if (value) query.set(name, value)
  }
  draw()
  try {
    await stream(`wal/events/stream?${query}`, (name, e) => {
      if (following !== mine) throw new Error("stopped")
      if (name !== "event") return
      passed++
      kept = [...kept.slice(1 - most), e]
      timer ??= setTimeout(() => { timer = undefined; draw() }, every)
    }, { patience, opened: () => {} })
  } catch (err) {
    if (following !== mine) return
    say(byId("tail-note"), err.message)
  }
  following = null
  button()
}

function draw() {
  if (passed) say(byId("tail-note"), `${many(passed, "event")} since you began; the last ${count(kept.length)} are shown, the newest first.`)
  put(byId("tail-list"), kept.length === 0 ? [] : table("Events as they are accepted, the newest first", [{ title: "Seq", number: true }, "Received", "Project", "Session", "Event"],
    [...kept].reverse().map(e => [el("button", { type: "button", class: "quiet", "aria-label": `Trace seq ${e.seq}`, onclick: () => trace(e.seq) }, count(e.seq)),
      clock(e.received_at), foreign(e.project), foreign(e.session), el("code", { class: "long" }, plain(JSON.stringify(e.event)).slice(0, 500))])))
}

function button() {
  const on = following !== null
  say(byId("tail-go"), on ? "Stop" : "Follow")
  mark(byId("tail-go"), "aria-pressed", String(on))
}

byId("tail-form").addEventListener("submit", event => {
  event.preventDefault()
  if (following) {
    following = null
    say(byId("tail-note"), "Stopped.")
  } else follow()
  button()
})
