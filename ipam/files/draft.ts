/** Files under temporary names, before they take the place of others. */

import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  lstatSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { pathsBeginningWith, removeIfPresent } from "./folder.ts";

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;

/** Characters behind the prefix of a temporary file. */
export const RANDOM_NAME_LENGTH = 12;

/** A temporary file this old has lost its writer. */
const ABANDONED_MS = 60_000;

/** Mode and owner of a written file; the umask does not count. */
export interface FileForm {
  readonly mode: number;
  /** The writer's own where it is missing. */
  readonly owner?: { readonly uid: number; readonly gid: number };
}

/** A whole file under a temporary name, until it is renamed or discarded. */
export class Draft {
  readonly path: string;
  readonly fd: number;
  #isPlaced = false;
  #isHandedOver = false;

  private constructor(path: string, fd: number) {
    this.path = path;
    this.fd = fd;
  }

  /** Writes to an unforeseeable name that begins with `prefix`. */
  static write(prefix: string, text: string, form: FileForm): Draft {
    return Draft.writeAt(prefix + randomName(), text, form);
  }

  /** O_EXCL follows no link and takes no file that is there already (open(2)). */
  static writeAt(path: string, text: string, { mode, owner }: FileForm): Draft {
    const draft = new Draft(path, openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode & 0o600));
    try {
      if (owner !== undefined) fchownSync(draft.fd, owner.uid, owner.gid);
      fchmodSync(draft.fd, mode);
      writeFileSync(draft.fd, text);
      return draft;
    } catch (error) {
      draft.discard();
      throw error;
    }
  }

  replace(path: string): void {
    renameSync(this.path, path);
    this.#isPlaced = true;
  }

  /** The descriptor, for a caller that closes it. */
  handOver(): number {
    this.#isHandedOver = true;
    return this.fd;
  }

  /** Closes the file and removes the temporary name if it is still there. */
  discard(): void {
    if (!this.#isHandedOver) closeSync(this.fd);
    if (!this.#isPlaced) rmSync(this.path, { force: true });
  }
}

/** Hidden, and beside the file: rename(2) does not cross file systems. */
export function temporaryPrefix(path: string): string {
  return join(dirname(path), `.${basename(path)}.new-`);
}

/** Web Crypto, because loading node:crypto would cost the CNI plugin two milliseconds of each container's start. */
export function randomName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array((RANDOM_NAME_LENGTH * 3) / 4));
  return Buffer.from(bytes).toString("base64url");
}

/** Removes what writers left that were killed. */
export function removeAbandoned(path: string): void {
  for (const each of pathsBeginningWith(temporaryPrefix(path))) {
    const modifiedMs = lstatSync(each, { throwIfNoEntry: false })?.mtimeMs;
    if (modifiedMs !== undefined && Date.now() - modifiedMs > ABANDONED_MS) removeIfPresent(each);
  }
}
