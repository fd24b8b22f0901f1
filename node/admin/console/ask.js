// The dialog that every command goes through: what it means, who asks and why,
// and then the node's answer, which is shown here if it refuses.

import { byId, el, put, say } from "./dom.js"

const operatorKey = "forebay-operator"

/** ask shows a command and runs it once the operator has confirmed.
 *
 *   title, lead   what is asked
 *   parts         nodes with further fields
 *   look          async: reads what the command would do; {show, confirm, args},
 *                 without confirm it cannot be done. Whatever changes in parts
 *                 makes it out of date.
 *   asks          look is called when the operator asks for it, not at once
 *   confirm       the button's text, unless look says it
 *   danger        the button looks so
 *   whyWanted     a reason must be given
 *   run           async (command, args): does it, and returns what to tell
 *   home          where the focus goes if its place is no more
 */
export function ask({ title, lead, parts = [], look, asks, confirm = "", danger, whyWanted, run, home }) {
  const problem = el("p", { class: "problem", role: "alert" })
  const preview = el("div", { class: "preview", role: "status" })
  const by = el("input", { required: true, maxlength: 100, autocomplete: "name", value: localStorage.getItem(operatorKey) ?? "" })
  const why = el("input", { required: Boolean(whyWanted), maxlength: 500, autocomplete: "off" })
  const go = el("button", { class: danger ? "danger" : "primary", value: "go" }, confirm)
  const peek = asks ? el("button", { type: "button", class: "primary", onclick: () => refresh() }, "Preview") : null
  const cancel = el("button", { type: "button", onclick: () => dialog.close() }, "Cancel")
  const fields = el("div", { class: "parts" }, parts)
  const who = el("div", { class: "who" },
    el("label", {}, "Your name", by), el("label", {}, whyWanted ? "Why" : "Why (may be empty)", why))
  const form = el("form", { novalidate: true }, el("h2", { id: "ask-title" }, title), el("p", {}, lead), fields, preview, who, problem,
    el("div", { class: "buttons" }, cancel, peek, go))
  const dialog = el("dialog", { "aria-labelledby": "ask-title" }, form)
  let seen = look ? null : { confirm }
  let asked = 0
  let busy = false

  const ready = () => {
    go.disabled = busy || !seen?.confirm
    go.hidden = Boolean(asks) && !seen?.confirm
    who.hidden = Boolean(look) && !seen?.confirm
    if (peek) peek.className = seen?.confirm ? "" : "primary"
    if (seen?.confirm) say(go, seen.confirm)
  }
  const refresh = async () => {
    const mine = ++asked
    seen = null
    say(problem, "")
    put(preview, el("p", { class: "hint" }, "Looking …"))
    ready()
    try {
      const found = await look()
      if (mine !== asked) return
      seen = found
      put(preview, found.show)
      if (asks) preview.scrollIntoView({ block: "nearest" })
    } catch (err) {
      if (mine !== asked) return
      put(preview)
      say(problem, err.message)
    }
    ready()
  }
  fields.addEventListener("input", () => {
    if (!look) return
    asked++
    seen = null
    put(preview)
    ready()
  })
  form.addEventListener("submit", async event => {
    event.preventDefault()
    if (busy) return
    if (!seen?.confirm) {
      if (asks) refresh()
      return
    }
    for (const field of [by, why]) {
      field.value = field.value.trim()
      const missing = field.required && field.value === ""
      field.setAttribute("aria-invalid", missing)
      if (!missing) continue
      say(problem, field === by ? "Say who you are: it goes into the audit trail." : "Say why: it goes into the audit trail.")
      field.focus()
      return
    }
    localStorage.setItem(operatorKey, by.value)
    busy = true
    say(problem, "")
    ready()
    try {
      const text = await run({ by: by.value, why: why.value }, seen.args)
      busy = false
      dialog.close()
      notice(text)
    } catch (err) {
      busy = false
      if (!dialog.open) notice(`${title}: ${err.message}`)
      say(problem, err.message)
      ready()
    }
  })
  dialog.addEventListener("cancel", event => busy && event.preventDefault())
  dialog.addEventListener("close", () => {
    dialog.remove()
    if (document.activeElement === document.body) home?.focus()
  })
  document.body.append(dialog)
  ready()
  dialog.showModal()
  ;(form.querySelector(".parts input, .parts select") ?? (look ? cancel : by)).focus()
  if (look && !asks) refresh()
}

let hiding

/** notice tells what came of a command, for a while. */
export function notice(text) {
  clearTimeout(hiding)
  const close = el("button", { type: "button", class: "quiet", onclick: () => put(byId("notice")) }, "Close")
  put(byId("notice"), el("p", {}, text), close)
  hiding = setTimeout(() => put(byId("notice")), 20_000)
}

/** askToken asks for the node's token until one is taken: attempt(text) throws
 * what is wrong with it. */
export function askToken(reason, attempt) {
  return new Promise(resolve => {
    const field = el("input", { type: "password", required: true, autocomplete: "off", spellcheck: "false" })
    const problem = el("p", { class: "problem", role: "alert" })
    const form = el("form", {}, el("h2", { id: "token-title" }, "This node wants a token"),
      el("p", {}, "It is what the file says that the node’s setting admin.token_file names. It is kept until this tab is closed."),
      el("label", {}, "Token", field), problem, el("div", { class: "buttons" }, el("button", { class: "primary" }, "Go on")))
    const dialog = el("dialog", { id: "token", closedby: "none", "aria-labelledby": "token-title" }, form)
    say(problem, reason)
    form.addEventListener("submit", async event => {
      event.preventDefault()
      try {
        await attempt(field.value.trim())
        dialog.remove()
        resolve()
      } catch (err) {
        say(problem, err.message)
        field.select()
      }
    })
    dialog.addEventListener("close", () => show()) // without the token there is nothing else to do
    const show = () => {
      dialog.showModal()
      field.focus()
    }
    document.body.append(dialog)
    show()
  })
}
