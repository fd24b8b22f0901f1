// Calls of the node's admin API (see OPERATING.md). With a token it
// is sent as a header, which is why the live stream is read by fetch, too:
// EventSource cannot set one.

import { setClock } from "./format.js"

const root = new URL("../admin/v1/", import.meta.url) // also below a path that a proxy serves it at
const tokenKey = "forebay-token"

/** Refused is an answer that is not a success; its message is the node's. */
export class Refused extends Error {
  constructor(status, message, retryAfter) {
    super(message)
    this.status = status
    this.retryAfter = retryAfter // seconds, or 0
  }
}

export const token = () => sessionStorage.getItem(tokenKey)

/** setToken keeps the token until the tab is closed; null forgets it. */
export function setToken(text) {
  if (text) sessionStorage.setItem(tokenKey, text)
  else sessionStorage.removeItem(tokenKey)
}

async function ask(path, options = {}) {
  const headers = new Headers(options.headers)
  if (token()) headers.set("Authorization", `Bearer ${token()}`)
  let reply
  try {
    reply = await fetch(new URL(path, root), { ...options, headers, credentials: "omit", cache: "no-store" })
  } catch (err) {
    if (err.name === "AbortError") throw err
    throw new Error("The node does not answer.")
  }
  setClock(reply.headers.get("Date"))
  if (reply.ok) return reply
  const text = await reply.text()
  let message = `The node answered ${reply.status} ${reply.statusText}.`
  try {
    message = JSON.parse(text).error || message
  } catch { /* not the node's own answer, but that of a proxy */ }
  throw new Refused(reply.status, message, Number(reply.headers.get("Retry-After")) || 0)
}

export const get = async path => (await ask(path)).json()

export const post = async (path, body) => (await ask(path, { method: "POST", body: JSON.stringify(body) })).json()

/** lines returns the values of an answer of JSON lines. */
export async function lines(path) {
  const text = await (await ask(path)).text()
  return text.split("\n").filter(line => line).map(line => JSON.parse(line))
}

/** stream calls fn(name, value) for the events of a stream until it ends, and
 * throws if the node goes silent for longer than patience, in milliseconds. */
export async function stream(path, fn, { patience, opened }) {
  const silence = new AbortController()
  let timer
  const alive = () => {
    clearTimeout(timer)
    timer = setTimeout(() => silence.abort(), patience)
  }
  alive()
  try {
    const reply = await ask(path, { signal: silence.signal })
    opened()
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader()
    let rest = ""
    for (;;) {
      const { value, done } = await reader.read()
      if (done) throw new Error("The node ended the connection.")
      alive()
      const events = (rest + value).split("\n\n")
      rest = events.pop()
      for (const event of events) {
        const name = /^event: (.*)$/m.exec(event)?.[1]
        const data = /^data: (.*)$/m.exec(event)?.[1]
        if (name && data) fn(name, JSON.parse(data))
      }
    }
  } catch (err) {
    if (silence.signal.aborted) throw new Error(`The node said nothing for ${patience / 1000} s.`)
    if (err instanceof TypeError) throw new Error("The connection broke off.")
    throw err
  } finally {
    clearTimeout(timer)
  }
}

/** cursorPath is the path of a verb at a cursor. */
export const cursorPath = (name, verb) => `cursors/${encodeURIComponent(name)}/${verb}`
