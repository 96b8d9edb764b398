/** The files that hold the version, and the record of releases. */

import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { dateChangelog } from "./changelog.mjs";

const MANIFEST = "package.json";
const LOCK = "package-lock.json";
const CHANGELOG = "CHANGELOG.md";
/** Names the files of packages. */
const INSTALL = "docs/install.md";
const RELEASES = "deploy/release/releases.json";

/** All that a release changes, relative to the root. */
export const VERSION_FILES = [MANIFEST, LOCK, CHANGELOG, INSTALL];
export const RECORD_FILES = [RELEASES];

export class ReleaseFiles {
  #root;

  constructor(root) {
    this.#root = root;
  }

  get version() {
    return JSON.parse(this.#read(MANIFEST)).version;
  }

  /** Names of npm scripts. */
  get scripts() {
    return Object.keys(JSON.parse(this.#read(MANIFEST)).scripts);
  }

  get changelog() {
    return this.#read(CHANGELOG);
  }

  /** Versions that were released. */
  get releases() {
    return Object.keys(JSON.parse(this.#read(RELEASES)));
  }

  /** Puts the version and its date into all files. */
  setVersion(version, date) {
    const former = this.version;
    this.#write(CHANGELOG, dateChangelog(this.changelog, version, date));
    this.#write(INSTALL, this.#read(INSTALL).replaceAll(former, version));
    this.#rewriteJson(MANIFEST, (manifest) => ({ ...manifest, version }));
    this.#rewriteJson(LOCK, (lock) => ({
      ...lock,
      version,
      packages: { ...lock.packages, "": { ...lock.packages[""], version } },
    }));
  }

  /** Records which commit a release is, for tests that upgrade from it. */
  recordRelease(version, date, commit) {
    const releases = Object.entries({ ...JSON.parse(this.#read(RELEASES)), [version]: { date, commit } });
    const lines = releases.map(
      ([name, { date: day, commit: id }]) => `  "${name}": { "date": "${day}", "commit": "${id}" }`,
    );
    this.#write(RELEASES, `{\n${lines.join(",\n")}\n}\n`);
  }

  /** As npm writes it: two spaces, a line break at the end, keys in their order. */
  #rewriteJson(name, rewrite) {
    this.#write(name, `${JSON.stringify(rewrite(JSON.parse(this.#read(name))), null, 2)}\n`);
  }

  #read(name) {
    return readFileSync(path.join(this.#root, name), "utf8");
  }

  #write(name, text) {
    writeFileSync(path.join(this.#root, name), text);
  }
}
