// The OpenAPI document as one page of HTML without scripts.
import { type OpenApi, type Operation } from './openapi.ts';

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escape = (text: string): string => text.replace(/[&<>"]/g, c => ESCAPES[c]!);
const json = (value: unknown): string => `<pre>${escape(JSON.stringify(value, null, 2))}</pre>`;
const STYLE = 'body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}pre{background:#f4f4f4;padding:.8rem;overflow:auto}code{white-space:nowrap}h2{border-top:1px solid #ccc;padding-top:1rem}';

export function referencePage(document: OpenApi): string {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ path, method, operation })));
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Xenolith API</title><style>${STYLE}</style><h1>Xenolith API</h1>
<p>Also as <a href="/v1/openapi.json">OpenAPI 3.1</a>. Errors are problem documents with a stable <code>code</code>.</p><ul>${
  operations.map(({ path, method, operation }) => `<li><a href="#${operation.operationId}"><code>${method.toUpperCase()} ${escape(path)}</code></a></li>`).join('')
}</ul>${operations.map(section).join('')}</html>\n`;
}

function section({ path, method, operation }: { path: string; method: string; operation: Operation }): string {
  const parameters = operation.parameters.map(p => `<li><code>${p.name}</code> (${p.in})${p.description ? `: ${escape(p.description)}` : ''} ${json(p.schema)}</li>`).join('');
  const responses = Object.entries(operation.responses).map(([status, response]) => {
    const { description, content = {} } = response as { description: string; content?: Record<string, { schema: object }> };
    const shown = Object.entries(content).filter(([media]) => media !== 'application/problem+json').map(([media, { schema }]) => `<details><summary>${media}</summary>${json(schema)}</details>`).join('');
    return `<li>${status}: ${escape(description)}${shown}</li>`;
  }).join('');
  return `<h2 id="${operation.operationId}"><code>${method.toUpperCase()} ${escape(path)}</code></h2><p>${escape(operation.summary)}</p>${
    parameters ? `<ul>${parameters}</ul>` : ''}${operation.requestBody ? `<details><summary>Body</summary>${json(operation.requestBody)}</details>` : ''}<ul>${responses}</ul>`;
}
