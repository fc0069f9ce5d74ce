import { type App, answers, textAnswer } from '../app.ts'

/** Links are relative, so that the page works below a prefix. No script and no style: its policy allows none. */
const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>CDP Portal Backend</title>
</head>
<body>
<h1>CDP Portal Backend</h1>
<p>What is running where, what can be deployed, and what is inside it.</p>
<ul>
<li><a href="whats-running-where">What is running where</a></li>
<li><a href="deployments">Deployments</a></li>
<li><a href="services">Services</a></li>
<li><a href="artifacts">Artifacts</a></li>
<li><a href="events">Events</a></li>
<li><a href="swagger">The API</a> (<a href="openapi.json">OpenAPI</a>)</li>
<li><a href="health/ready">Health</a>, <a href="metrics">metrics</a></li>
</ul>
</body>
</html>
`

export function landingRoutes(app: App): void {
  app.get(
    '/',
    {
      schema: {
        summary: 'What this is, and where to look',
        tags: ['description'],
        response: answers({ 200: textAnswer('A page.', 'text/html') })
      }
    },
    async (_request, reply) => reply.type('text/html; charset=utf-8').send(PAGE)
  )
}
