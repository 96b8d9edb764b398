/** A store that sends, at a moment of the test's choice, a message that no store sends: what follows the store fails. */

import type { StoreConnection, StoreMessage } from "../../ipam/stores/contracts.ts";

const POISON = { type: "changes", revision: 0n, changes: null } as unknown as StoreMessage;

/** Changes the connection: followers of the network at `prefix` get the message once, when `moment` resolves. */
export function poison(connection: StoreConnection, prefix: string, moment: Promise<void>): void {
  const open = connection.network.bind(connection);
  let isSent = false;

  /** What the store is awaited for meanwhile stays awaited. */
  async function* withPoison(messages: AsyncIterator<StoreMessage>): AsyncGenerator<StoreMessage> {
    try {
      let next = messages.next();
      for (;;) {
        const first = isSent ? await next : await Promise.race([next, moment.then(() => null)]);
        if (first === null) {
          isSent = true;
          yield POISON;
        } else if (first.done) return;
        else {
          next = messages.next();
          yield first.value;
        }
      }
    } finally {
      await messages.return?.();
    }
  }

  connection.network = (of) => {
    const store = open(of);
    if (of !== prefix) return store;
    const watch = store.feed.watch.bind(store.feed);
    store.feed.watch = (...args) => withPoison(watch(...args)[Symbol.asyncIterator]());
    return store;
  };
}
