/** Runs a program of dist/lib, and writes the code that V8 has compiled by then to where its loader looks for it. */
"use strict";

const { mkdirSync, renameSync, writeFileSync } = require("node:fs");
const path = require("node:path");
const v8 = require("node:v8");

exports.train = (lib, name) => {
  const scripts = [];
  const { installLoader } = require(path.join(lib, "load.cjs"));
  installLoader((script, file) => scripts.push({ script, file }));
  // V8 rejects a cache that was made under other flags. The daemon sets some, the last of them when it has started.
  const setFlags = v8.setFlagsFromString;
  v8.setFlagsFromString = (flags) => {
    if (!flags.includes("expose-gc")) return;
    write(scripts.splice(0));
    setFlags(flags);
  };
  process.once("exit", () => write(scripts.splice(0)));
  require(path.join(lib, `${name}.cjs`));
};

/** Programs that run at the same time write the same files. */
function write(scripts) {
  for (const { script, file } of scripts) {
    mkdirSync(path.dirname(file), { recursive: true });
    const whole = `${file}.${process.pid}`;
    writeFileSync(whole, script.createCachedData());
    renameSync(whole, file);
  }
}
