/**
 * What libc.ts needs of koffi, over Bun's own foreign function interface: deploy/build.mjs puts it in koffi's place in
 * a program that it compiles with Bun, which then starts sooner and needs no native module beside it.
 *
 * Without koffi's worker threads and event loop, which a short-lived program does not need.
 */

import { dlopen, ptr, read } from "bun:ffi";

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

/** All are looked up together when the first is called: looking them up one by one takes five times as long. */
const declared: Record<string, Signature> = { __errno_location: { args: [], returns: "ptr" } };
let found: Readonly<Record<string, (...args: readonly unknown[]) => number>> | null = null;

type Body = (...args: readonly unknown[]) => number;

/** A function of the C library by its prototype. */
function func(prototype: string): Body & { async: (...args: readonly unknown[]) => void } {
  const [, result = "", name = "", parameters = ""] = PROTOTYPE.exec(prototype) ?? [];
  const args = parameters
    .split(", ")
    .map((parameter) => typeOf(parameter.slice(0, parameter.lastIndexOf(" "))));
  declared[name] = { args, returns: typeOf(result) };
  const body = (...values: readonly unknown[]) =>
    call(
      name,
      values.map((value) => (typeof value === "string" ? cString(value) : value)),
    );
  return Object.assign(body, { async: callingBack(body) });
}

/** koffi's form with a callback. Without a worker thread, it blocks the caller, a short-lived program. */
function callingBack(body: Body): (...values: readonly unknown[]) => void {
  return (...values) => {
    const callback = values.at(-1) as (error: null, result: number) => void;
    callback(null, body(...values.slice(0, -1)));
  };
}

function call(name: string, values: readonly unknown[]): number {
  found ??= dlopen(LIBC, declared).symbols;
  const body = found[name];
  if (body === undefined) throw new TypeError(`${name} was declared after the first call`);
  return body(...values);
}

function typeOf(text: string): string {
  return NUMBERS[text] ?? "ptr";
}

function cString(text: string): Uint8Array {
  return Buffer.from(`${text}\0`);
}

export default {
  load: () => ({ func }),
  errno: () => read.i32(call("__errno_location", []), 0),
  address: (bytes: Uint8Array) => BigInt(ptr(bytes)),
};
