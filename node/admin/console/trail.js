// The audit trail: which operator did what, when and why, before and after.

import { lines } from "./api.js"
import { byId, el, put, say, table } from "./dom.js"
import { count, foreign, many, plain, when } from "./format.js"

const newest = 100 // entries shown

let reading = 0

/** read shows the newest entries. */
export async function read() {
  const mine = ++reading
  try {
    const entries = (await lines(`audit-log?limit=${newest}`)).reverse()
    if (mine !== reading) return
    say(byId("trail-note"), entries.length === 0 ? "No operator has changed anything yet." : `The last ${many(entries.length, "change")}, the newest first. forebay audit-log prints all.`)
    put(byId("trail-list"), entries.length === 0 ? [] : table("What operators did, the newest first", ["When", "Who", "What", "Cursor", "Why", "Change"],
      entries.map(e => [when(e.at), foreign(e.by), e.verb, e.cursor, foreign(e.why), change(e.before, e.after)])))
  } catch (err) {
    if (mine === reading) say(byId("trail-note"), err.message)
  }
}

// change tells what is different after a command, if it is more than a pause.
function change(before, after) {
  const text = differences(before, after)
  return text && el("span", { class: "long" }, text)
}

function differences(before, after) {
  const text = value => (value === undefined || value === null ? "none" : typeof value === "number" ? count(value) : typeof value === "object" ? plain(JSON.stringify(value)) : plain(value))
  if (typeof before !== "object" || typeof after !== "object" || before === null || after === null) {
    return [before, after].filter(v => v !== undefined && v !== null).map(text).join(" → ")
  }
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter(key => key !== "pause" && JSON.stringify(before[key]) !== JSON.stringify(after[key]))
    .map(key => `${key.replaceAll("_", " ")} ${text(before[key])} → ${text(after[key])}`).join(", ")
}

byId("trail-again").addEventListener("click", read)
