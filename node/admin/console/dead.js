// Events that a destination refused for good: look at them, requeue, discard.

import { cursorPath, lines, post } from "./api.js"
import { ask } from "./ask.js"
import { List, byId, el, facts, put, say } from "./dom.js"
import { ago, count, foreign, many, plain, when } from "./format.js"

const page = 10 // letters shown at first, and added at a time
const most = 1000 // shown at once

let cursors = []
let counts = "" // of the selected cursor when the list was read
let limit = page
let letters = []
let filter = { project: "", session: "" }
let trace = () => {}
let done = () => {}
let reading = 0
const unfolded = new Set() // reasons of which every letter is shown

/** start names what is called to trace a seq, and after each command. */
export function start(calls) {
  ({ trace, done } = calls)
}

const selected = () => cursors.find(c => c.name === byId("dead-cursor").value)
const filtered = () => Boolean(filter.project || filter.session)

const list = new List(byId("dead-list"), d => d.seq, d => {
  const text = el("pre", { tabindex: "0", "aria-label": `Event ${d.seq}` })
  const event = el("details", {}, el("summary", {}, "Event, as it was sent"), text)
  event.addEventListener("toggle", () => event.open && say(text, plain(decoded(d.raw))))
  const state = el("span", { class: "badge", "data-state": "warn", hidden: true })
  const alike = el("p", { class: "alike", hidden: true })
  const verb = (name, label, act) => el("button", { type: "button", "aria-label": `${label} dead letter ${d.seq}`, onclick: act }, name)
  return {
    node: el("article", { class: "letter", "data-seq": d.seq },
      el("header", {}, el("h3", {}, `seq ${count(d.seq)}`), el("span", { class: "since" }, "set aside ", ago(d.buried_at)), state),
      el("p", { class: "reason" }, foreign(d.reason)),
      el("dl", { class: "facts" }, facts([
        ["project", foreign(d.project)], ["session", foreign(d.session)], ["received", when(d.received_at)], ["attempts", count(d.attempts)],
        ["sender", foreign([d.app_id, d.sdk_version].filter(Boolean).join(" "))], ["of another log", d.imported ? "imported" : null],
      ])),
      event,
      el("div", { class: "buttons" },
        verb("Requeue …", "Requeue", () => change("requeue", [d])), verb("Discard …", "Discard", () => change("discard", [d])),
        verb("Trace", "Trace", () => trace(d.seq))), alike),
    update(d) {
      alike.hidden = !d.others
      if (d.others) {
        put(alike, `${many(d.others.length, "more letter")} ${d.others.length === 1 ? "has" : "have"} the same reason. `,
          el("button", { type: "button", class: "quiet", onclick: () => { unfolded.add(d.reason); draw(selected()) } }, "Show them"), " ",
          el("button", { type: "button", class: "quiet", onclick: () => change("requeue", [d, ...d.others]) }, `Requeue these ${count(d.others.length + 1)} …`))
      }
      const text = d.requeued ? "requeued: waits to be delivered" : d.queued ? "stands in line: refused by nobody" : ""
      say(state, text)
      state.hidden = !text
    },
  }
})

function decoded(raw) {
  return new TextDecoder().decode(Uint8Array.from(atob(raw), c => c.charCodeAt(0)))
}

/** show takes the cursors of a status: the choice, the counts, and the list
 * again where they have changed. */
export function show(all) {
  cursors = all
  const choice = byId("dead-cursor")
  const names = all.map(c => c.name)
  if ([...choice.options].map(o => o.value).join() !== names.join()) {
    const had = choice.value
    put(choice, names.map(name => el("option", { value: name })))
    choice.value = names.includes(had) ? had : all.reduce((a, b) => (b.dead > a.dead ? b : a), all[0])?.name
  }
  for (const option of choice.options) {
    const n = all.find(c => c.name === option.value).dead
    say(option, `${option.value} (${count(n)})`)
  }
  const total = all.reduce((sum, c) => sum + c.dead, 0)
  say(byId("dead-count"), count(total))
  byId("dead-count").hidden = total === 0
  const c = selected()
  if (c && counts !== state(c)) read()
}

const state = c => `${c.name} ${c.dead} ${c.requeued ?? 0} ${c.discarded ?? 0}`

async function read() {
  const c = selected()
  if (!c) return
  counts = state(c)
  const mine = ++reading
  const query = new URLSearchParams({ limit: Math.min(limit, most) })
  for (const [name, value] of Object.entries(filter)) if (value) query.set(name, value)
  try {
    const found = c.dead === 0 ? [] : await lines(`${cursorPath(c.name, "dead")}?${query}`)
    if (mine !== reading) return
    letters = found
    draw(c)
  } catch (err) {
    if (mine !== reading) return
    counts = "" // again with the next status
    say(byId("dead-note"), err.message)
  }
}

// folded are the letters to show: of those with the same reason the first,
// which knows the others, unless they are asked for.
function folded() {
  const first = new Map()
  for (const d of letters) {
    d.others = null
    const f = first.get(d.reason)
    if (!f) first.set(d.reason, d)
    else if (!unfolded.has(d.reason)) (f.others ??= []).push(d)
  }
  return letters.filter(d => unfolded.has(d.reason) || first.get(d.reason) === d)
}

function draw(c) {
  list.update(folded())
  const more = letters.length === limit && limit < most && (filtered() || letters.length < c.dead)
  say(byId("dead-note"), c.dead === 0 ? `Cursor ${c.name} has no dead letters.`
    : letters.length === 0 ? "None match."
      : filtered() ? `${many(letters.length, "letter")} read, the oldest first${more ? "; there may be more" : ""}.`
        : `${count(letters.length)} of ${many(c.dead, "letter")} read, the oldest first.`)
  const all = !filtered() && c.dead > letters.length
  put(byId("dead-actions"), letters.length === 0 ? [] : [
    more ? el("button", { type: "button", onclick: () => { limit += page; read() } }, `Show ${page} more`) : null,
    letters.length > 1 ? el("button", { type: "button", onclick: () => change("requeue", letters) }, `Requeue the ${count(letters.length)} read …`) : null,
    letters.length > 1 ? el("button", { type: "button", onclick: () => change("discard", letters) }, `Discard the ${count(letters.length)} read …`) : null,
    all ? el("button", { type: "button", onclick: () => change("requeue", null) }, `Requeue all ${count(c.dead)} …`) : null,
  ])
}

// change asks to requeue or discard letters, named by their seqs; null is all
// that the cursor has.
function change(verb, which) {
  const c = selected()
  const many_ = many(which?.length ?? c.dead, "letter")
  const discard = verb === "discard"
  const sessions = new Set(which?.map(d => `${d.project}\0${d.session}`))
  ask({
    title: `${discard ? "Discard" : "Requeue"} ${many_} of ${c.name}`,
    lead: discard ? "They are removed for ever, and counted as discarded." : "They are delivered once more, in ascending order; what is refused again comes back here.",
    async look() {
      const show = which ? [
        el("p", { class: "sum" }, el("b", {}, many_), ` of ${many(sessions.size, "session")}, seq ${count(which[0].seq)}${which.length > 1 ? ` to ${count(which.at(-1).seq)}` : ""}.`),
        el("ul", { class: "short" }, which.slice(0, 5).map(d => el("li", {}, `seq ${count(d.seq)}, `, foreign(d.project), " ", foreign(d.session), ": ", foreign(d.reason)))),
        which.length > 5 ? el("p", { class: "hint" }, `and ${count(which.length - 5)} more, all shown in the list`) : null,
      ] : [el("p", { class: "sum" }, el("b", {}, many_), ": all that the cursor has.")]
      return { show: show.filter(Boolean), confirm: `${discard ? "Discard" : "Requeue"} ${many_}` }
    },
    danger: discard, whyWanted: discard, home: byId("dead-cursor"),
    async run(command) {
      const reply = await post(cursorPath(c.name, `dead/${verb}`), { ...command, filter: which ? { seqs: which.map(d => d.seq) } : {} })
      done()
      read()
      return `${many(reply.letters, "letter")} of cursor ${c.name} ${discard ? "discarded" : "requeued"}.`
    },
  })
}

byId("dead-cursor").addEventListener("change", () => {
  limit = page
  read()
})
byId("dead-filter").addEventListener("submit", event => {
  event.preventDefault()
  filter = { project: byId("dead-project").value.trim(), session: byId("dead-session").value.trim() }
  limit = page
  read()
})
