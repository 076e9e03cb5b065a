// The steps every TypeScript client runs, and how they are judged; the same contract as steps.py: one JSON line per
// step on stdout, exit code 0 only if every step was ok. What a server offers is data: profiles.json.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';

/** One step, in milliseconds; longer than any server here needs, shorter than the SDKs' own 60 s limits. */
const STEP_MS_MAX = 20_000;

/** Loads a package that setup.sh installed; the packages lie outside the source tree. */
export const installed = createRequire(new URL('../../.cache/peers/node/package.json', import.meta.url));

export function options() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      server: { type: 'string' },
      pii: { type: 'string', default: 'raw' },
      auto: { type: 'boolean', default: false },
    },
  });
  const profiles = JSON.parse(readFileSync(new URL('profiles.json', import.meta.url)));
  const profile = profiles[values.server];
  if (positionals.length !== 1 || !profile || !['raw', 'redacted'].includes(values.pii)) {
    console.error(`usage: URL --server ${Object.keys(profiles).join('|')} [--pii raw|redacted] [--auto]`);
    process.exit(2);
  }
  return { url: positionals[0], profile, pii: values.pii, auto: values.auto };
}

/** Text parts of a tool result, a resource or a prompt, joined. */
export const textOf = (parts) => parts.map((part) => (part.content ?? part).text ?? '').join('');

function expect(condition, what) {
  if (!condition) throw new Error(String(what).slice(0, 600));
}

function judgeText(got, want) {
  if ('text' in want) expect(got === want.text, `text is ${JSON.stringify(got)}, not ${JSON.stringify(want.text)}`);
  const part = want.contains ?? '';
  expect(got.includes(part), `text ${JSON.stringify(got)} lacks ${JSON.stringify(part)}`);
}

function deadline(work) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${STEP_MS_MAX} ms`)), STEP_MS_MAX);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/**
 * `adapter`: `connect()`, `tools()` to names, `call(name, args, onProgress)` to `{content, isError}` (may throw a
 * JSON-RPC error), `resource(uri)`, `prompt(name, args)` to texts, `close()`.
 */
export async function run(adapter, profile, pii) {
  let ok = true;

  async function step(name, work) {
    const start = performance.now();
    const line = { step: name, ok: true };
    try {
      const detail = await deadline(work());
      if (detail !== undefined) line.detail = detail;
    } catch (error) {
      ok = false;
      Object.assign(line, { ok: false, error: `${error}`.slice(0, 1000) });
    }
    line.ms = Math.round(performance.now() - start);
    console.log(JSON.stringify(line));
    return line.ok;
  }

  async function call(name, args) {
    const progress = [];
    try {
      const result = await adapter.call(name, args, (update) => progress.push(update.progress));
      return { text: textOf(result.content), isError: result.isError === true, progress };
    } catch (error) {
      return { text: `${error}`, isError: true, progress };
    }
  }

  async function called(want) {
    const got = await call(want.name, want.arguments);
    expect(!got.isError, `unexpected error: ${got.text}`);
    judgeText(got.text, want);
    return got;
  }

  const optional = {
    big: async (want) => {
      const message = want.unit.repeat(want.times);
      const got = await call(want.name, { [want.argument]: message });
      expect(!got.isError, `unexpected error: ${got.text}`);
      expect(got.text === want.prefix + message, `the long text came back changed (${got.text.length} characters)`);
      return got.text.length;
    },
    progress: async (want) => {
      const { progress } = await called(want);
      expect(progress.length >= want.at_least, `${progress.length} progress notifications`);
      expect(progress.every((value, i) => i === 0 || progress[i - 1] <= value), `progress went back: ${progress}`);
      return progress;
    },
    error: async (want) => {
      const got = await call(want.name, want.arguments);
      expect(got.isError, `not an error: ${got.text}`);
      judgeText(got.text, want);
    },
    resource: async (want) => judgeText(await adapter.resource(want.uri), want),
    prompt: async (want) => judgeText(await adapter.prompt(want.name, want.arguments), want),
    pii: async (want) => {
      const { text } = await called(want);
      for (const value of want.planted) {
        expect(text.includes(value) === (pii === 'raw'), `${value} with --pii ${pii}: ${JSON.stringify(text)}`);
      }
    },
  };

  if (await step('connect', () => adapter.connect())) {
    await step('tools', async () => {
      const names = await adapter.tools();
      const missing = profile.tools.filter((name) => !names.includes(name));
      expect(missing.length === 0, `tools missing: ${missing}`);
      return names.length;
    });
    for (const want of profile.calls) await step(`call ${want.name}`, async () => void (await called(want)));
    for (const [name, work] of Object.entries(optional)) {
      if (name in profile) await step(name, () => work(profile[name]));
    }
    await step('unknown tool', async () => {
      const got = await call('no_such_tool', {});
      expect(got.isError, `not an error: ${got.text}`);
      return got.text.slice(0, 200);
    });
    // An error must not have cost the session.
    await step('call again', async () => void (await called(profile.calls[0])));
    await step('close', () => adapter.close());
  }
  // Open sockets of a half-broken session must not keep the process alive.
  process.exit(ok ? 0 : 1);
}
