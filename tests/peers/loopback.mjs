// Preload for Node peers that offer no host option (`node --import ./loopback.mjs server.js`): every TCP listener is
// moved to 127.0.0.1, so that a test machine opens nothing to its network. With ADDR_FILE set, the first listener's
// address is written there as {"mcp":"ip:port"}, which lets such a peer be started with PORT=0.
import { renameSync, writeFileSync } from 'node:fs';
import { Server } from 'node:net';

const listenAnywhere = Server.prototype.listen;
let addrFile = process.env.ADDR_FILE;

function announce() {
  if (!addrFile) return;
  const { address, port } = this.address();
  writeFileSync(`${addrFile}.tmp`, JSON.stringify({ mcp: `${address}:${port}` }));
  renameSync(`${addrFile}.tmp`, addrFile);
  addrFile = undefined;
}

Server.prototype.listen = function listenOnLoopback(...args) {
  this.once('listening', announce);
  const [first] = args;
  const done = args.find((arg) => typeof arg === 'function');
  if (first !== null && typeof first === 'object') {
    return listenAnywhere.call(this, 'port' in first ? { ...first, host: '127.0.0.1' } : first, done);
  }
  const port = Number(first);
  // A path (Unix socket) is not a TCP listener and stays as it is.
  if (typeof first === 'string' && !Number.isInteger(port)) return listenAnywhere.apply(this, args);
  return listenAnywhere.call(this, { port: typeof first === 'function' ? 0 : port, host: '127.0.0.1' }, done);
};
