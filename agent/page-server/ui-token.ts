/** The token of the page, from its file. */

import { ConfigError, errorMessage } from "../../ipam/errors.ts";
import { readRequiredFile } from "../../ipam/files/read.ts";

/** Fewer can be guessed. */
const SHORTEST = 16;
const LONGEST = 512;

/** Without blanks around it. Throws ConfigError. */
export function readUiToken(path: string): string {
  const token = readText(path).trim();
  if (/^[\x21-\x7e]+$/.test(token) && token.length >= SHORTEST && token.length <= LONGEST) return token;
  throw new ConfigError(
    `ui-token-file ${path} holds no token of ${SHORTEST} to ${LONGEST} printable characters without blanks: ` +
      "write one with: openssl rand -hex 32",
  );
}

function readText(path: string): string {
  try {
    return readRequiredFile(path);
  } catch (error) {
    throw new ConfigError(
      `ui-token-file ${path} cannot be read (${errorMessage(error)}): correct the path or its permissions`,
      { cause: error },
    );
  }
}
