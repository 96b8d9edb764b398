/** Fills a real etcd with many keys at once, through its JSON gateway. */

import type { EtcdCluster } from "./etcd.ts";

/** etcd's default limit of operations in one transaction (--max-txn-ops). */
const KEYS_PER_TRANSACTION = 128;

/** Puts `keys`, each with `valueFor(key)`. For clusters without TLS and names. */
export async function putMany(
  cluster: EtcdCluster,
  keys: readonly string[],
  valueFor: (key: string) => string = () => "{}",
): Promise<void> {
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  for (let start = 0; start < keys.length; start += KEYS_PER_TRANSACTION) {
    const success = keys
      .slice(start, start + KEYS_PER_TRANSACTION)
      .map((key) => ({ request_put: { key: base64(key), value: base64(valueFor(key)) } }));
    const answer = await fetch(`${cluster.endpoints[0]}/v3/kv/txn`, {
      method: "POST",
      body: JSON.stringify({ success }),
    });
    if (!answer.ok) throw new Error(`etcd refused ${success.length} keys: ${await answer.text()}`);
  }
}
