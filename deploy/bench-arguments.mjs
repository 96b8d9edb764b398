/** The command line of `npm run bench`. Pure. */

import { parseArgs } from "node:util";

const OPTIONS = {
  quick: { type: "boolean", default: false },
  compare: { type: "string" },
  record: { type: "boolean", default: false },
  minutes: { type: "string" },
  engines: { type: "string", default: "own" },
  seed: { type: "string" },
  only: { type: "string", multiple: true },
  help: { type: "boolean", short: "h", default: false },
};

/** The usage; `names` are those of all benchmarks. */
export function usage(names) {
  return `usage: npm run bench -- [NAME…] [OPTION…]

  --quick                   show that the benchmarks run; their figures mean nothing
  --compare "COMMAND ARG…"  measure that agent too, in alternation
  --record                  write the figures into docs/performance.md
  --minutes NUMBER, --engines own|newest, --seed NUMBER, --only TITLE
                            for the benchmarks that read them

benchmarks: ${names.join(", ")}
`;
}

/**
 * The request: `names` of benchmarks (none means all) and their options as in test/bench/support/report.ts. Throws
 * with a line that names what is wrong and what is allowed.
 */
export function readArguments(words, names) {
  const { values, positionals } = parseArgs({ args: words, options: OPTIONS, allowPositionals: true });
  const unknown = positionals.find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw new Error(`no benchmark is called "${unknown}"; choose from ${names.join(", ")}`);
  if (!["own", "newest"].includes(values.engines))
    throw new Error(`--engines: "${values.engines}" is unknown; take own or newest`);
  return {
    isHelp: values.help,
    isRecorded: values.record,
    names: positionals,
    compare: values.compare?.split(" ") ?? null,
    isQuick: values.quick,
    minutes: numberOf("minutes", values.minutes),
    engines: values.engines,
    seed: numberOf("seed", values.seed),
    only: values.only ?? null,
  };
}

/** Null when the option is not given. */
function numberOf(option, text) {
  if (text === undefined) return null;
  if (/^\d{1,10}(\.\d+)?$/.test(text)) return Number(text);
  throw new Error(`--${option}: "${text}" is not a number`);
}
