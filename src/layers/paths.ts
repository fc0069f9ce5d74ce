import { type Buffer, isUtf8 } from 'node:buffer'

// Whether a path has an empty, `.` or `..` segment; nearly none has, so that nearly none is taken apart.
const ODD_SEGMENT = /(?:^|\/)\.{0,2}(?:\/|$)/

/**
 * The path of an entry inside the layer, as container runtimes clean it (Go's `filepath.Clean` on a relative path): no
 * leading or trailing slash, no empty or `.` segment, `a/../b` is `b`. The root is the empty string.
 * @returns null where the path leaves the root.
 */
export function normalisePath(path: string): string | null {
  let text = path
  while (text.endsWith('/')) text = text.slice(0, -1)
  if (!ODD_SEGMENT.test(text)) return text
  const segments: string[] = []
  for (const segment of text.split('/')) {
    if (segment === '' || segment === '.') continue
    if (segment !== '..') segments.push(segment)
    else if (segments.pop() === undefined) return null
  }
  return segments.join('/')
}

/**
 * A name in an archive as text. Linux takes any bytes; those that are no UTF-8 are written `\xe9`, since replacing them by
 * one character would make two files of different names one.
 */
export function decodeName(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8')
  let text = ''
  let at = 0
  while (at < bytes.length) {
    const length = sequenceLength(bytes, at)
    if (length === 0) {
      text += `\\x${(bytes[at] ?? 0).toString(16).padStart(2, '0')}`
      at++
    } else {
      text += bytes.toString('utf8', at, at + length)
      at += length
    }
  }
  return text
}

/** How many bytes the valid UTF-8 sequence at `at` has; 0 where there is none. */
function sequenceLength(bytes: Buffer, at: number): number {
  const first = bytes[at] ?? 0
  const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
  return isUtf8(bytes.subarray(at, at + length)) ? length : 0
}
