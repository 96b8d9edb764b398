/** The page's own files, which the build puts beside the program, in memory. */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigError, errorMessage } from "../../ipam/errors.ts";
import { readShippedFile } from "../../ipam/files/read.ts";

export interface PageFile {
  readonly contentType: string;
  readonly body: Buffer;
}

/** By path of the request. */
export type PageFiles = ReadonlyMap<string, PageFile>;

const FILES = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/page.css": ["page.css", "text/css; charset=utf-8"],
  "/page.js": ["page.js", "text/javascript; charset=utf-8"],
  "/icon.svg": ["icon.svg", "image/svg+xml"],
} as const;

/** Reads them once. Throws ConfigError when the installation lacks them. */
export function readPageFiles(folder = fileURLToPath(new URL("./page/", import.meta.url))): PageFiles {
  try {
    const read = (name: string): Buffer => readShippedFile(join(folder, name));
    return new Map(
      Object.entries(FILES).map(([path, [name, contentType]]) => [path, { contentType, body: read(name) }]),
    );
  } catch (error) {
    throw new ConfigError(
      `--ui: the page's files cannot be read (${errorMessage(error)}): install tulle completely, or leave --ui out`,
      { cause: error },
    );
  }
}
