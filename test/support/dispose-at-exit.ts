/** What a test made outside its own process goes at the latest when that process exits, however it does. */

import process from "node:process";

export interface Disposable {
  /** Removes it at once, without waiting for anything; a second call does nothing. */
  dispose(): void;
}

const registered = new Set<Disposable>();

process.on("exit", disposeAll);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    disposeAll();
    process.kill(process.pid, signal);
  });
}

/** Returns the same object. */
export function disposeAtExit<T extends Disposable>(disposable: T): T {
  registered.add(disposable);
  return disposable;
}

/** The last first: what was made later may stand on what was there. */
function disposeAll(): void {
  for (const disposable of [...registered].reverse()) {
    try {
      disposable.dispose();
    } catch (error) {
      console.error("something is left behind:", error);
    }
  }
}
