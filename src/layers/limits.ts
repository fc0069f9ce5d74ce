/**
 * What one layer may cost. A layer is made by whoever may push, so each number is the end of an attack, not a guess at
 * what is usual: the largest layers in use stay well below.
 */
export interface LayerLimits {
  /** Bytes of the archive, skipped files included: ends a bomb that inflates without end. Past it the layer fails. */
  readonly uncompressedBytes: number
  /** Headers in the archive: ends an archive of millions of empty files. Past it the layer fails. */
  readonly entries: number
  /** Bytes of one extended header (PAX, GNU long name), which is held whole. Past it the layer fails. */
  readonly headerBytes: number
  /** Bytes of all paths and link targets, which are held until the layer is done. Past it the layer fails. */
  readonly pathBytes: number
  /** Bytes of one path or link target; Linux allows 4096. A longer one is a problem, and its entry is left out. */
  readonly nameBytes: number
  /** Bytes of one file's content. A larger file that was wanted is a problem, and is not kept. */
  readonly fileBytes: number
  /** Files whose content is kept: ends a layer of nothing but manifests. Those past it are a problem, and not kept. */
  readonly keptFiles: number
  /** Bytes of all content that is kept, which is held until the layer is verified. Those past it are a problem. */
  readonly keptBytes: number
  /** Problems that are spelled out; the others are counted. */
  readonly problems: number
  /** Seconds from the first to the last byte: ends a registry that sends one byte a minute. Past it: `timeout`. */
  readonly seconds: number
}

const MiB = 2 ** 20

export const DEFAULT_LAYER_LIMITS: LayerLimits = {
  uncompressedBytes: 16 * 1024 * MiB,
  entries: 500_000,
  headerBytes: MiB,
  pathBytes: 64 * MiB,
  nameBytes: 4096,
  fileBytes: 32 * MiB,
  keptFiles: 50_000,
  keptBytes: 128 * MiB,
  problems: 100,
  seconds: 900
}

/** What putting layers on top of each other may cost. Past any of these: a LayerError `limit`. */
export interface OverlayLimits {
  /** Files and directories made, replaced ones included: one path of 4096 bytes makes up to 2047 directories. */
  readonly nodes: number
  /** Names looked up, those of symbolic links included: a chain of links makes a short path a long walk. */
  readonly lookups: number
  /** Characters of all final paths: a link to a deep directory makes each short path below it a long one. */
  readonly finalPathLength: number
  /** Problems that are spelled out; the others are counted. */
  readonly problems: number
}

export const DEFAULT_OVERLAY_LIMITS: OverlayLimits = {
  nodes: 2_000_000,
  lookups: 50_000_000,
  finalPathLength: 256 * MiB,
  problems: 100
}
