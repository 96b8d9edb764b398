/**
 * Loads the bundles of dist/lib on Node, with V8's code cache where the build has made one for this very version of Node
 * and for these very bytes (deploy/code-cache.mjs). Without one, or with one that V8 rejects, a bundle is compiled as
 * usual. It never writes.
 */
"use strict";

const { readFileSync } = require("node:fs");
const Module = require("node:module");
const path = require("node:path");
const vm = require("node:vm");
const { crc32 } = require("node:zlib");

/** Holds a file for each bundle. V8 itself compares only its own version, its flags and the length of the source. */
const CACHE = path.join(__dirname, "code-cache", `${process.version}-${process.arch}`);

/** Where the cache of a bundle's text is. */
function cacheFile(filename, source) {
  const name = path.relative(__dirname, filename).replaceAll(path.sep, "-");
  return path.join(CACHE, `${name}-${crc32(source).toString(16)}`);
}

function readCache(file) {
  try {
    return readFileSync(file);
  } catch {
    return undefined; // none was made for this Node
  }
}

/** Makes require() load the bundles this way. `onScript` is told of each. */
function installLoader(onScript = () => {}) {
  require.extensions[".cjs"] = (module, filename) => {
    const source = readFileSync(filename, "utf8");
    const file = cacheFile(filename, source);
    const script = new vm.Script(Module.wrap(source), { filename, cachedData: readCache(file) });
    onScript(script, file);
    const body = script.runInThisContext();
    body.call(
      module.exports,
      module.exports,
      Module.createRequire(filename),
      module,
      filename,
      path.dirname(filename),
    );
  };
}

module.exports = { installLoader };
