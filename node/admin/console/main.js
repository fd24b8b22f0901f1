// The operators' console: puts the parts together and keeps them up to date.

import * as api from "./api.js"
import { askToken } from "./ask.js"
import * as charts from "./charts.js"
import * as commands from "./commands.js"
import * as cursors from "./cursors.js"
import * as dead from "./dead.js"
import { byId, keepFacts, mark, put, say } from "./dom.js"
import * as drops from "./drops.js"
import * as fleet from "./fleet.js"
import { clock, count, plain, span, tick, when } from "./format.js"
import * as health from "./health.js"
import * as keys from "./keys.js"
import * as lines from "./lines.js"
import { follow } from "./live.js"
import { open } from "./link.js"
import * as proof from "./proof.js"
import * as replays from "./replays.js"
import * as service from "./service.js"
import * as strip from "./strip.js"
import * as tail from "./tail.js"
import * as trace from "./trace.js"
import * as trail from "./trail.js"

const historyEvery = 10_000
const segmentsEvery = 15_000
const manySegments = 1000 // from here on they are read less often

let status // the last
let statusAt // when it came, by this browser's clock
let connected = false

function show(s) {
  const first = !status
  status = s
  statusAt = new Date().toISOString()
  say(byId("node"), plain(s.node_id))
  byId("identity").hidden = false
  say(byId("log-id"), s.log_id.slice(0, 8))
  byId("log-id").title = s.log_id
  say(byId("version"), plain(s.version))
  if (byId("started").dataset.at !== s.started_at) {
    byId("started").dataset.at = s.started_at
    put(byId("started"), when(s.started_at))
  }
  const failing = s.checks.filter(c => !c.ok).length
  document.title = `${failing ? `(${failing}) ` : ""}${s.node_id} – Forebay`
  const verdict = health.show(s)
  if (verdict) say(byId("spoken"), verdict)
  strip.show(s)
  charts.showCursors(s.cursors)
  cursors.show(s.cursors)
  drops.show(s.ledger)
  dead.show(s.cursors)
  replays.show(s.replays ?? [])
  service.show(s.checks)
  showKeys(s.keys)
  if (first) open({ trace, cursors, charts })
  if (first || s.log.segments !== segmentsSeen) readSegments()
}

function showKeys(k) {
  keepFacts(byId("key-facts"), [
    ["source", k.source], ["keys", count(k.count)], ["age of the cache", span(Math.round(k.age_seconds))],
    ["last error", k.last_error ? plain(k.last_error) : "none"],
  ])
}

let segmentsSeen
let segmentsRead = 0
let segmentsTimer

// readSegments reads them soon, but not in a row.
function readSegments() {
  const wait = segmentsRead + (status?.log.segments > manySegments ? 4 * segmentsEvery : 2000) - Date.now()
  segmentsTimer ??= setTimeout(async () => {
    segmentsTimer = undefined
    segmentsRead = Date.now()
    try {
      const list = await api.get("wal/segments")
      segmentsSeen = list.length
      strip.showSegments(list)
    } catch { /* the live stream tells what is wrong, and the next turn tries again */ }
  }, Math.max(wait, 0))
}

async function readHistory() {
  const since = charts.since()
  try {
    const history = await api.get(`history${since ? `?${new URLSearchParams({ since })}` : ""}`)
    charts.add(history.points)
  } catch { /* as above */ }
}

function link(state, text) {
  say(byId("link"), text)
  mark(byId("link"), "data-state", state)
}

function up() {
  if (!connected && statusAt) say(byId("spoken"), "Connected again.")
  connected = true
  health.setLost(false)
  link("ok", "Live")
  byId("lost").hidden = true
  document.body.classList.remove("stale")
  byId("forget").hidden = !api.token()
  for (const read of [readHistory, trail.read, drops.fill, lines.fill, fleet.tick, replays.read, proof.read]) read().catch(() => {}) // as above
}

let nextTry

function down(reason, at) {
  nextTry = at
  health.setLost(true)
  link("bad", "Not connected")
  say(byId("lost-why"), reason.message)
  byId("lost").hidden = false
  document.body.classList.add("stale")
  if (connected || !statusAt) say(byId("spoken"), `Connection lost. ${reason.message}`)
  connected = false
  countDown()
}

function countDown() {
  const wait = Math.max(Math.ceil((nextTry - Date.now()) / 1000), 0)
  say(byId("lost-as-of"), `${statusAt ? `What you see is as of ${clock(statusAt)} UTC. ` : ""}${wait ? `Trying again in ${wait} s.` : "Trying again now."}`)
}

async function unlock(reason) {
  link("waiting", "Locked")
  await askToken(api.token() ? "The node does not take this token any more." : "", async text => {
    api.setToken(text)
    try {
      await api.get("cursors")
    } catch (err) {
      api.setToken(null)
      throw err.status === 401 ? new Error("The node does not take this token.") : err
    }
  })
}

dead.start({ trace: trace.jump, done: trail.read })
for (const part of [commands, replays, proof, service, keys]) part.whenDone(trail.read)
tail.start(trace.jump)

const tryNow = follow({
  up, down, unlock,
  told(event, value) {
    if (event === "status") show(value)
    else if (event === "drop") drops.add(value)
    else if (event === "missed") drops.miss(value)
    else if (event === "log") lines.add(value)
  },
})

byId("try-now").addEventListener("click", tryNow)
byId("forget").addEventListener("click", () => {
  api.setToken(null)
  location.reload()
})
setInterval(tick, 1000)
setInterval(() => connected || !nextTry || countDown(), 500)
setInterval(() => connected && readHistory(), historyEvery)
setInterval(() => connected && fleet.tick(), 1000)
setInterval(() => connected && readSegments(), segmentsEvery)
setInterval(() => connected && proof.read(), historyEvery)
addEventListener("hashchange", () => open({ trace, cursors, charts }))
