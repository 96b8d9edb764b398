/** The options of dockerd that have to do with the subnet, found among its arguments. Pure. */

import type { Argument } from "./service-command.ts";

export interface DockerdOption {
  /** The long name, as in daemon.json. */
  readonly name: string;
  readonly value: string;
  /** As given: `--bip=10.2.54.1/24`. */
  readonly spelled: string;
  /** See Argument; null when the command itself gives the option. */
  readonly variable: string | null;
  /** The one or two arguments that it takes. */
  readonly parts: readonly Argument[];
}

/** True for options that need a value, false for switches, which take one only behind `=`. */
const TAKES_VALUE: Readonly<Record<string, boolean>> = {
  bip: true,
  bip6: true,
  bridge: true,
  "config-file": true,
  "default-gateway": true,
  "default-gateway-v6": true,
  experimental: false,
  "fixed-cidr": true,
  "fixed-cidr-v6": true,
  "ip-masq": false,
  ip6tables: false,
  iptables: false,
  ipv6: false,
  mtu: true,
};

/** dockerd's one-letter options without a value; they may be joined, also with one that has a value. */
const LETTER_SWITCHES = "Dhv";

/** Every option of the table above, in its order; the last one of a name counts. */
export function dockerdOptions(given: readonly Argument[]): readonly DockerdOption[] {
  const options: DockerdOption[] = [];
  for (let position = 0; position < given.length; position++) {
    const argument = given[position];
    if (argument === undefined || argument.text === "--") break;
    const found = readOption(argument.text);
    if (found === null) continue;
    const parts = [argument];
    if (found.value === null) {
      const next = given[++position];
      if (next !== undefined) parts.push(next);
    }
    if (found.name === null) continue;
    options.push({
      name: found.name,
      value: found.value ?? parts[1]?.text ?? "",
      spelled: parts.map(({ text }) => text).join(" "),
      variable: argument.variable,
      parts,
    });
  }
  return options;
}

interface Reading {
  /** Null for an option that does not matter here. */
  readonly name: string | null;
  /** Null when the next argument is the value. */
  readonly value: string | null;
}

function readOption(text: string): Reading | null {
  const [, name = "", value] = /^--([a-z][a-z0-9-]+)(?:=([\s\S]*))?$/.exec(text) ?? [];
  const takesValue = TAKES_VALUE[name];
  if (takesValue !== undefined) return { name, value: value ?? (takesValue ? null : "true") };
  return /^-[^-]/.test(text) ? readLetters(text.slice(1)) : null;
}

/** `-b VALUE`, `-bVALUE` or `-b=VALUE`, as dockerd's flag library reads them; so `-bip=…` names a bridge. */
function readLetters(letters: string): Reading | null {
  const position = [...letters].findIndex((letter) => !LETTER_SWITCHES.includes(letter));
  if (position < 0) return null;
  const rest = letters.slice(position + 1).replace(/^=(?=.)/, "");
  return { name: letters[position] === "b" ? "bridge" : null, value: rest === "" ? null : rest };
}
