/**
 * What libc.ts needs of koffi, over Bun's own foreign function interface: deploy/package/executable.mjs puts it in koffi's place in
 * a program that it compiles with Bun, which then starts sooner and needs no native module beside it.
 */

import { dlopen, ptr, read } from "bun:ffi";
import { SignalWatcher, type Watch, type WatchedEvent } from "./signal-watch.ts";

/** The C library, by the name under which this very program has loaded it. */
const LIBC = "libc.so.6";

/** `RESULT NAME(TYPE NAME, …)` */
const PROTOTYPE = /^(\w+) (\w+)\((.*)\)$/;

/** Bun's names of the types that are not pointers. Lengths of what was sent or received stay far below 2^53. */
const NUMBERS: Readonly<Record<string, string>> = {
  int: "i32",
  uint: "u32",
  size_t: "usize",
  uintptr_t: "usize",
  int64_t: "i64_fast",
};

interface Signature {
  readonly args: readonly string[];
  readonly returns: string;
}

type CFunction = (...args: readonly unknown[]) => number;

/** All are looked up together when the first is called: looking them up one by one takes five times as long. */
const declared: Record<string, Signature> = { __errno_location: { args: [], returns: "ptr" } };
let found: Readonly<Record<string, CFunction>> | null = null;

/** Where this thread's errno is (errno(3)), and what the last failed call left there. */
let errnoAddress = 0;
let lastErrno = 0;

/** A function of the C library by its prototype. */
function func(prototype: string): CFunction {
  const [, result = "", name = "", parameters = ""] = PROTOTYPE.exec(prototype) ?? [];
  const types = parameters
    .split(", ")
    .filter((parameter) => parameter !== "void")
    .map((parameter) => parameter.slice(0, parameter.lastIndexOf(" ")));
  declared[name] = { args: types.map(typeOf), returns: typeOf(result) };
  const call = caller(name);
  if (!types.includes("const char")) return call;
  return (...values) => call(...values.map((value) => (typeof value === "string" ? cString(value) : value)));
}

/** Saves errno at once: whatever runs between two calls, such as a garbage collection, may overwrite it. */
function caller(name: string): CFunction {
  let body: CFunction | null = null;
  return (...values) => {
    body ??= lookUp(name);
    const result = body(...values);
    if (result < 0) lastErrno = read.i32(errnoAddress, 0);
    return result;
  };
}

function lookUp(name: string): CFunction {
  if (found === null) {
    found = dlopen(LIBC, declared).symbols;
    errnoAddress = found.__errno_location?.() ?? 0;
  }
  const body = found[name];
  if (body === undefined) throw new TypeError(`${name} was declared after the first call`);
  return body;
}

function typeOf(text: string): string {
  return NUMBERS[text] ?? "ptr";
}

function cString(text: string): Uint8Array {
  return Buffer.from(`${text}\0`);
}

function addressOf(bytes: Uint8Array): number {
  return ptr(bytes);
}

// Declared with all others, before the first call.
const fcntl = func("int fcntl(int fd, int command, uintptr_t argument)");
const poll = func("int poll(uintptr_t fds, size_t count, int timeoutMs)");
const gettid = func("int gettid(void)");

let watcher: SignalWatcher | null = null;

/** koffi's watch, of one event. */
function watch(fd: number, events: WatchedEvent, callback: () => void): Watch {
  watcher ??= new SignalWatcher({
    fcntl: (...[descriptor, command, argument]) =>
      fcntl(descriptor, command, typeof argument === "number" ? argument : addressOf(argument)),
    poll: (fds, count, timeoutMs) => poll(addressOf(fds), count, timeoutMs),
    gettid: () => gettid(),
  });
  return watcher.watch(fd, events, callback);
}

export default {
  load: () => ({ func }),
  node: { poll: watch },
  errno: () => lastErrno,
  address: (bytes: Uint8Array) => BigInt(addressOf(bytes)),
};
