// Is it accepting, durable, shipping, proven? Why not, since when, what to do.

import { List, byId, el, mark, put, say } from "./dom.js"
import { lasting, many, plain } from "./format.js"

const names = {
  accept: "Accepting", durable: "Durable", disk: "Disk", ship: "Shipping", progress: "Progress",
  keys: "Keys", records: "Records", clock: "Clock", ledger: "Ledger", proven: "Proven", drain: "Drained",
}

/** title is what the page calls a check; one that it does not know keeps its name. */
export const title = name => names[name] ?? name.charAt(0).toUpperCase() + name.slice(1)

const checks = new List(byId("checks"), c => c.name, check => {
  const state = el("span", { class: "state" })
  const since = el("span", { class: "since" })
  const node = el("li", { "data-check": check.name }, el("strong", {}, title(check.name)), state, since)
  let shown
  return {
    node,
    update(c) {
      mark(node, "data-ok", c.ok)
      say(state, c.ok ? "in order" : "not in order")
      if (shown !== c.since) put(since, lasting(shown = c.since))
    },
  }
})

const problems = new List(byId("problems"), c => c.name, check => {
  const reason = el("p", { class: "reason" })
  const remedy = el("p", { class: "remedy" })
  const since = el("span", { class: "since" })
  let shown
  return {
    node: el("li", { "data-check": check.name }, el("h3", {}, title(check.name), " ", el("span", { class: "since" }, "not in order "), since), reason, remedy),
    update(c) {
      say(reason, plain(c.reason))
      say(remedy, c.remedy ? `What to do: ${c.remedy}` : "")
      if (shown !== c.since) put(since, lasting(shown = c.since))
    },
  }
})

let told // what was said last, so that a change alone is spoken

/** show brings the checks up to date and returns the verdict in one sentence
 * if it has changed, for screen readers. */
export function show(status) {
  const failing = status.checks.filter(c => !c.ok)
  const verdict = byId("verdict")
  const text = failing.length === 0 ? "Everything is in order."
    : `${status.accepting ? "Accepting events" : "Traffic should go elsewhere"}; ${many(failing.length, "check")} not in order.`
  say(verdict, text)
  mark(verdict, "data-state", failing.length === 0 ? "ok" : status.accepting ? "warn" : "bad")
  checks.update(status.checks)
  problems.update(failing)
  const sentence = [text, ...failing.map(c => title(c.name))].join(" ")
  const changed = told !== undefined && told !== sentence
  told = sentence
  return changed ? sentence : ""
}
