/**
 * The text of systemd units and of environment files, read as systemd reads it: systemd.syntax(7), systemd.exec(5).
 * Pure text; what the settings mean is service-command.ts's part.
 */

/** A unit file or a drop-in. */
export interface UnitText {
  readonly path: string;
  readonly text: string;
}

export interface Assignment {
  readonly section: string;
  readonly key: string;
  readonly value: string;
  readonly path: string;
}

/** The assignments of a file in their order. A line of another form is ignored, as systemd does. */
export function parseUnit({ path, text }: UnitText): readonly Assignment[] {
  const assignments: Assignment[] = [];
  let section = "";
  for (const line of logicalLines(text)) {
    const header = /^\[(.*)\]$/.exec(line);
    const match = /^([^=]+?)\s*=\s*(.*)$/.exec(line);
    if (header) section = header[1] ?? "";
    else if (match) assignments.push({ section, key: match[1] ?? "", value: match[2] ?? "", path });
  }
  return assignments;
}

/** Lines with their continuations. Comments inside a continued line do not end it. */
function logicalLines(text: string): readonly string[] {
  const lines: string[] = [];
  let pending = "";
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*[#;]/.test(line)) continue;
    const whole = pending + line;
    const isContinued = (/\\*$/.exec(whole)?.[0].length ?? 0) % 2 === 1;
    pending = isContinued ? `${whole.slice(0, -1)} ` : "";
    if (!isContinued) lines.push(whole.trim());
  }
  return [...lines, pending.trim()];
}

/**
 * The variables of an `EnvironmentFile=`. With `isShell` the file is one that a shell script sources, so that
 * `export` and earlier variables count.
 */
export function parseEnvironmentFile(text: string, isShell = false): ReadonlyMap<string, string> {
  const variables = new Map<string, string>();
  const prefix = isShell ? "(?:export[ \\t]+)?" : "";
  const value = String.raw`(?:"(?:[^"\\]|\\[\s\S])*"|'[^']*'|\\[\s\S]|[^\n"'\\])*`;
  const pattern = new RegExp(String.raw`^[ \t]*${prefix}([A-Za-z_]\w*)[ \t]*=[ \t]*(${value})`, "gm");
  for (const [, name = "", raw = ""] of text.matchAll(pattern)) {
    const plain = unquoted(raw.trimEnd());
    variables.set(name, isShell ? plain.replace(VARIABLE, (_, key) => variables.get(key) ?? "") : plain);
  }
  return variables;
}

const VARIABLE = /\$\{?(\w+)\}?/g;

function unquoted(raw: string): string {
  return raw.replace(
    /"((?:[^"\\]|\\[\s\S])*)"|'([^']*)'|\\([\s\S])/g,
    (_, double?: string, single?: string, escaped?: string) => {
      if (double !== undefined)
        return double.replace(/\\(["\\`$\n])/g, (_all, one) => (one === "\n" ? "" : one));
      return single ?? (escaped === "\n" ? "" : (escaped ?? ""));
    },
  );
}
