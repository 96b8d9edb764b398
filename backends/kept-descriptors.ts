/** File descriptors that outlive the daemon. Types only, and what stands in where nothing keeps any. */

/** Descriptors that another process holds between two runs of the daemon, by names. Nothing here throws. */
export interface KeptDescriptors {
  /** What a former run kept under this name; null for none. It is the caller's from then on, and still kept. */
  take(name: string): number | null;
  /** Has a copy held for the next run. */
  keep(name: string, fd: number): void;
  /** Has the copy closed. Does nothing while the daemon ends: the next run needs it. */
  forget(name: string): void;
}
