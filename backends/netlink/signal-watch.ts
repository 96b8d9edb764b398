/**
 * Watches file descriptors where the event loop cannot (Bun has no uv_poll): the kernel sends SIGIO when something
 * happens to one of them (fcntl(2), O_ASYNC), and poll(2) tells to which.
 *
 * Nothing is missed: a signal that comes while another is handled is seen by the poll(2) after the callbacks, and
 * descriptors that are still ready then are called back again. Signals that come together are answered by one poll(2). They
 * go to the main thread alone, so that they interrupt no other thread's system call.
 */

/** fcntl.h */
const F_GETFL = 3;
const F_SETFL = 4;
const F_SETOWN_EX = 15;
const F_OWNER_TID = 0;
const O_ASYNC = 0o20000;
/** struct pollfd: int fd, short events, short revents. */
const POLLFD_BYTES = 8;
const POLLIN = 1;
const POLLOUT = 4;

/** More than a month: it only keeps the process alive. */
const LONG_MS = 0x7fffffff;

/** The calls of the C library; negative results are failures. */
export interface SignalCalls {
  fcntl(fd: number, command: number, argument: number | Uint8Array): number;
  poll(fds: Uint8Array, count: number, timeoutMs: number): number;
  gettid(): number;
}

export type WatchedEvent = { readonly readable: true } | { readonly writable: true };

interface Watched {
  /** Of poll(2). */
  readonly events: number;
  readonly callback: () => void;
}

/** What koffi returns for a watch. */
export interface Watch {
  close(): void;
  unref(): void;
}

export class SignalWatcher {
  readonly #calls: SignalCalls;
  readonly #watches = new Map<number, Watched>();
  #fds: Buffer = Buffer.alloc(0);
  #isListening = false;
  #isCheckDue = false;

  constructor(calls: SignalCalls) {
    this.#calls = calls;
  }

  /** Calls back on the event loop whenever `fd` is ready for that, or has failed. Throws when the kernel refuses. */
  watch(fd: number, event: WatchedEvent, callback: () => void): Watch {
    this.#listen();
    const watched = { events: "readable" in event ? POLLIN : POLLOUT, callback };
    this.#watches.set(fd, watched);
    this.#describeFds();
    try {
      this.#own(fd);
      this.#setAsync(fd, true);
    } catch (error) {
      this.#forget(fd);
      throw error;
    }
    // What came before has sent no signal.
    this.#checkSoon();
    const keepAlive = setInterval(() => {}, LONG_MS);
    return {
      close: () => {
        clearInterval(keepAlive);
        if (this.#watches.get(fd) !== watched) return;
        this.#forget(fd);
        this.#setAsync(fd, false);
      },
      unref: () => void keepAlive.unref(),
    };
  }

  /** Never taken back: without a listener a signal that is on its way would end the process (signal(7)). */
  #listen(): void {
    if (this.#isListening) return;
    this.#isListening = true;
    process.on("SIGIO", () => this.#checkSoon());
  }

  /** struct f_owner_ex: int type, pid_t pid. */
  #own(fd: number): void {
    const owner = Buffer.alloc(8);
    owner.writeInt32LE(F_OWNER_TID, 0);
    owner.writeInt32LE(this.#calls.gettid(), 4);
    this.#fcntl(fd, F_SETOWN_EX, owner);
  }

  #setAsync(fd: number, isOn: boolean): void {
    const flags = this.#fcntl(fd, F_GETFL, 0);
    this.#fcntl(fd, F_SETFL, isOn ? flags | O_ASYNC : flags & ~O_ASYNC);
  }

  #fcntl(fd: number, command: number, argument: number | Uint8Array): number {
    const result = this.#calls.fcntl(fd, command, argument);
    if (result < 0) throw new Error(`fcntl(${fd}, ${command}) failed`);
    return result;
  }

  #forget(fd: number): void {
    this.#watches.delete(fd);
    this.#describeFds();
  }

  #describeFds(): void {
    this.#fds = Buffer.alloc(this.#watches.size * POLLFD_BYTES);
    for (const [index, [fd, { events }]] of [...this.#watches].entries()) {
      this.#fds.writeInt32LE(fd, index * POLLFD_BYTES);
      this.#fds.writeInt16LE(events, index * POLLFD_BYTES + 4);
    }
  }

  #checkSoon(): void {
    if (this.#isCheckDue) return;
    this.#isCheckDue = true;
    setImmediate(() => {
      this.#isCheckDue = false;
      this.#check();
    });
  }

  /** Calls back for each that is ready, and comes back after other work of the event loop if any was. */
  #check(): void {
    const ready = this.#ready();
    for (const [fd, watched] of ready) {
      // A callback may have closed others.
      if (this.#watches.get(fd) === watched) watched.callback();
    }
    if (ready.length > 0) this.#checkSoon();
  }

  #ready(): readonly (readonly [number, Watched])[] {
    if (this.#watches.size === 0) return [];
    if (this.#calls.poll(this.#fds, this.#watches.size, 0) <= 0) return [];
    return [...this.#watches].filter((_, index) => this.#fds.readInt16LE(index * POLLFD_BYTES + 6) !== 0);
  }
}
