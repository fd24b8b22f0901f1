// The log from retention's edge to its end: its segments as a strip, and each
// cursor standing where it is.

import { List, byId, el, mark, put, say, table } from "./dom.js"
import { ago, bytes, count, many, percent, span, when } from "./format.js"

const maxCells = 240 // more segments than this share a cell
const maxRows = 200 // of the table; the newest

const flags = el("div", { class: "flags" })
const cells = el("div", { class: "cells" })
const picture = el("div", { class: "picture", role: "img" }, flags, cells)
const edge = el("div", { class: "edge" })
const end = el("div", { class: "end" })
const legend = el("p", { class: "hint" })
const limits = [[80, "history goes"], [90, "not ready"], [95, "full"]] // of the budget, in percent
const scale = el("div", { class: "scale", "aria-hidden": "true" }, limits.map(([at, text]) => {
  const node = el("span", {}, `${at} %`, el("em", {}, ` ${text}`))
  node.style.left = `${at}%`
  return node
}))
const meter = el("div", { class: "meter" }, el("div", { class: "used" }), ...limits.map(([at]) => {
  const tick = el("i", {})
  tick.style.left = `${at}%`
  return tick
}))
const forecast = el("p", {})
put(byId("strip"), picture, el("div", { class: "ends" }, edge, end), legend)
put(byId("disk"), meter, scale, forecast)

let status, segments = []
let edgeSeq

const share = seq => {
  const first = Math.max(status.log.first_seq, 1)
  const length = Math.max(status.log.durable_seq + 1 - first, 1)
  return 100 * Math.min(Math.max((seq - first) / length, 0), 1)
}

const cursorFlags = new List(flags, c => c.name, () => {
  const name = el("b", {})
  const place = el("span", {})
  const label = el("span", { class: "label" }, name, " ", place)
  const pole = el("i", { class: "pole" })
  const rest = el("i", { class: "rest" })
  const node = el("div", { class: "flag" }, rest, pole, label)
  return {
    node,
    update(c) {
      say(name, c.name)
      say(place, `${c.state === "running" ? "" : `${c.state}, `}${c.lag_events ? `${count(c.lag_events)} behind` : "at the end"}`)
      mark(node, "data-state", c.state)
      const at = share(c.next_seq)
      pole.style.left = rest.style.left = `${at}%`
      mark(node, "data-side", at > 50 ? "left" : "right")
      label.style.left = at > 50 ? "auto" : `${at}%`
      label.style.maxWidth = `${at > 50 ? at : 100 - at}%`
      label.style.right = at > 50 ? `${100 - at}%` : "auto"
    },
  }
})

/** show draws the strip for a status. */
export function show(s) {
  status = s
  const { log } = s
  const empty = log.durable_seq < Math.max(log.first_seq, 1)
  cursorFlags.update(s.cursors)
  for (const [i, flag] of [...flags.children].entries()) flag.style.setProperty("--lane", s.cursors.length - i)
  flags.style.setProperty("--lanes", s.cursors.length)
  if (edgeSeq !== `${log.first_seq} ${log.rewind_to}`) {
    edgeSeq = `${log.first_seq} ${log.rewind_to}`
    put(edge, el("b", {}, empty ? "empty" : `seq ${count(log.first_seq)}`), " retention’s edge",
      log.rewind_to && !empty ? el("span", {}, ": can be rewound to ", when(log.rewind_to)) : "")
  }
  put(end, el("b", {}, `seq ${count(log.durable_seq)}`), " on disk")
  mark(picture, "aria-label", `The log holds ${empty ? "no events" : `seq ${count(log.first_seq)} to ${count(log.durable_seq)}`} in ${many(log.segments, "segment")}. ` +
    s.cursors.map(c => `Cursor ${c.name} stands at ${count(c.next_seq)}, ${c.state}, ${many(c.lag_events, "event")} behind.`).join(" "))
  disk(log)
  shade()
}

function disk({ bytes: used, budget_bytes: budget, full, full_in_seconds: fullIn }) {
  const taken = budget ? used / budget : 0
  meter.firstChild.style.width = `${100 * Math.min(taken, 1)}%`
  mark(meter, "data-state", taken >= 0.9 ? "bad" : taken >= 0.8 ? "warn" : "ok")
  say(forecast, `${bytes(used)} of ${bytes(budget)} that it may take (${percent(taken)}). ` +
    (full ? "It is full: new events are dropped." : fullIn ? `As the backlog of the cursors grows now, it is full in ${span(fullIn)}.` : "It is not filling up."))
}

/** showSegments draws the segments anew; they change seldom. */
export function showSegments(list) {
  segments = list
  const filled = list.filter(s => s.first_seq > 0)
  const each = Math.max(Math.ceil(filled.length / maxCells), 1)
  const drawn = []
  for (let i = 0; i < filled.length; i += each) {
    const first = filled[i], last = filled[Math.min(i + each, filled.length) - 1]
    const node = el("div", { class: "cell", title: `${first.name}${each > 1 ? ` to ${last.name}` : ""}: seq ${count(first.first_seq)} to ${count(last.last_seq)}` })
    mark(node, "data-open", !last.sealed)
    node.first = first.first_seq
    node.last = last.last_seq
    drawn.push(node)
  }
  put(cells, drawn)
  say(legend, `${many(list.length, "segment")}${each > 1 ? `, up to ${each} a bar` : ""}. Pale: every cursor has passed it, and it is kept for rewinds. Full: some cursor still needs it.`)
  shade()
  if (byId("segments").open) tabulate()
}

// shade places the cells and tells the ones that are only kept for rewinds.
function shade() {
  if (!status) return
  const passed = Math.min(...status.cursors.map(c => c.next_seq), Infinity)
  for (const cell of cells.children) {
    const from = share(cell.first)
    cell.style.left = `${from}%`
    cell.style.width = `${share(Math.max(cell.last, cell.first) + 1) - from}%`
    mark(cell, "data-passed", cell.last < passed)
  }
}

function tabulate() {
  const shown = segments.slice(-maxRows).reverse()
  put(byId("segments").querySelector("div"),
    table("Segments, the newest first", ["File", { title: "First seq", number: true }, { title: "Last seq", number: true }, { title: "Size", number: true }, "First block", "State"],
      shown.map(s => [s.name, s.first_seq ? count(s.first_seq) : "none", s.first_seq ? count(s.last_seq) : "none", bytes(s.bytes),
        s.first_seq ? ago(s.time) : "", s.sealed ? "sealed" : "open"])),
    segments.length > maxRows ? el("p", { class: "hint" }, `and ${count(segments.length - maxRows)} older ones`) : null)
}
byId("segments").addEventListener("toggle", () => byId("segments").open && tabulate())
