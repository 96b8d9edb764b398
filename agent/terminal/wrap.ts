/** Text for terminals that are narrower than its lines. Pure. */

/** What a line begins with before its words: blanks, and the mark of an item of a list. */
const BEGINNING = /^ *(?:- )?/;
/** Neither empty nor an item of a list, an option or a row of a table. */
const PROSE = /^ *[^ -](?!.* {2})/;
const SENTENCE_END = /[.:;]$/;

/**
 * Breaks lines at blanks so that none is longer than `width`, unless a word is. What is left of a line goes before the
 * next one of its paragraph, which has the same indentation.
 */
export function wrapLines(text: string, width: number): string {
  const wrapped: string[] = [];
  let rest = "";
  for (const line of text.split("\n")) {
    const joined = isContinued(rest, line) ? `${rest} ${line.trimStart()}` : line;
    if (rest !== "" && joined === line) wrapped.push(rest);
    const parts = broken(joined, width);
    const last = parts.pop() ?? "";
    wrapped.push(...parts);
    rest = parts.length > 0 && !SENTENCE_END.test(last) ? last : "";
    if (rest === "") wrapped.push(last);
  }
  return [...wrapped, ...(rest === "" ? [] : [rest])].join("\n");
}

function isContinued(rest: string, line: string): boolean {
  return rest !== "" && PROSE.test(line) && indentation(rest) === indentation(line);
}

function indentation(line: string): number {
  return line.length - line.trimStart().length;
}

/** One line as several; those behind the first are indented like its words. */
function broken(line: string, width: number): string[] {
  const indent = " ".repeat(BEGINNING.exec(line)?.[0].length ?? 0);
  const parts: string[] = [];
  let left = line;
  while (left.length > width) {
    const before = left.lastIndexOf(" ", width);
    const cut = before > indent.length ? before : left.indexOf(" ", indent.length + 1);
    if (cut < 0) break;
    parts.push(left.slice(0, cut));
    left = indent + left.slice(cut + 1);
  }
  return [...parts, left];
}
