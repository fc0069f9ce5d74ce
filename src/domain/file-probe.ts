/** What is known of a file in a layer before its content is read: enough to decide whether it is worth reading. */
export interface FileProbe {
  /** The path inside the layer, without a leading slash: `app/node_modules/left-pad/package.json`. */
  readonly path: string
  /** Bytes of content. */
  readonly size: number
  /** The permission bits as the archive states them, such as 0o755. */
  readonly mode: number
  /** The first bytes of the content, at most 256: enough for the magic number and the ELF header of a binary. */
  readonly firstBytes: Uint8Array
}
