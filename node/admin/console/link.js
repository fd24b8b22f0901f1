// Links into the page: what stands behind the # names an event, a cursor or a
// time, so that a message or a runbook can point there.
//
//   #trace/4711   #trace/key/KEY   #trace/key/KEY/PROJECT
//   #cursors/NAME
//   #hour/15m     #hour/2026-11-23T10:00:00Z/2026-11-23T10:20:00Z

import { byId } from "./dom.js"

/** open shows what the page's address names, if it names something of a part. */
export function open({ trace, cursors, charts }) {
  const [part, ...rest] = location.hash.slice(1).split("/")
  const names = rest.map(text => {
    try { return decodeURIComponent(text) } catch { return text }
  })
  if (names.length === 0 || names[0] === "") return
  if (part === "trace") trace.open(names)
  else if (part === "cursors") cursors.open(names[0])
  else if (part === "hour") {
    charts.choose(names)
    byId("hour").scrollIntoView()
  }
}

/** link is the address of a part of the page. */
export const link = (...names) => `#${names.map(name => encodeURIComponent(name)).join("/")}`

/** remember puts it into the page's address, without a step of the history. */
export const remember = (...names) => history.replaceState(null, "", link(...names))
