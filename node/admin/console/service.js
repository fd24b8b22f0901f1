// Taking the node out of service and back, and its configuration.

import { post } from "./api.js"
import { ask } from "./ask.js"
import { byId, el, put, say, table } from "./dom.js"
import { many, plain } from "./format.js"

let done = () => {}
let drained = false

/** whenDone has fn called after each command. */
export function whenDone(fn) {
  done = fn
}

/** show takes the checks of a status. */
export function show(checks) {
  drained = checks.some(c => c.name === "drain" && !c.ok)
  say(byId("drain"), drained ? "Back into service …" : "Take out of service …")
  say(byId("service-note"), drained ? "Load balancers that ask /readyz send nothing here. Events that come all the same are taken."
    : "Load balancers that ask /readyz send traffic here while the checks allow it.")
}

function drain() {
  const undo = drained
  ask({
    title: undo ? "Back into service" : "Take out of service",
    lead: undo ? "The node is ready again, and load balancers send traffic." : "The node is not ready from now on, so that load balancers send traffic elsewhere. What comes all the same is taken, and everything is delivered. It is ready again after this is undone, or a restart.",
    confirm: undo ? "Be ready again" : "Send traffic elsewhere", danger: !undo, whyWanted: !undo, home: byId("drain"),
    async run(command) {
      await post("drain", { ...command, ...(undo ? { undo: true } : {}) })
      done()
      return undo ? "The node takes traffic again." : "The node tells load balancers to go elsewhere."
    },
  })
}

function reload() {
  ask({
    title: "Reload the configuration",
    lead: "The node reads its configuration anew and applies what can change live. If anything in it is wrong, nothing changes.",
    confirm: "Reload", home: byId("reload"),
    async run(command) {
      const { applied, refused } = await post("config/reload", command)
      done()
      const rows = [...(applied ?? []).map(c => [c, "in use"]), ...(refused ?? []).map(c => [c, "wants a restart"])]
      put(byId("reload-result"), rows.length === 0 ? el("p", { class: "hint" }, "Nothing differs from what is in use.")
        : table("What differs", ["Field", "From", "To", "State"], rows.map(([c, state]) => [plain(c.field), plain(c.from), plain(c.to), state])))
      return `${many(applied?.length ?? 0, "change")} in use, ${refused?.length ?? 0} left for a restart.`
    },
  })
}
byId("drain").addEventListener("click", drain)
byId("reload").addEventListener("click", reload)
