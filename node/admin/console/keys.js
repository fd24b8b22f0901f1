// The keys that the node knows, while somebody looks; one of them can be denied
// on this node at once, whatever their source says.

import { lines, post } from "./api.js"
import { ask } from "./ask.js"
import { byId, el, mark, put, say, table } from "./dom.js"
import { foreign, many, plain, when } from "./format.js"

const most = 500 // rows
let done = () => {}

/** whenDone has fn called after each command. */
export function whenDone(fn) {
  done = fn
}

async function read() {
  try {
    const all = await lines("keys?denied=false")
    say(byId("keys-note"), `${many(all.length, "key")}${all.length > most ? `; the first ${most} are shown, forebay keys list has all` : ""}.`)
    put(byId("keys-list"), table("Keys, by id", ["Id", "Project", "State", "Denied", ""], all.slice(0, most).map(row)))
  } catch (err) {
    say(byId("keys-note"), err.message)
  }
}

function row(k) {
  const state = el("span", { class: "badge" }, k.state)
  mark(state, "data-state", { active: "ok", denied: "bad" }[k.state] ?? "warn")
  const verb = k.denied ? "allow" : "deny"
  return [k.id, foreign(k.project), state, k.denied ? el("span", { class: "long" }, `by ${plain(k.denied.by)}, `, when(k.denied.at), k.denied.why ? `: ${plain(k.denied.why)}` : "") : "",
    k.state === "active" || k.denied ? el("button", { type: "button", "aria-label": `${verb} key ${k.id}`, onclick: () => change(k, verb) }, verb === "deny" ? "Deny …" : "Allow …") : ""]
}

function change(k, verb) {
  const deny = verb === "deny"
  ask({
    title: `${deny ? "Deny" : "Allow"} key ${k.id} of ${plain(k.project)}`,
    lead: deny ? "What is sent with it to this node is dropped from now on. Other nodes do not hear of it: revoke it at the source, too." : "The node takes what is sent with it again, if its source says that it is valid.",
    confirm: deny ? "Deny" : "Allow", danger: deny, whyWanted: deny, home: byId("key-table"),
    async run(command) {
      await post(`keys/${verb}`, { ...command, key: k.id })
      done()
      read()
      return `Key ${k.id} is ${deny ? "denied" : "allowed"} on this node.`
    },
  })
}
byId("key-table").addEventListener("toggle", () => byId("key-table").open && read())
