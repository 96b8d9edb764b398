/**
 * The built programs, and the command lines that run them.
 *
 * TULLE_DIST names another build than the checkout's dist/. TULLE_FORM names the form: "node" or "executable"; without
 * it the programs run as they were built into dist/bin.
 */

import { join } from "node:path";
import process from "node:process";

const DIST = process.env.TULLE_DIST ?? join(import.meta.dirname, "../../dist");

/** Directory with tulled, tulle, tulle-cni and tulle-netavark. */
export const PROGRAMS = join(DIST, "bin");

/** Directory with their launchers, which run them on the Node that PATH has. */
export const LAUNCHERS = join(DIST, "node");

/** A program on the Node that runs the test. */
export function onNode(program: string): readonly string[] {
  return [process.execPath, join(LAUNCHERS, program)];
}

function commandOf(program: string): readonly string[] {
  const form = process.env.TULLE_FORM;
  switch (form) {
    case undefined:
      return [join(PROGRAMS, program)];
    case "node":
      return onNode(program);
    case "executable":
      return [join(PROGRAMS, "tulle"), program];
    default:
      throw new Error(`TULLE_FORM=${form}: take node or executable`);
  }
}

export const TULLE = commandOf("tulle");
export const TULLED = commandOf("tulled");
