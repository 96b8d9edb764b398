/** The help of the netavark plugin, for people who call it by hand. */

import { NOTES, OPTIONS, type OptionUsage, SUMMARY, VERBS, type VerbUsage } from "./usage.ts";

/** What --help prints. */
export function helpText(): string {
  const verbs = Object.entries<VerbUsage>(VERBS).map(
    ([name, usage]) => [`${name} ${usage.arguments}`.trim(), usage.summary] as const,
  );
  const options = OPTIONS.map(
    ({ key, placeholder, ...option }) => [`-o ${key}=${placeholder}`, withDefault(option)] as const,
  );
  const width = Math.max(...[...verbs, ...options].map(([term]) => term.length)) + 2;
  const lines = (rows: readonly (readonly [string, string])[]) =>
    rows.map(([term, text]) => `  ${term.padEnd(width)}${text}`).join("\n");
  return [
    "Usage: tulle-netavark <verb> [netns]",
    SUMMARY,
    `Verbs:\n${lines(verbs)}`,
    `Options of podman network create -d tulle:\n${lines(options)}`,
    NOTES,
  ].join("\n\n");
}

function withDefault({ summary, default: standard }: Pick<OptionUsage, "summary" | "default">): string {
  return standard === "" ? summary : `${summary} (default: ${standard})`;
}
