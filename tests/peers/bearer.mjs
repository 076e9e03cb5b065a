// Preload (`node --import ./bearer.mjs`): adds $BEARER_TOKEN to every HTTP request of the process. The conformance suite
// has no option for headers; it sends some requests with undici and some with node:http.
import { subscribe } from 'node:diagnostics_channel';

const value = `Bearer ${process.env.BEARER_TOKEN}`;
subscribe('undici:request:create', ({ request }) => request.addHeader('Authorization', value));
subscribe('http.client.request.created', ({ request }) => request.setHeader('Authorization', value));
