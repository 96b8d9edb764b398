/** The one text that a program was called for, such as its help, as an answer that is written or is a failure. */

import { errorMessage, hasCode } from "../../ipam/errors.ts";

/** What `print` needs of a stream: process.stdout fits. */
export interface OutputStream {
  write(text: string, written: (error?: Error | null) => void): unknown;
  on(event: "error", listener: () => void): unknown;
}

/** Resolves when all is written, or when a reader that closed the pipe early, such as head(1), wants no more. */
export async function print(stream: OutputStream, text: string): Promise<void> {
  // The callback has the error too.
  stream.on("error", () => {});
  const error = await new Promise<unknown>((resolve) => stream.write(text, resolve));
  if (!error || hasCode(error, "EPIPE")) return;
  throw new Error(`the output cannot be written: ${errorMessage(error)}`, { cause: error });
}
