/** The flag table as text: `--help`, and the reference in docs/configuration.md. */

import { GROUPS, type Group } from "./flags/flag.ts";
import { environmentName, FLAG_NAMES, type FlagName, flagOf } from "./flags.ts";

/** Of the narrowest usual terminal. */
const WIDTH = 80;
const INDENT = "      ";
const NO_BREAK = "\u00a0";

/** The help text, flags grouped by what they are about. */
export function helpText(): string {
  const lines = [
    "tulled: leases a subnet of the cluster's network for this host and maintains the",
    "routes and tunnels to all other hosts.",
    "",
    "Usage: tulled [flags]      (-x, --x, -x=value and -x value are equivalent)",
  ];
  for (const group of GROUPS) {
    lines.push("", `${group}:`);
    for (const name of namesIn(group)) lines.push(...helpLines(name));
  }
  lines.push(
    "",
    "Every flag can also be set by an environment variable (FLANNELD_ and the name",
    "for flannel's flags, TULLED_ for our own; in capitals, with _ for -) and in the",
    "--config file. A flag beats a variable, a variable beats the file.",
  );
  return `${lines.join("\n")}\n`;
}

/** The help lines of some flags, for programs that take them too. */
export function flagListing(names: readonly FlagName[]): string {
  return names.flatMap(helpLines).join("\n");
}

/** The reference table of docs/configuration.md, in Markdown. */
export function referenceTables(): string {
  const sections = GROUPS.map((group) => {
    const rows = namesIn(group).map(referenceRow);
    return [
      `### ${group}`,
      "",
      "| flag | default | variable | SIGHUP | meaning |",
      "|---|---|---|---|---|",
      ...rows,
    ].join("\n");
  });
  return `${sections.join("\n\n")}\n`;
}

function namesIn(group: Group): readonly FlagName[] {
  return FLAG_NAMES.filter((name) => flagOf(name).group === group);
}

function helpLines(name: FlagName): string[] {
  const flag = flagOf(name);
  const value = flag.kind.placeholder === "" ? "" : ` ${flag.kind.placeholder}`;
  const notes: string[] = [];
  if (flag.kind.isRepeatable) notes.push("may be repeated");
  if (flag.default !== "" && flag.default !== "false") notes.push(`default ${flag.default}`);
  const suffix = notes.length === 0 ? "" : ` (${notes.join("; ")})`.replaceAll(/(?<=.) /g, NO_BREAK);
  return [`  --${name}${value}`, ...wrap(flag.help + suffix)];
}

function wrap(sentence: string): string[] {
  const lines: string[] = [];
  let line = INDENT.trimEnd();
  for (const word of sentence.split(" ")) {
    if (line.length + word.length + 1 > WIDTH && line.trim() !== "") {
      lines.push(line);
      line = "";
    }
    line = line.trim() === "" ? INDENT + word : `${line} ${word}`;
  }
  return [...lines, line].map((text) => text.replaceAll(NO_BREAK, " "));
}

function referenceRow(name: FlagName): string {
  const flag = flagOf(name);
  const value = flag.kind.placeholder === "" ? "" : ` ${flag.kind.placeholder}`;
  const variables = [environmentName(name), ...(flag.alsoEnv === undefined ? [] : [flag.alsoEnv])];
  const repeat = flag.kind.isRepeatable ? "; may be repeated" : "";
  const cells = [
    code(`--${name}${value}`),
    flag.default === "" ? "" : code(flag.default),
    (flag.isInFile ?? true) || name === "config" ? variables.map(code).join(", ") : "",
    flag.isLive ? "yes" : "",
    flag.help + repeat,
  ];
  return `| ${cells.join(" | ")} |`;
}

function code(text: string): string {
  return `\`${text.replaceAll("|", "\\|")}\``;
}
