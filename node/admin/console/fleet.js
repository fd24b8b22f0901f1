// The nodes that admin.nodes names, beside the one that shows this page and
// asks them. Without any there is no such section.

import { get } from "./api.js"
import { byId, el, mark, put, table } from "./dom.js"
import { count, plain, span, tidy } from "./format.js"
import * as health from "./health.js"

const every = 10_000
const everyIfAlone = 60_000 // a reload of the configuration may add some

let next = 0

/** tick reads the fleet when it is due. */
export async function tick() {
  if (Date.now() < next) return
  next = Date.now() + every
  let rows
  try {
    rows = await get("fleet")
  } catch { return /* the live stream tells what is wrong */ }
  const alone = rows.length < 2
  if (alone) next = Date.now() + everyIfAlone
  byId("fleet").hidden = byId("fleet-link").hidden = alone
  const wrong = rows.slice(1).filter(r => !r.status || r.status.checks.some(c => !c.ok)).length // the first is this one
  health.setOthers(Math.max(rows.length - 1, 0), wrong)
  if (!alone) put(byId("fleet-list"), table("Nodes side by side", columns, rows.map(row)))
}

const columns = ["Node", "Address", "State", { title: "Newest seq", number: true }, "Cursors", "What is not in order"]

function row({ addr, status: s, error }) {
  if (!s) return ["", address(addr), badge("bad", "no answer"), "", "", el("span", { class: "long" }, plain(error).replace(/ \(is it running\?.*$/s, ""))]
  const wrong = s.checks.filter(c => !c.ok)
  const state = !s.accepting ? badge("bad", "not ready") : wrong.length ? badge("warn", "accepting") : badge("ok", "in order")
  return [el("span", { class: "name" }, plain(s.node_id)), address(addr), state, count(s.log.durable_seq),
    el("span", { class: "long" }, s.cursors.map(lag).join("; ")),
    el("span", { class: "long" }, wrong.map(c => `${c.name}: ${tidy(plain(c.reason))}`).join("; "))]
}

// address leads to the node's own console, where a browser can go there.
const address = addr => (/^[\w.-]+:\d+$|^\[[\da-f:]+\]:\d+$/i.test(addr) ? el("a", { class: "name", href: `//${addr}/` }, addr) : plain(addr))

function badge(state, text) {
  const node = el("span", { class: "badge" }, text)
  mark(node, "data-state", state)
  return node
}

const lag = c => `${c.name} ${c.state}${c.lag_events ? `, ${count(c.lag_events)} behind, ${span(Math.floor(c.lag_seconds))}` : ""}`
