// TypeScript SDK v1 client: a session opened with initialize.
// usage: node ts1_client.mjs URL --server PROFILE [--pii raw|redacted]
import { installed, options, run, textOf } from './steps.mjs';

const { Client } = installed('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = installed('@modelcontextprotocol/sdk/client/streamableHttp.js');
const { ElicitRequestSchema } = installed('@modelcontextprotocol/sdk/types.js');

const { url, profile, pii } = options();
const transport = new StreamableHTTPClientTransport(new URL(url));
const client = new Client({ name: 'tidegate-ts1', version: '1' }, { capabilities: { elicitation: {} } });
client.setRequestHandler(ElicitRequestSchema, async () => ({ action: 'accept', content: { name: 'Ada' } }));

await run(
  {
    connect: async () => {
      await client.connect(transport);
      return { protocol: transport.protocolVersion };
    },
    tools: async () => (await client.listTools()).tools.map((tool) => tool.name),
    call: (name, args, onprogress) => client.callTool({ name, arguments: args }, undefined, { onprogress }),
    resource: async (uri) => textOf((await client.readResource({ uri })).contents),
    prompt: async (name, args) => textOf((await client.getPrompt({ name, arguments: args })).messages),
    close: async () => {
      await transport.terminateSession();
      await client.close();
    },
  },
  profile,
  pii,
);
