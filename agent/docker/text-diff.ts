/** Shows the change of a file's text. Pure; for small edits: it finds one changed region. */

/** The changed lines with a little around them, marked by `-`, `+` and a blank; empty when the texts are equal. */
export function formatDiff(path: string, before: string | null, after: string | null): string {
  if (before === after) return "";
  const old = linesOf(before);
  const next = linesOf(after);
  const same = commonLength(old, next);
  const sameEnd = commonLength(old.slice(same).reverse(), next.slice(same).reverse());
  const start = Math.max(0, same - CONTEXT_LINES);
  const lines = [
    `--- ${before === null ? "/dev/null" : path}`,
    `+++ ${after === null ? "/dev/null" : path}`,
    ...old.slice(start, same).map((line) => ` ${line}`),
    ...old.slice(same, old.length - sameEnd).map((line) => `-${line}`),
    ...next.slice(same, next.length - sameEnd).map((line) => `+${line}`),
    ...old
      .slice(old.length - sameEnd)
      .slice(0, CONTEXT_LINES)
      .map((line) => ` ${line}`),
  ];
  return `${lines.join("\n")}\n`;
}

const CONTEXT_LINES = 3;

function linesOf(text: string | null): string[] {
  return text === null || text === "" ? [] : text.replace(/\n$/, "").split("\n");
}

function commonLength(left: readonly string[], right: readonly string[]): number {
  const end = Math.min(left.length, right.length);
  let length = 0;
  while (length < end && left[length] === right[length]) length++;
  return length;
}
