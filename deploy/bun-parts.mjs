/**
 * What is linked into Bun's runtime, by Bun's own list of licences, which its npm package lacks. Names and SPDX licence
 * expressions; compare them with that list when Bun's version changes.
 */

const VERSION = "1.4.5";

/** JavaScriptCore and TinyCC are under the GNU LGPL: the notice says how to link the runtime with changed ones. */
export const BUN_PARTS = [
  ["JavaScriptCore", "LGPL-2.0-or-later"],
  ["BoringSSL", "Apache-2.0 AND OpenSSL AND ISC AND MIT"],
  ["brotli", "MIT"],
  ["c-ares", "MIT"],
  ["highway", "Apache-2.0"],
  ["ICU", "Unicode-3.0"],
  ["libarchive", "BSD-2-Clause"],
  ["libbase64", "BSD-2-Clause"],
  ["libc++abi (thread_atexit)", "Apache-2.0 WITH LLVM-exception"],
  ["libdeflate", "MIT"],
  ["libjpeg-turbo", "BSD-3-Clause AND IJG AND Zlib"],
  ["libspng", "BSD-2-Clause"],
  ["libwebp", "BSD-3-Clause"],
  ["lol-html", "BSD-3-Clause"],
  ["ls-hpack", "MIT"],
  ["ls-qpack", "MIT"],
  ["lsquic", "MIT AND BSD-3-Clause"],
  ["mimalloc", "MIT"],
  ["picohttpparser", "MIT"],
  ["simdutf", "Apache-2.0"],
  ["TinyCC", "LGPL-2.1-or-later"],
  ["uSockets", "Apache-2.0"],
  ["uucode", "MIT"],
  ["uWebSockets", "Apache-2.0"],
  ["zlib-ng", "Zlib"],
  ["zstd", "BSD-3-Clause"],
  ["polyfills of Node's modules, acorn", "MIT"],
];

/** Whether an npm package holds Bun's runtime. */
export function isBun(name) {
  return name.startsWith("@oven/bun-");
}

/** The notice for Bun of this version. Throws for another one, whose parts may differ. */
export function bunNotice(version) {
  if (version !== VERSION)
    throw new Error(
      `deploy/bun-parts.mjs lists the parts of Bun ${VERSION}, this is ${version}: compare them with its list`,
    );
  const width = Math.max(...BUN_PARTS.map(([name]) => name.length));
  const parts = BUN_PARTS.map(([name, licence]) => `    ${name.padEnd(width)}  ${licence}`).join("\n");
  return `Bun is under the MIT licence. Linked into its runtime are:

${parts}

The runtime is a part of tulle's executables that was not changed except for its entry point (deploy/seal.mjs). To use
it with a changed JavaScriptCore or TinyCC, which are under the GNU Lesser General Public License, build Bun ${VERSION} with
them (https://github.com/oven-sh/bun, https://github.com/oven-sh/WebKit) and make the executables again with that Bun:
the source of tulle holds all that is needed.`;
}
