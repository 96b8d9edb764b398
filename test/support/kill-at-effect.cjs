/*
 * Loaded before a program (node --require): kills it with SIGKILL just before its n-th effect on the world, a
 * changed file or a message to the kernel. TULLE_KILL_AT is n; with a larger n than there are effects the program
 * ends as usual.
 */

"use strict";

const fs = require("node:fs");
const Module = require("node:module");
const process = require("node:process");

let left = Number(process.env.TULLE_KILL_AT);

function counted(call) {
  return (...args) => {
    left -= 1;
    if (left === 0) process.kill(process.pid, "SIGKILL");
    return call(...args);
  };
}

for (const name of ["mkdirSync", "writeFileSync", "renameSync", "linkSync", "rmSync"]) {
  fs[name] = counted(fs[name]);
}

const load = Module._load;
Module._load = (request, ...rest) => {
  const exported = load(request, ...rest);
  return request === "koffi" ? { ...exported, default: undefined, load: countingLoad(exported) } : exported;
};

/** Of the C functions, send(2) alone changes anything. */
function countingLoad(koffi) {
  return (file) => {
    const library = koffi.load(file);
    return {
      func: (name, ...definition) => {
        const call = library.func(name, ...definition);
        return /(^| )send(\(|$)/.test(name) ? Object.assign(counted(call), { async: call.async }) : call;
      },
    };
  };
}
