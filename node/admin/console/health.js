// Is it accepting, durable, shipping, proven? Why not, since when, what to do.

import { List, byId, el, mark, put, say } from "./dom.js"
import { clock, lasting, many, plain, tidy } from "./format.js"

const names = {
  accept: "Accepting", durable: "Durable", disk: "Disk", ship: "Shipping", progress: "Progress",
  keys: "Keys", records: "Records", clock: "Clock", ledger: "Ledger", proven: "Proven", drain: "In service", log: "Log lines", schema: "Columns",
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
      say(reason, tidy(plain(c.reason)))
      say(remedy, c.remedy ? `What to do: ${c.remedy}` : "")
      if (shown !== c.since) put(since, lasting(shown = c.since))
    },
  }
})

let told // what was said last, so that a change alone is spoken
let latest, latestAt // the last status, and when it came
let lost = false
let others = { all: 0, wrong: 0 } // nodes beside this one

/** show brings the checks up to date and returns the verdict in one sentence
 * if it has changed, for screen readers. */
export function show(status) {
  latest = status
  latestAt = new Date().toISOString()
  const failing = status.checks.filter(c => !c.ok)
  checks.update(status.checks)
  problems.update(failing)
  const sentence = [draw(), ...failing.map(c => title(c.name))].join(" ")
  const changed = told !== undefined && told !== sentence
  told = sentence
  return changed ? sentence : ""
}

/** setLost says whether the node is out of reach: then nothing that is shown is
 * known to be so. */
export function setLost(is) {
  lost = is
  draw()
}

/** setOthers tells of the nodes beside this one: how many, and how many of them
 * do not answer or are not in order. */
export function setOthers(all, wrong) {
  others = { all, wrong }
  draw()
}

// draw writes the verdict, which counts all that the page knows, and returns it.
function draw() {
  if (!latest) return ""
  const [state, text] = judge(latest)
  const verdict = byId("verdict")
  say(verdict, lost ? `Nothing is known since ${clock(latestAt)} UTC. Then: ${text.charAt(0).toLowerCase()}${text.slice(1)}` : text)
  mark(verdict, "data-state", lost ? "bad" : state)
  return text
}

function judge(status) {
  const failing = status.checks.filter(c => !c.ok)
  const letters = status.cursors.reduce((sum, c) => sum + c.dead, 0)
  const wrong = [
    failing.length ? `${many(failing.length, "check")} not in order` : "", letters ? many(letters, "dead letter") : "",
    others.wrong ? `${others.wrong} of ${many(others.all, "other node")} not in order` : "",
  ].filter(Boolean)
  if (wrong.length === 0) return ["ok", "Everything is in order."]
  const head = !status.accepting ? "Traffic should go elsewhere"
    : failing.some(c => c.name === "accept") ? "Not accepting events" : "Accepting events"
  return [status.accepting && head === "Accepting events" ? "warn" : "bad", `${head}; ${wrong.join(", ")}.`]
}
