// What an operator may do to a cursor. Whatever moves one shows first what it
// would touch, and then does exactly that.

import { cursorPath, get, lines, post } from "./api.js"
import { ask } from "./ask.js"
import { el, facts } from "./dom.js"
import { bytes, count, many, now, plain, span, stamp, when } from "./format.js"

let done = () => {} // called after each command, so that the trail is read anew

/** whenDone has fn called after each command. */
export function whenDone(fn) {
  done = fn
}

const home = c => document.querySelector(`[data-cursor="${CSS.escape(c.name)}"] h3`)

async function send(c, verb, body) {
  const reply = await post(cursorPath(c.name, verb), body)
  done()
  return reply
}

/** pause asks to pause a cursor, for a time or until it is resumed. */
export function pause(c) {
  const number = el("input", { type: "number", min: "0", step: "1", inputmode: "numeric", placeholder: "until resumed" })
  const unit = el("select", { "aria-label": "Unit" }, el("option", { value: "m" }, "minutes"), el("option", { value: "h" }, "hours"))
  ask({
    title: `Pause ${c.name}`,
    lead: `It stops once requests in flight have ended, and stays so over restarts. What it has not delivered waits in the log: ${many(c.lag_events, "event")} now, and what comes.`,
    parts: [el("div", { class: "row" }, el("label", {}, "For how long (empty: until resumed)", number), unit)],
    confirm: "Pause", home: home(c),
    async run(command) {
      await send(c, "pause", { ...command, ...(Number(number.value) > 0 ? { for: `${number.value}${unit.value}` } : {}) })
      return `Cursor ${c.name} is paused.`
    },
  })
}

/** resume asks to let a cursor go on. */
export function resume(c) {
  ask({
    title: `Resume ${c.name}`,
    lead: ["It goes on at seq ", count(c.next_seq), `, ${many(c.lag_events, "event")} behind.`,
      c.pause ? ` Paused by ${plain(c.pause.by || "unknown")}${c.pause.reason ? `: ${plain(c.pause.reason)}` : ""}.` : ""].join(""),
    confirm: "Resume", home: home(c),
    async run(command) {
      await send(c, "resume", command)
      return `Cursor ${c.name} goes on.`
    },
  })
}

/** retry asks to try now. */
export function retry(c) {
  ask({
    title: `Retry ${c.name}`,
    lead: "What fails is tried at once, and a pause that the cursor took itself ends. Nothing else changes.",
    confirm: "Try now", home: home(c),
    async run(command) {
      await send(c, "retry", command)
      return `Cursor ${c.name} tries now.`
    },
  })
}

/** step asks to deliver one batch. */
export function step(c) {
  ask({
    title: `Step ${c.name}`,
    lead: `It delivers one batch from seq ${count(c.next_seq)} on, and is paused again.`,
    confirm: "Deliver one batch", home: home(c),
    async run(command) {
      const moved = await send(c, "step", command)
      return moved.to > moved.from ? `Cursor ${c.name} delivered seq ${count(moved.from)} to ${count(moved.to - 1)}, and is paused again.`
        : `Cursor ${c.name} had nothing to deliver.`
    },
  })
}

// removed says what of a range that was asked for is gone.
function removed(p) {
  const what = `${p.not_kept_at_most ? "at most " : ""}${many(p.not_kept, "event")}`
  if (!p.not_kept_since) return what
  return `what was received since ${stamp(p.not_kept_since)}${p.not_kept_until ? ` and before ${stamp(p.not_kept_until)}` : ""} UTC: ${what}`
}

// previewed shows what a move would touch.
function previewed(p) {
  const skip = p.verb === "skip"
  return [
    el("p", { class: "sum" }, el("b", {}, many(p.events, "event")), skip ? " will not be delivered: they are passed over, and counted as skipped." : " will be delivered again."),
    el("dl", { class: "facts" }, facts([
      ["from", `seq ${count(p.from)}`], ["to", `seq ${count(p.to)}`],
      ["sessions", `${p.at_least ? "at least " : ""}${count(p.sessions)}`],
      ["projects", p.projects.length > 8 ? `${p.projects.slice(0, 8).map(plain).join(", ")} and ${count(p.projects.length - 8)} more` : p.projects.map(plain).join(", ")],
      ["days received", p.days.length > 4 ? `${p.days[0]} to ${p.days.at(-1)}` : p.days.join(", ")],
      ["size", bytes(p.bytes)],
      skip ? ["", ""] : ["the destination has had before", many(p.duplicates, "event")],
      ["takes", skip ? null : p.seconds ? `about ${span(p.seconds)} at ${count(p.capacity_per_second)} events/s, its pace when it was last behind` : "unknown: the cursor has not been behind since the node’s start"],
      ["damaged in the log", p.lost ? count(p.lost) : null],
      ["no longer kept", p.not_kept ? removed(p) : null],
    ])),
  ]
}

// target is the part of a dialog that says where to go: back, or forward over
// events that are given up.
function target(c, forward) {
  const size = el("input", { type: "number", min: "1", step: "1", value: "10", "aria-label": "How much" })
  const unit = el("select", { "aria-label": "Unit" }, el("option", { value: "s" }, "seconds"), el("option", { value: "m", selected: true }, "minutes"), el("option", { value: "h" }, "hours"))
  const time = el("input", { value: stamp(now() - 600_000), maxlength: 30, autocomplete: "off", "aria-label": "Time in UTC, such as 2026-11-23 10:00:00" })
  const seq = el("input", { type: "number", min: "1", step: "1", value: Math.max(c.next_seq - 1, 1), "aria-label": "Seq to rewind to" })
  const skip = el("input", { type: "number", min: "1", step: "1", value: c.next_seq + 1, "aria-label": "Seq to skip to" })
  const ways = forward ? [
    ["skip", "To a seq, over what is not delivered", skip, () => ({ skip_to: Number(skip.value) })],
    ["end", "To the end of the log", null, () => ({ skip_to_end: true })],
  ] : [
    ["back", "Back by", el("span", { class: "row" }, size, unit), () => ({ back: `${size.value}${unit.value}` })],
    ["time", "Back to a time (UTC)", time, () => {
      const [, day, clock] = /^\s*(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)\s*(?:Z|UTC)?\s*$/.exec(time.value) ?? []
      const at = new Date(`${day}T${clock}Z`)
      if (Number.isNaN(at.getTime())) throw new Error("Write the time in UTC, as in 2026-11-23 10:00:00.")
      return { to_time: at.toISOString() }
    }],
    ["seq", "Back to a seq", seq, () => ({ to_seq: Number(seq.value) })],
    ["start", "Back to the oldest event kept", null, () => ({ to_start: true })],
  ]
  const node = el("fieldset", {}, el("legend", {}, "Where to"), ways.map(([value, text, field], i) =>
    el("div", { class: "way" }, el("label", {}, el("input", { type: "radio", name: "way", value, checked: i === 0 }), text), field)))
  node.addEventListener("focusin", event => { // a field that is filled in is the one that is meant
    const radio = event.target.closest(".way")?.querySelector("input[type=radio]")
    if (radio && event.target !== radio && !radio.checked) radio.click()
  })
  return { node, where: () => ways.find(([value]) => value === node.querySelector("input[type=radio]:checked").value)[3]() }
}

// exactly is the request that makes the move of a preview, however far the
// cursor and the log have come meanwhile.
const exactly = p => (p.verb === "skip" ? { skip_to: p.to } : { to_seq: p.to })

async function look(c, where) {
  const p = await post(cursorPath(c.name, "rewind"), where)
  return { show: previewed(p), args: exactly(p), confirm: p.events === 0 ? undefined : `${p.verb === "skip" ? "Skip" : "Deliver again"} ${many(p.events, "event")}` }
}

/** rewind asks how far a cursor is to go back, shows what that means, and moves it. */
export const rewind = c => move(c, false)

/** skip asks over what a cursor is to go forward, likewise. */
export const skip = c => move(c, true)

function move(c, forward) {
  const { node, where } = target(c, forward)
  ask({
    title: `${forward ? "Skip events of" : "Rewind"} ${c.name}`,
    lead: `${forward ? "What is skipped is not delivered to this destination. " : ""}It stands at seq ${count(c.next_seq)}. Nothing moves before you have seen what it would touch.`,
    parts: [node], asks: true, danger: true, whyWanted: true, home: home(c),
    look: () => look(c, where()),
    async run(command, args) {
      const r = await send(c, "rewind", { ...command, ...args, apply: true })
      return r.verb === "skip" ? `Cursor ${c.name} skipped ${many(r.events, "event")}, in epoch ${count(r.epoch)}.`
        : `Cursor ${c.name} went back to seq ${count(r.to)}: ${many(r.events, "event")} again, in epoch ${count(r.epoch)}.`
    },
  })
}

const moves = ["rewind", "skip", "undo"]

/** undo shows the last move of a cursor and takes it back. */
export function undo(c) {
  ask({
    title: `Undo the last move of ${c.name}`,
    lead: "It goes back to where it stood before, or stays where it has come since if that is further.",
    danger: true, whyWanted: true, home: home(c),
    async look() {
      const { next_seq: at } = await get(`cursors/${encodeURIComponent(c.name)}`) // the page's may be a second old
      const last = (await lines("audit-log?limit=1000")).filter(e => e.cursor === c.name && moves.includes(e.verb)).at(-1)
      if (!last || last.verb === "undo") return { show: [el("p", {}, "There is no move to undo.")] }
      const stood = last.before.next_seq
      const show = [el("p", {}, `The last move was a ${last.verb} from seq ${count(stood)} to ${count(last.after.next_seq)} by ${plain(last.by)}, `, when(last.at), ".")]
      if (last.verb === "skip") show.push(el("p", { class: "sum" }, el("b", {}, `It goes back to seq ${count(stood)}`), ": what was skipped is delivered."))
      else if (stood > at) show.push(el("p", { class: "sum" }, el("b", {}, `It goes forward to seq ${count(stood)}`), `: ${many(stood - at, "event")} that it would deliver again ${stood - at === 1 ? "is" : "are"} not.`))
      else show.push(el("p", { class: "sum" }, "It has come past that already: it stays where it is, in a new epoch."))
      return { show, confirm: "Undo" }
    },
    async run(command) {
      const moved = await send(c, "undo", command)
      return `Cursor ${c.name} went from seq ${count(moved.from)} to ${count(moved.to)}, in epoch ${count(moved.epoch)}.`
    },
  })
}
