/** Names whose values are secrets: of settings, variables, fields and headers. Pure. */

/** A part of such a name; the source of a regular expression that is to ignore case. */
export const SECRET_NAME = [
  "passw|passphrase|(?<![a-z])pass(?![a-z])|pwd",
  "secret|token|credential|cookie",
  "auth(?:orization)?(?![a-z])",
  "psk",
  "(?:private|api|access|auth|shared|master|encrypt(?:ion)?|signing)[-_ ]?key",
].join("|");

const PATTERN = new RegExp(SECRET_NAME, "i");
/** Of every shell: folders (POSIX, Shell Variables). */
const FOLDERS: ReadonlySet<string> = new Set(["PWD", "OLDPWD"]);

export function isSecretName(name: string): boolean {
  return PATTERN.test(name) && !FOLDERS.has(name);
}
