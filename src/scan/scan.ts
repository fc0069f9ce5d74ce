/** What others may use of the scan: the runner of its jobs, and reading one image without a store. */
export { type ImageInspection, inspectImage } from './inspect-image.ts'
export { createImageReader, type ImageReader, type ImageReading, type LayerShelf } from './read-image.ts'
export { createScanner, type ScanNowResult, type Scanner } from './scanner.ts'
