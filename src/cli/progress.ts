/** How often a line of progress is drawn anew, in milliseconds. */
const PROGRESS_MS = 100
const ERASE_LINE = '\r\u001b[K'

/** A line on stderr that changes, where that is a terminal; nothing elsewhere. `end` removes it. */
export function createProgress(): { readonly show: (text: string) => void; readonly end: () => void } {
  if (!process.stderr.isTTY) return { show: () => {}, end: () => {} }
  let shownAt = 0
  return {
    show(text) {
      const now = Date.now()
      if (now - shownAt < PROGRESS_MS) return
      shownAt = now
      process.stderr.write(`${ERASE_LINE}${text}`)
    },
    end() {
      if (shownAt > 0) process.stderr.write(ERASE_LINE)
    }
  }
}
