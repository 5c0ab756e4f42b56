// Follows one table of the bus and prints a line of JSON for each thing that it learns. Written from docs/bus.md.
//
//     node client.mjs SOCKET TABLE

import { decode, encode } from '@msgpack/msgpack';
import { Dealer } from 'zeromq';

const VERSION = 1;
const [socketPath, tableName] = process.argv.slice(2);
const client = Math.random().toString(16).slice(2);
const hub = new Dealer({ probeRouter: true, immediate: true, reconnectInterval: 20, linger: 0 });

const table = new Map(); // key -> value
let handle = 0; // of our subscription; a new one for each connection
let marked = null; // keys seen since `begin`; null outside of a snapshot
let begun = false; // the table was named on this connection
let sequence = 0;

const send = (...frame) => hub.send(encode(frame));
const tell = (event, more = {}) => console.log(JSON.stringify({ event, table: Object.fromEntries(table), ...more }));

function sweep(keep) {
  for (const key of table.keys()) if (!keep.has(key)) remove(key);
}

function remove(key) {
  if (table.delete(key)) tell('deleted', { key });
}

async function subscribe() {
  handle += 1;
  begun = false;
  await send('subscribe', handle, tableName);
}

async function change([, previous, next, entries]) {
  if (previous !== sequence) {
    await send('cancel', handle);
    return subscribe(); // something is missing: begin anew
  }
  sequence = next;
  for (const [key, bytes] of entries) {
    marked?.add(key);
    if (bytes === null) remove(key);
    else {
      const value = decode(bytes);
      const known = table.get(key);
      if (JSON.stringify(known) === JSON.stringify(value)) continue;
      table.set(key, value);
      tell(known === undefined ? 'created' : 'modified', { key });
    }
  }
}

async function receive([kind, ...fields]) {
  if (kind === 'greeting') return send('hello', VERSION, 'node', client);
  if (kind === 'welcome') return subscribe();
  if (fields[0] !== handle) return; // of an older subscription, or nothing of ours
  if (kind === 'begin') [marked, sequence, begun] = [new Set(), 0, true];
  else if (kind === 'changes') await change(fields.slice(1));
  else if (kind === 'complete') [marked] = [(sweep(marked), null)];
  else if (kind === 'synchronized') {
    if (!begun) sweep(new Set());
    tell('synchronized');
  } else if (kind === 'restarted') tell('restarted', { count: fields[2] });
  else if (kind === 'stale') tell('stale', { since: fields[2] });
  else if (kind === 'refused') tell('refused', { code: fields[1], text: fields[2] });
}

hub.connect(`ipc://${socketPath}`);
for await (const [message] of hub) await receive(decode(message));
