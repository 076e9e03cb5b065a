// TypeScript SDK v2 client: initialize by default, with --auto it asks server/discover first.
// usage: node ts2_client.mjs URL --server PROFILE [--pii raw|redacted] [--auto]
import { installed, options, run, textOf } from './steps.mjs';

const { Client, StreamableHTTPClientTransport } = installed('@modelcontextprotocol/client');

const { url, profile, pii, auto } = options();
const transport = new StreamableHTTPClientTransport(new URL(url));
const client = new Client(
  { name: 'tidegate-ts2', version: '1' },
  { capabilities: { elicitation: {} }, ...(auto && { versionNegotiation: { mode: 'auto' } }) },
);
client.setRequestHandler('elicitation/create', async () => ({ action: 'accept', content: { name: 'Ada' } }));

await run(
  {
    connect: async () => {
      await client.connect(transport);
      return { protocol: client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion };
    },
    tools: async () => (await client.listTools()).tools.map((tool) => tool.name),
    call: (name, args, onprogress) => client.callTool({ name, arguments: args }, { onprogress }),
    resource: async (uri) => textOf((await client.readResource({ uri })).contents),
    prompt: async (name, args) => textOf((await client.getPrompt({ name, arguments: args })).messages),
    close: () => client.close(),
  },
  profile,
  pii,
);
