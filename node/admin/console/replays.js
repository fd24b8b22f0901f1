// Replays: parts of the log that are delivered once more beside the live
// cursors. They can be begun, paused, resumed and cancelled here.

import { get, post } from "./api.js"
import { ask } from "./ask.js"
import { byId, el, facts, mark, put, say, table } from "./dom.js"
import { bytes, count, foreign, many, percent, plain, span, tidy, when } from "./format.js"

let done = () => {}
let underWay = "" // of the last status: when it changes, the ended ones have too
let live = [] // those on the page that have not ended
let reading = 0

/** whenDone has fn called after each command. */
export function whenDone(fn) {
  done = fn
}

/** show takes the replays of a status, which are those that have not ended. */
export function show(replays) {
  const told = JSON.stringify(replays.map(r => [r.name, r.state, r.progress, r.delivered, r.refused, r.last_error]))
  if (told === underWay && live.every(name => replays.some(r => r.name === name))) return
  underWay = told
  read()
}

/** read shows the replays, the newest first. */
export async function read() {
  const mine = ++reading
  try {
    const all = (await get("replays")).toReversed()
    if (mine !== reading) return
    live = all.filter(r => !ended(r)).map(r => r.name)
    say(byId("replay-note"), all.length === 0 ? "There has been no replay." : "")
    put(byId("replay-list"), all.length === 0 ? [] : table("Replays, the newest first",
      ["Name", "State", "Into", "Range", { title: "Delivered", number: true }, { title: "Refused", number: true }, "More", ""], all.map(row)))
  } catch (err) {
    if (mine === reading) say(byId("replay-note"), err.message)
  }
}

const ended = r => r.state === "done" || r.state === "canceled"

function row(r) {
  const state = el("span", { class: "badge" }, r.state)
  mark(state, "data-state", { running: "ok", failing: "bad", paused: "warn" }[r.state] ?? "waiting")
  const verb = (text, name) => el("button", { type: "button", "aria-label": `${text} replay ${r.name}`, onclick: () => change(r, name) }, `${text} …`)
  const more = [
    ended(r) ? "" : `${percent(r.progress)}${r.seconds_left ? `, ${span(r.seconds_left)} left` : ""}`,
    r.why ? plain(r.why) : "", r.state === "failing" || r.state === "paused" ? tidy(plain(r.last_error || r.pause?.reason)) : "",
  ].filter(Boolean).join("; ")
  return [plain(r.name), state, into(r.destination ?? r), `${count(r.from_seq)} to ${count(r.to_seq)}`, count(r.delivered), count(r.refused),
    el("span", { class: "long" }, `by ${plain(r.by)}, `, when(r.started_at), more ? `; ${more}` : ""),
    ended(r) ? "" : el("div", { class: "buttons" }, r.state === "paused" ? verb("Resume", "resume") : verb("Pause", "pause"), verb("Cancel", "cancel"))]
}

const into = d => foreign([d.into, d.database, d.table, d.url].filter(Boolean).join(" "))

function change(r, verb) {
  ask({
    title: `${verb.charAt(0).toUpperCase()}${verb.slice(1)} ${plain(r.name)}`,
    lead: verb === "cancel" ? "It ends for good. What it has delivered stays delivered." : verb === "pause" ? "It stops once requests in flight have ended." : "It goes on where it stands.",
    confirm: verb === "cancel" ? "End it" : verb === "pause" ? "Pause" : "Resume", danger: verb === "cancel", home: byId("replay-start"),
    async run(command) {
      await post(`replays/${encodeURIComponent(r.name)}/${verb}`, command)
      done()
      read()
      return `Replay ${plain(r.name)}: ${verb} is done.`
    },
  })
}

const text = (label, attributes = {}) => {
  const field = el("input", { autocomplete: "off", spellcheck: "false", ...attributes })
  return { field, node: el("label", {}, label, field) }
}

// start asks what to deliver where, shows what that means, and begins it.
function start() {
  const kind = el("select", {}, el("option", { value: "clickhouse" }, "ClickHouse"), el("option", { value: "session" }, "a Session Manager"))
  const place = text("Table, or URL of the Session Manager (empty: the live one)")
  const project = text("Only of this project (empty: all)")
  const from = text("From seq (empty: the oldest kept)", { type: "number", min: "1" })
  const to = text("To seq (empty: the newest)", { type: "number", min: "1" })
  const rate = text("Events a second at most (empty: no limit)", { type: "number", min: "1" })
  const request = () => ({
    into: kind.value, from_seq: Number(from.field.value) || 0, to_seq: Number(to.field.value) || 0, rate: Number(rate.field.value) || 0,
    ...(place.field.value.trim() ? { [kind.value === "session" ? "url" : "table"]: place.field.value.trim() } : {}),
    ...(project.field.value.trim() ? { projects: [project.field.value.trim()] } : {}),
  })
  ask({
    title: "Start a replay",
    lead: "It delivers a part of the log once more, and the live cursors do not notice. forebay replay --help has more ways to choose.",
    parts: [el("label", {}, "Into", kind), ...[place, project, from, to, rate].map(f => f.node)], asks: true, whyWanted: true, home: byId("replay-start"),
    async look() {
      const asked = request()
      const p = (await post("replays", asked)).preview
      const range = p.replay ?? {}
      return {
        show: [
          el("p", { class: "sum" }, el("b", {}, many(p.events, "event")), " will be delivered once more."),
          el("dl", { class: "facts" }, facts([
            ["range", `seq ${count(range.from_seq)} to ${count(range.to_seq)}`], ["size", bytes(p.bytes)], ["sessions", count(p.sessions)],
            [`${plain(p.same_as ?? "the live cursor")} has delivered there`, p.same_as ? many(p.duplicates, "event") : null],
            ["takes at least", p.seconds ? span(p.seconds) : null], ["no longer kept", p.not_kept ? many(p.not_kept, "event") : null],
          ])),
        ],
        args: { ...asked, from_seq: range.from_seq, to_seq: range.to_seq }, confirm: p.events === 0 ? undefined : `Deliver ${many(p.events, "event")}`,
      }
    },
    async run(command, args) {
      const { replay } = await post("replays", { ...args, ...command, apply: true })
      done()
      read()
      return `Replay ${plain(replay.name)} has begun.`
    },
  })
}
byId("replay-start").addEventListener("click", start)
