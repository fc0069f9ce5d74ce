export { LayerError, type LayerErrorCode } from './layer-error.ts'
export {
  DEFAULT_LAYER_LIMITS,
  type LayerLimits,
  type OverlayLimits
} from './limits.ts'
export { decodeListing, encodeListing, type LayerEntry } from './listing.ts'
export { type Overlay, type OverlayFile, overlay } from './overlay.ts'
export type { LayerProblem } from './problems.ts'
export {
  type KeptFile,
  type LayerContents,
  type LayerDescriptor,
  type ReadLayerOptions,
  readLayer
} from './read-layer.ts'
