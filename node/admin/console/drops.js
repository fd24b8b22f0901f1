// What was not taken, by reason and project, and the drops as they happen.

import { lines } from "./api.js"
import { byId, el, mark, put, say, table } from "./dom.js"
import { clock, count, foreign, many, plain } from "./format.js"

const maxProjects = 20 // shown; those with the most drops
const maxTap = 100 // rows
const every = 300 // ms between two renderings of the tap

const total = counts => Object.values(counts ?? {}).reduce((a, b) => a + b, 0)
const name = project => (project === "" ? "no known key" : plain(project))

let reasonsShown, projectsShown

/** show brings the tables up to date. */
export function show(ledger) {
  const reasons = [
    ...Object.entries(ledger.requests.dropped ?? {}).map(([reason, n]) => [reason, "requests", n]),
    ...Object.entries(ledger.events.dropped ?? {}).map(([reason, n]) => [reason, "events", n]),
  ].filter(r => r[2] > 0).sort((a, b) => b[2] - a[2])
  const told = JSON.stringify(reasons)
  if (told !== reasonsShown) {
    reasonsShown = told
    put(byId("drop-reasons"), reasons.length === 0 ? el("p", { class: "hint" }, "Nothing was ever dropped.")
      : table("Drops by reason", ["Reason", "Counted in", { title: "Dropped", number: true }], reasons.map(([r, unit, n]) => [r, unit, count(n)])))
    for (const [reason] of reasons) {
      if (![...byId("tap-reason").options].some(o => o.value === reason)) byId("tap-reason").append(el("option", {}, reason))
    }
  }
  const projects = Object.entries(ledger.projects ?? {})
    .map(([project, t]) => ({ project, requests: total(t.requests.dropped), events: total(t.events.dropped), accepted: t.events.accepted }))
    .sort((a, b) => b.requests + b.events - a.requests - a.events || b.accepted - a.accepted)
  const shown = projects.slice(0, maxProjects)
  const text = JSON.stringify(shown)
  if (text === projectsShown) return
  projectsShown = text
  put(byId("drop-projects"), projects.length === 0 ? el("p", { class: "hint" }, "No project has sent anything yet.")
    : table("By project", ["Project", { title: "Events accepted", number: true }, { title: "Events dropped", number: true }, { title: "Requests dropped", number: true }],
      shown.map(p => [p.project === "" ? el("i", {}, name(p.project)) : foreign(p.project), count(p.accepted), count(p.events), count(p.requests)])),
  projects.length > maxProjects ? el("p", { class: "hint" }, `and ${many(projects.length - maxProjects, "project")} with fewer drops`) : null)
}

let tap = [] // the newest last
let missed = 0
let held = false
let timer

/** fill reads the drops that the node remembers. */
export async function fill() {
  tap = []
  missed = 0
  const had = await lines(`drops?limit=${maxTap}`)
  tap = [...had, ...tap.filter(d => d.number > (had.at(-1)?.number ?? 0))] // those that came meanwhile
  draw()
}

/** add takes one drop of the live stream; miss tells that some were not told. */
export function add(drop) {
  if (tap.length > 0 && drop.number <= tap.at(-1).number) return
  tap.push(drop)
  if (tap.length > maxTap * 4) tap = tap.slice(-maxTap * 2) // more than are shown, for the filter
  later()
}

export function miss({ drops }) {
  missed += drops
  later()
}

function later() {
  timer ??= setTimeout(() => {
    timer = undefined
    if (!held) draw()
  }, every)
}

function draw() {
  const reason = byId("tap-reason").value
  const shown = tap.filter(d => !reason || d.reason === reason).slice(-maxTap).reverse()
  say(byId("tap-note"), `${held ? "Held: the list stands still. " : ""}The last ${many(shown.length, "drop")}, never with a value that was sent.${missed ? ` ${many(missed, "drop")} came too fast to be shown.` : ""}`)
  put(byId("tap"), shown.length === 0 ? el("p", { class: "hint" }, "None yet.")
    : table("The last drops, the newest first", ["Time", "Project", "Reason", "Field and rule", "Sender"],
      shown.map(d => [clock(d.time), d.project === "" ? el("i", {}, name("")) : foreign(d.project), d.reason,
        [d.field ? foreign(d.field) : "", d.rule ? ` ${plain(d.rule)}` : "", d.looks_like ? ` looks like ${plain(d.looks_like)}` : ""],
        foreign([d.app_id, d.sdk_version].filter(Boolean).join(" "))])))
}

byId("tap-reason").addEventListener("change", draw)
byId("tap-hold").addEventListener("click", () => {
  held = !held
  mark(byId("tap-hold"), "aria-pressed", held)
  draw()
})
