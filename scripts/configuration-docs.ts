import { documentedVariables } from '../src/config/config.ts'

// A bar would end the table's cell.
const cell = (text: string) => text.replaceAll('|', '\\|')

/** The content of docs/configuration.md: what the schema of the settings says of each. */
export function configurationDocs(): string {
  const rows = documentedVariables.map(({ name, default: value, meaning }) => {
    const written = value === null ? '–' : `\`${value}\``
    return `| \`${name}\` | ${cell(written)} | ${cell(meaning)} |`
  })
  return `# Configuration

<!-- Written by \`npm run docs\` from src/config/variables.ts. A test checks that the two agree. -->

The service reads its settings from environment variables, and from a file \`.env\` in the working directory if there is
one; what the environment sets wins. All have defaults. A variable that is set to nothing counts as unset. When any is
wrong, the service says all that is wrong in one message and ends with exit code 2.

| variable | default | meaning |
| --- | --- | --- |
${rows.join('\n')}

The AWS credentials, and other addresses of AWS (\`AWS_ENDPOINT_URL_SQS\`, \`AWS_ENDPOINT_URL_ECR\`), are read by the
[AWS SDK](https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html) as it does everywhere.
`
}
