/** The labels of an image that say which service it is, and where its source lies. */

/** What the labels are called in the settings. */
export interface LabelNames {
  readonly serviceName: string
  readonly gitUrl: string
}

/** The OCI annotations that mean the same, https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md */
const TITLE_LABEL = 'org.opencontainers.image.title'
const SOURCE_LABEL = 'org.opencontainers.image.source'

/** What the labels say, the service's name trimmed, the address as it is; null where neither the label nor the annotation says anything. */
export function labelsOf(
  labels: Readonly<Record<string, string>>,
  names: LabelNames
): { service: string | null; gitUrl: string | null } {
  return {
    service: labelled(labels, names.serviceName, TITLE_LABEL)?.trim() ?? null,
    gitUrl: labelled(labels, names.gitUrl, SOURCE_LABEL)
  }
}

function labelled(labels: Readonly<Record<string, string>>, ...names: string[]): string | null {
  for (const name of names) {
    const value = Object.hasOwn(labels, name) ? labels[name] : undefined
    if (value !== undefined && value.trim() !== '') return value
  }
  return null
}
