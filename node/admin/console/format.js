// Figures, times and foreign text as people read them.

import { el, say } from "./dom.js"

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 })

/** count is a whole number with its thousands set apart. */
export const count = n => grouped.format(n ?? 0)

/** many is a count with its noun: many(1, "event") is "1 event". */
export const many = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`

/** tidy sets the thousands apart in a sentence of the node: of seqs, and of
 * counts, which have a noun behind them. */
export const tidy = text => text.replace(/(\bseqs? |\bto )(\d{4,})\b|(?<![\w.:,/-])(\d{4,})(?= (?:of \d|events?|bytes|seqs?|requests?|sessions?|rows|drops?|keys?|dead letters?|behind)\b)/g,
  (_, before, seq, n) => `${before ?? ""}${count(seq ?? n)}`)

/** rate is a number a second, with as many digits as say something. */
export function rate(n) {
  if (!n) return "0"
  if (n >= 100) return count(n)
  return n >= 10 ? n.toFixed(1) : n >= 0.01 ? n.toFixed(2) : "< 0.01"
}

/** bytes is a size in binary units. */
export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
  let at = 0
  for (n = n ?? 0; n >= 1024 && at < units.length - 1; n /= 1024) at++
  return `${at === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[at]}`
}

/** span is a time that something takes, given in seconds: at most two units. */
export function span(seconds) {
  if (!seconds) return "0 s"
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`
  if (seconds < 1) return `${seconds < 0.01 ? (seconds * 1000).toFixed(1) : Math.round(seconds * 1000)} ms`
  if (seconds < 60) return `${seconds < 10 ? Number(seconds.toFixed(1)) : Math.round(seconds)} s`
  const whole = Math.round(seconds)
  for (const [unit, size, next, part] of [["d", 86400, "h", 3600], ["h", 3600, "min", 60], ["min", 60, "s", 1]]) {
    if (whole < size) continue
    const rest = Math.floor(whole % size / part)
    return `${count(Math.floor(whole / size))} ${unit}${rest ? ` ${rest} ${next}` : ""}`
  }
}

/** percent of a share of 1. */
export const percent = share => `${(share * 100).toFixed(share < 0.1 && share > 0 ? 1 : 0)} %`

// How far the node's clock is ahead of this browser's, in milliseconds. Ages
// are told by the node's.
let ahead = 0

/** setClock notes the Date header of an answer of the node. */
export function setClock(date) {
  const theirs = Date.parse(date)
  if (Number.isNaN(theirs)) return
  const by = theirs - Date.now()
  ahead = Math.abs(by) > 2000 ? by : 0 // the header counts whole seconds
}

/** now is the node's time in milliseconds. */
export const now = () => Date.now() + ahead

/** stamp is a time to the second, in UTC, without saying so. */
export const stamp = iso => new Date(iso).toISOString().slice(0, 19).replace("T", " ")

/** clock is stamp without the day, for what happened of late. */
export const clock = iso => stamp(iso).slice(11)

// since is how far a time is from now, in the largest unit that it fills.
function since(iso) {
  const seconds = Math.abs(now() - Date.parse(iso)) / 1000
  const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"]].find(([size]) => seconds >= size) ?? [1, "s"]
  return `${count(Math.floor(seconds / size))} ${unit}`
}

/** age is how long ago a time was, or in how long it will be. */
export const age = iso => (Date.parse(iso) > now() + 1000 ? `in ${since(iso)}` : `${since(iso)} ago`)

/** when is a <time> with its age, which goes on by itself (see tick). */
export function when(iso) {
  if (!iso) return el("span", {}, "unknown")
  return el("time", { datetime: iso }, `${stamp(iso)} UTC `, el("span", { class: "age", "data-age": iso }, age(iso)))
}

/** ago is a <time> that shows the age alone; the time itself is its title. */
export function ago(iso) {
  return el("time", { datetime: iso, title: `${stamp(iso)} UTC`, "data-age": iso }, age(iso))
}

/** lasting is a <time> that shows for how long something has been so. */
export function lasting(iso) {
  return el("time", { datetime: iso, title: `since ${stamp(iso)} UTC`, "data-lasting": iso }, `for ${since(iso)}`)
}

/** tick brings all ages on the page up to date. */
export function tick() {
  for (const node of document.querySelectorAll("[data-age]")) say(node, age(node.dataset.age))
  for (const node of document.querySelectorAll("[data-lasting]")) say(node, `for ${since(node.dataset.lasting)}`)
}

/** plain is foreign text with what cannot be seen, or would turn the line
 * around, spelt out. */
export function plain(text) {
  return String(text ?? "").replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    c => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)
}

/** foreign is plain in an element of its own, so that its script's direction
 * does not reach its neighbours. */
export const foreign = text => (text ? el("bdi", {}, plain(text)) : null)
