// The one stream that the page follows: status each second, drops, log lines.

import { Refused, stream } from "./api.js"

const patience = 20_000 // the node gives a sign of life every 15 s, and its status each second
const longestWait = 15_000 // between two tries

/** follow keeps the stream for as long as the page lives. told is called with
 * each event; up when the stream stands; down(error, at) when it does not, with
 * the time of the next try in milliseconds. The function that is returned tries
 * at once. If the node wants a token, unlock is awaited before the next try. */
export function follow({ told, up, down, unlock }) {
  let wake = () => {}
  const run = async () => {
    for (let failures = 0; ; failures++) {
      let reason
      const opened = () => {
        failures = 0
        up()
      }
      try {
        await stream("live?topics=status,drops,log", told, { patience, opened })
      } catch (err) {
        reason = err
      }
      if (reason instanceof Refused && reason.status === 401) {
        await unlock(reason)
        continue
      }
      const wait = Math.max(Math.min(1000 * 2 ** failures, longestWait), (reason.retryAfter ?? 0) * 1000)
      down(reason, Date.now() + wait)
      await new Promise(resolve => {
        const timer = setTimeout(resolve, wait)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
  run()
  return () => wake()
}
