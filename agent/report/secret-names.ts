/** Names whose values are secrets: of settings, variables, fields and headers. Pure. */

/** Whose keys are secrets. `publicKey`, `leaseKey` and `keys` are not, nor are the paths and names of keys. */
const KEYS_OF = [
  "client|server|ssh|tls|ssl|deploy|account|storage|session|join|cluster|certificate|consumer|license",
  "hmac|wep|priv|root|host|node|(?<![a-z])(?:app|ca)",
].join("|");

/** A part of such a name; the source of a regular expression that is to ignore case. */
export const SECRET_NAME = [
  "passw|passphrase|passcode|(?<![a-z])pass(?![a-z])|pwd",
  "(?:ssh|db|user|root|bind|admin|key|store|smtp)pass(?![a-z])",
  "(?:(?<![a-z])|bind|root|user|admin|db)pw(?![a-z])",
  "secret|token|credential|cookie|session_?id|sharedaccesssignature|(?<![a-z])encrypt(?![a-z])",
  "auth(?:orization)?(?![a-z])",
  "psk|bearer|(?<![a-z])(?:jwt|otp|totp)(?![a-z])|_pat(?![a-z])",
  "(?:private|api|access|auth|shared|master|encrypt(?:ion)?|signing)[-_. ]?key",
  `(?:${KEYS_OF})[-_ ]?key(?![a-z]|[-_](?:file|path|name|id)(?![a-z]))`,
].join("|");

const PATTERN = new RegExp(SECRET_NAME, "i");
/** Of every shell: folders (POSIX, Shell Variables). */
const FOLDERS: ReadonlySet<string> = new Set(["PWD", "OLDPWD"]);

export function isSecretName(name: string): boolean {
  return PATTERN.test(name) && !FOLDERS.has(name);
}
