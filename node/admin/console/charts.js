// The last hour: four small charts, each with what it shows in words, and all
// of it as a table.

import { byId, el, mark, put, say, table } from "./dom.js"
import { clock, now, rate, span } from "./format.js"
import { remember } from "./link.js"

const hour = 3600_000
const least = 300_000 // the shortest time that is drawn
const colours = 6 // that the style sheet knows
const height = 132, top = 10, bottom = 20

const svg = (tag, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag)
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value)
  return node
}

// measured is null where a latency is 0, which says that there was none.
const measured = seconds => (seconds > 0 ? seconds : null)

const perSecond = n => `${rate(n)}/s`

class Chart {
  constructor(title, format, series) {
    this.title = title
    this.format = format
    this.series = series // {name, value(point)}
    this.svg = svg("svg", { role: "img", height, width: "100%" })
    this.legend = el("table", { class: "legend" })
    this.readout = el("p", { class: "readout" })
    this.node = el("figure", { class: "chart" }, el("figcaption", {}, title), this.svg, this.readout, this.legend)
    this.svg.addEventListener("pointermove", event => this.point(event))
    this.svg.addEventListener("pointerleave", () => say(this.readout, ""))
  }

  // colour numbers a series' colour and dashes; those of cursors are the same
  // all over the page.
  colour(i) {
    return (this.series[i].colour ?? i) % colours
  }

  draw(points) {
    const width = Math.max(this.svg.clientWidth, 100)
    const [start, end] = shownRange()
    points = points.filter(p => Date.parse(p.at) >= start && Date.parse(p.at) <= end)
    this.points = points
    const all = this.series.map(s => points.map(s.value))
    const peak = Math.max(...all.flat().filter(v => v !== null), 0)
    const ceiling = nice(peak, this.format === span)
    const x = at => width * (Date.parse(at) - start) / (end - start)
    const y = v => height - bottom - (height - top - bottom) * v / ceiling
    this.x = x
    const drawn = []
    for (const [share, text] of [[0, "0"], [0.5, this.format(ceiling / 2)], [1, this.format(ceiling)]]) {
      drawn.push(svg("line", { x1: 0, x2: width, y1: y(share * ceiling), y2: y(share * ceiling), class: "grid" }))
      if (peak > 0) drawn.push(label(text, 2, Math.max(y(share * ceiling) - 2, 9), "start"))
    }
    for (const [share, anchor] of [[0, "start"], [0.5, "middle"], [1, "end"]]) {
      drawn.push(label(clock(new Date(start + share * (end - start)).toISOString()).slice(0, 5), width * share, height - 6, anchor))
    }
    for (const [i, values] of all.entries()) {
      drawn.push(svg("path", { d: path(points, values, x, y), class: `line s${this.colour(i)}` }))
    }
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`)
    this.svg.replaceChildren(...drawn)
    this.describe(all)
  }

  describe(all) {
    const told = this.series.map((s, i) => {
      const values = all[i].filter(v => v !== null)
      const latest = all[i].at(-1) ?? null
      return { name: s.name, latest: latest === null ? "none" : this.format(latest), most: values.length ? this.format(Math.max(...values)) : "none" }
    })
    mark(this.svg, "aria-label", `${this.title} over the last hour. ${told.map(t => `${t.name}: ${t.latest} now, ${t.most} at most`).join(". ")}.`)
    put(this.legend, el("caption", { class: "unseen" }, this.title), el("thead", {}, el("tr", {}, el("td"), el("th", { scope: "col" }, "now"), el("th", { scope: "col" }, "peak"))),
      el("tbody", {}, told.map((t, i) => el("tr", {}, el("th", { scope: "row" }, el("i", { class: `swatch s${this.colour(i)}` }), t.name), el("td", {}, t.latest), el("td", {}, t.most)))))
  }

  // point tells the figures under the pointer.
  point(event) {
    const at = event.clientX - this.svg.getBoundingClientRect().left
    let nearest = null
    for (const p of this.points ?? []) if (!nearest || Math.abs(this.x(p.at) - at) < Math.abs(this.x(nearest.at) - at)) nearest = p
    if (!nearest) return
    say(this.readout, `${clock(nearest.at)}: ${this.series.map(s => {
      const v = s.value(nearest)
      return `${s.name} ${v === null ? "none" : this.format(v)}`
    }).join(", ")}`)
  }
}

function label(text, x, y, anchor) {
  const node = svg("text", { x, y, "text-anchor": anchor })
  node.textContent = text
  return node
}

// path is a line through what was measured; where nothing was, it breaks off.
function path(points, values, x, y) {
  let d = "", on = false
  for (const [i, v] of values.entries()) {
    if (v === null) {
      on = false
      continue
    }
    const at = `${x(points[i].at).toFixed(1)} ${y(v).toFixed(1)}`
    d += on ? `L${at}` : `M${at}l.01 0` // a point that stands alone is a dot
    on = true
  }
  return d
}

// minutes are the ceilings, in seconds, of charts of a time between one minute
// and two days.
const minutes = [1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 720, 1440, 2880].map(m => m * 60)

// nice is the least ceiling that v does not exceed: of 1, 2, 5, 10 …, or a
// time that people count in.
function nice(v, ofTime) {
  if (!(v > 0)) return 1
  if (ofTime && v > 30 && v <= minutes.at(-1)) return minutes.find(n => n >= v)
  const power = 10 ** Math.floor(Math.log10(v))
  return [1, 2, 5, 10].map(m => m * power).find(n => n >= v * 0.999)
}

const fixed = [
  new Chart("Rates", perSecond, [
    { name: "events accepted", value: p => p.accepted_per_second },
    { name: "events dropped", value: p => p.events_dropped_per_second },
    { name: "requests", value: p => p.requests_per_second },
  ]),
  new Chart("Reply", span, [
    { name: "99th percentile", value: p => measured(p.reply_p99_seconds) },
    { name: "median", value: p => measured(p.reply_p50_seconds) },
  ]),
  new Chart("Sync of the log", span, [
    { name: "99th percentile", value: p => measured(p.sync_p99_seconds) },
    { name: "median", value: p => measured(p.sync_p50_seconds) },
  ]),
]
const lag = new Chart("Lag", span, [])
const all = [...fixed, lag]
put(byId("charts"), all.map(c => c.node))

let points = []

/** add takes points of the history that are newer than those it has, and draws. */
export function add(newer) {
  points = [...points, ...newer].filter(p => now() - Date.parse(p.at) <= hour)
  draw()
}

/** showCursors names the cursors whose lag is drawn, in their order. */
export function showCursors(cursors) {
  const names = cursors.map(c => c.name)
  if (names.join() === lag.series.map(s => s.name).join()) return
  lag.series = names.map((name, colour) => ({ name, colour, value: p => p.cursors[name]?.lag_seconds ?? null }))
  draw()
}

// What of the last hour is drawn: so many milliseconds up to now, from one time
// to another, or, without either, all that there is.
let range = {}

function shownRange() {
  const end = range.to ?? now()
  if (range.from) return [range.from, end]
  const first = points.length ? Date.parse(points[0].at) : end
  return [end - (range.last ?? Math.min(Math.max(end - first, least), hour)), end]
}

/** choose shows the time that names say: "15m", or two times; nothing is all. */
export function choose(names) {
  const [, size] = /^(\d+)m$/.exec(names[0] ?? "") ?? []
  const [from, to] = names.map(text => Date.parse(text))
  range = size ? { last: Math.min(Math.max(size * 60_000, least), hour) } : to > from ? { from, to } : {}
  const choice = byId("hour-range")
  choice.value = range.from ? "fixed" : [...choice.options].some(o => o.value === names[0]) ? names[0] : ""
  draw()
}
byId("hour-range").addEventListener("change", event => {
  const name = event.target.value
  remember("hour", ...(name ? [name] : []))
  choose(name ? [name] : [])
})

/** since is the time of the newest point, or nothing. */
export const since = () => points.at(-1)?.at

function draw() {
  for (const chart of all) chart.draw(points)
  if (byId("figures").open) tabulate()
}

// tabulate shows a point for each five minutes: the newest within them.
function tabulate() {
  const kept = new Map(points.map(p => [Math.floor(Date.parse(p.at) / 300_000), p]))
  const series = all.flatMap(chart => chart.series.map(s => ({ ...s, chart })))
  put(byId("figures").querySelector("div"),
    table("The last hour, every five minutes", ["Time (UTC)", ...series.map(s => ({ title: `${s.chart.title}: ${s.name}`, number: true }))],
      [...kept.values()].reverse().map(p => [clock(p.at), ...series.map(s => {
        const v = s.value(p)
        return v === null ? "none" : s.chart.format(v)
      })])))
}
byId("figures").addEventListener("toggle", () => byId("figures").open && tabulate())
new ResizeObserver(() => draw()).observe(byId("charts"))
