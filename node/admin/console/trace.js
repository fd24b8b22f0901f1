// One event's life, from the request that brought it to its row.

import { get } from "./api.js"
import { byId, el, facts, put, say, table } from "./dom.js"
import { link, remember } from "./link.js"
import { bytes, clock, count, foreign, many, plain, when } from "./format.js"

/** trace follows the event that is named: by its seq, or by its key. */
export async function trace(what, as, project) {
  what = String(what).trim()
  const bySeq = as === "seq" || (as === "" && /^\d+$/.test(what))
  const query = new URLSearchParams(bySeq ? { seq: what } : { key: what })
  if (project) query.set("project", project)
  remember("trace", ...(bySeq ? [what] : ["key", what, ...(project ? [project] : [])]))
  const result = byId("trace-result")
  put(result, el("p", { class: "hint" }, "Looking …"))
  try {
    const found = await get(`trace?${query}`)
    put(result, shown(found))
    say(byId("spoken"), plain(found.answer))
  } catch (err) {
    put(result, el("p", { class: "problem", role: "alert" }, err.message))
  }
}

/** open shows the trace that an address names. */
export function open(names) {
  const key = names[0] === "key"
  if (key && !names[1]) return
  byId("trace-what").value = key ? names[1] : names[0]
  byId("trace-as").value = key ? "key" : "seq"
  byId("trace-project").value = key ? names[2] ?? "" : ""
  byId("trace").scrollIntoView()
  trace(byId("trace-what").value, byId("trace-as").value, byId("trace-project").value)
}

/** jump shows the trace of a seq, from elsewhere on the page. */
export function jump(seq) {
  byId("trace-what").value = seq
  byId("trace-as").value = "seq"
  byId("trace-project").value = ""
  byId("trace").scrollIntoView()
  byId("trace-what").focus({ preventScroll: true })
  trace(seq, "seq", "")
}

function shown(t) {
  const s = t.searched
  return [
    el("p", { class: "sum" }, el("b", {}, plain(t.answer))),
    ...t.events.map(life),
    t.drops?.length ? [el("h3", {}, "Drops of events with this key"),
      table("Drops", ["Time", "Project", "Reason", "Field and rule"], t.drops.map(d => [clock(d.time), foreign(d.project), d.reason, foreign([d.field, d.rule].filter(Boolean).join(" "))]))] : null,
    t.damaged?.length ? el("p", { class: "problem" }, `Damaged blocks may hold it: ${t.damaged.map(g => `seq ${count(g.first)} to ${count(g.last)}`).join(", ")}.`) : null,
    el("p", { class: "hint" }, `Searched: seq ${count(s.first_seq)} to ${count(s.last_seq)}`, s.since ? [", from ", when(s.since)] : "",
      s.projects?.length ? `, keys of ${s.projects.length > 5 ? many(s.projects.length, "project") : s.projects.map(plain).join(", ")}` : "", `, the last ${many(s.drops, "drop")}.`),
  ].flat().filter(Boolean)
}

function life(e) {
  const b = e.block, r = e.request
  return el("article", { class: "card life" },
    el("h3", {}, el("a", { href: link("trace", e.seq) }, `seq ${count(e.seq)}`)),
    el("dl", { class: "facts" }, facts([
      ["received", e.received_at ? when(e.received_at) : null], ["project", foreign(e.project)], ["session", foreign(e.session)],
      ["type", foreign(e.event_type)], ["idempotency key", foreign(e.idempotency_key)],
      ["block", b ? `${count(b.number)} in ${b.file} at ${bytes(b.offset)}, ${many(b.events, "event")} of ${many(b.requests, "request")}` : null],
      ["request", r ? `${many(r.events, "event")} from seq ${count(r.first_seq)}` : null],
      ["sender", r ? foreign([r.app_id, r.sdk_version].filter(Boolean).join(" ")) : null],
      ["not in the log", e.gone ? plain(e.gone.reason) : null], ["log", e.log_id],
    ])),
    table("What became of it at each cursor", ["Cursor", "State", "More"], e.cursors.map(fate)),
    destinations(e))
}

function fate(f) {
  const more = [
    f.ahead ? `${many(f.ahead, "event")} before it` : "", f.before ? "delivered before a rewind, and to come again" : "",
    f.plan ? `in the plan ${count(f.plan.first)} to ${count(f.plan.last)}, tried ${count(f.plan.attempts ?? 0)} times` : "",
    f.pause ? `paused by ${plain(f.pause.by)}: ${plain(f.pause.reason)}` : "", f.letter ? `${plain(f.letter.reason)} (${many(f.letter.attempts, "attempt")})` : "",
    f.last_error ? plain(f.last_error) : "",
  ].filter(Boolean).join("; ")
  return [f.cursor, el("span", { class: "badge", "data-state": { shipped: "ok", pending: "waiting", planned: "waiting", dead: "bad", lost: "bad" }[f.state] ?? "warn" }, f.state), more]
}

function destinations(e) {
  const row = e.clickhouse, marks = e.session_manager
  return el("dl", { class: "facts" }, facts([
    ["in ClickHouse", !row ? null : row.error ? plain(row.error)
      : `${many(row.rows, "row")}${row.parts?.length ? ` in ${row.parts.map(plain).join(", ")}` : ""}${row.addr ? ` at ${plain(row.addr)}` : ""}`],
    ["at the Session Manager", !marks ? null : marks.error ? plain(marks.error) : !marks.offered ? "it does not tell how far sessions came"
      : marks.marks?.length ? marks.marks.map(m => `the session came to seq ${count(m.seq)} in epoch ${count(m.epoch)} of ${m.log_id === e.log_id ? "this log" : `log ${plain(m.log_id).slice(0, 8)}`}`).join("; ") : "it knows nothing of the session"],
  ]))
}

byId("trace-form").addEventListener("submit", event => {
  event.preventDefault()
  trace(byId("trace-what").value, byId("trace-as").value, byId("trace-project").value.trim())
})
