// One card for each cursor, with what an operator may do to it.

import { List, byId, el, keepFacts, mark, put, say } from "./dom.js"
import { count, lasting, many, plain, rate, span, tidy, when } from "./format.js"
import { link } from "./link.js"
import * as commands from "./commands.js"

// sinkFacts are what a sink tells of itself, whatever it is.
function sinkFacts(sink) {
  return Object.entries(sink ?? {}).filter(([, v]) => v !== null && v !== "" && !(Array.isArray(v) && v.length === 0))
    .map(([name, v]) => [name.replaceAll("_", " "), typeof v === "number" ? count(v) : plain(typeof v === "object" ? JSON.stringify(v) : v)])
}

const ranges = list => list?.length ? list.map(r => `${count(r.first)} to ${count(r.last)}`).join(", ") : null

function trouble(c) {
  if (c.stopped) return ["The node is stopped: nothing is delivered."]
  if (c.pause) {
    const p = c.pause
    return [`Paused by ${plain(p.by || "unknown")}`, p.reason ? `: ${tidy(plain(p.reason))}` : "", ", ", lasting(p.since),
      ...(p.until ? [", until ", when(p.until)] : [p.asks_again ? ", until its cause has gone" : ", until it is resumed"]), "."]
  }
  if (c.state === "failing") return ["Fails ", lasting(c.error_since), ` (${c.error_count === 1 ? "one try" : `${count(c.error_count)} tries`}): `, plain(c.last_error)]
  if (c.parked) {
    const p = c.parked
    return [`Parked: ${many(p.sessions, "session")}, `, lasting(p.since), `, ${many(p.events, "event")} of theirs waiting: `, plain(p.cause)]
  }
  return null
}

const list = new List(byId("cursor-list"), c => c.name, first => {
  const name = first.name
  const state = el("span", { class: "badge" })
  const behind = el("b")
  const oldest = el("span")
  const lag = el("p", { class: "lag" }, behind, oldest)
  const why = el("p", { class: "trouble" })
  const main = el("dl", { class: "facts" })
  const account = el("dl", { class: "facts" })
  const sink = el("dl", { class: "facts" })
  const more = el("details", {}, el("summary", {}, "Account, plan and destination"), account, sink)
  let latest = first
  const act = (text, command, label) => el("button", { type: "button", "aria-label": `${label ?? text} cursor ${name}`, onclick: () => command(latest) }, text)
  const buttons = {
    retry: act("Retry now …", commands.retry, "Retry"), resume: act("Resume …", commands.resume, "Resume"), step: act("Step …", commands.step, "Step"), pause: act("Pause …", commands.pause, "Pause"),
    rewind: act("Rewind …", commands.rewind, "Rewind"), skip: act("Skip …", commands.skip, "Skip events of"), undo: act("Undo …", commands.undo, "Undo the last move of"),
  }
  const node = el("article", { class: "card", "data-cursor": name },
    el("header", {}, el("h3", { tabindex: "-1" }, el("a", { href: link("cursors", name) }, name)), state), lag, why, main, el("div", { class: "buttons" }, Object.values(buttons)), more)
  let shown = ""
  const update = c => {
    latest = c
    say(state, c.parked && c.state === "running" ? `running, ${count(c.parked.sessions)} parked` : c.state)
    mark(state, "data-state", { running: "ok", failing: "bad", paused: "warn" }[c.state])
    mark(node, "data-state", c.state)
    say(behind, count(c.lag_events))
    say(oldest, ` ${c.lag_events === 1 ? "event" : "events"} behind${c.lag_events ? `, the oldest ${c.lag_seconds < 1 ? "under 1 s" : span(Math.floor(c.lag_seconds))} old` : ""}`)
    for (const verb of ["resume", "step"]) buttons[verb].hidden = c.state !== "paused"
    buttons.retry.hidden = c.state === "running" && !c.parked || c.state === "paused" && !c.pause?.asks_again
    say(buttons.pause, c.state === "paused" ? "Pause anew …" : "Pause …")
    const cause = JSON.stringify([c.pause, c.state, c.error_since, c.error_count, c.last_error, c.parked, c.next_try])
    if (cause !== shown) {
      shown = cause
      const told = trouble(c)
      if (told && c.next_try) told.push(" Next try ", when(c.next_try), ".")
      why.replaceChildren(...(told ?? []))
      why.hidden = !told
    }
    keepFacts(main, [
      ["next seq", count(c.next_seq)], ["epoch", count(c.epoch)], ["rate", `${rate(c.rate_per_second)}/s`],
      ["catches up in", c.catch_up_seconds ? span(c.catch_up_seconds) : null],
      ["replays up to", c.replay_to ? count(c.replay_to) : null],
      ["dead letters", c.dead ? `${count(c.dead)}${c.requeued ? `, ${count(c.requeued)} requeued` : ""}` : null],
    ])
    if (!more.open) return
    const l = c.ledger
    keepFacts(account, [
      ...["accepted", "shipped", "pending", "dead", "discarded", "expired", "lost", "skipped"].map(k => [k, count(l[k])]),
      ["imbalance", l.imbalance ? count(l.imbalance) : null],
      ["lost seqs", ranges(c.lost)], ["expired seqs", ranges(c.expired)], ["skipped seqs", ranges(c.skipped)],
      ["plan", c.plan ? `${count(c.plan.first)} to ${count(c.plan.last)}${c.plan.attempts ? `, tried ${count(c.plan.attempts)} times` : ""}` : null],
      ["last error", c.last_error ? plain(c.last_error) : null],
      ["last error over", c.last_error && c.error_ended ? when(c.error_ended) : null],
    ])
    keepFacts(sink, sinkFacts(c.sink))
  }
  more.addEventListener("toggle", () => update(latest))
  return { node, update }
})

/** show brings the cards up to date. */
export const show = cursors => list.update(cursors)

/** open shows the card of a cursor, with all that it has. */
export function open(name) {
  const card = byId("cursor-list").querySelector(`[data-cursor="${CSS.escape(name)}"]`)
  if (!card) return
  card.querySelector("details").open = true
  card.scrollIntoView({ block: "center" })
  card.querySelector("h3").focus({ preventScroll: true })
}
