/** Hides passwords in URLs, also inside JSON. Pure. */

/**
 * Up to the last "@" of the authority: browsers take those before it for the password's (WHATWG URL, authority state).
 * The end of a string of JSON ends the URL. A slash belongs to the password where no number of a port is before it: such
 * URLs are wrong, and shown in errors.
 */
const CHARACTER = String.raw`(?!"[,}\]])[^\s/]`;
const PASSWORD = String.raw`(?:${CHARACTER}){1,1000}|(?!\d{1,5}[/?#,])(?:${CHARACTER}|/){1,1000}`;
const URL_PASSWORD = new RegExp(String.raw`(\w:\/\/(?:(?!"[,}\]])[^\s/:@[]){0,256}):(?:${PASSWORD})@`, "g");

export function hideUrlPasswords(text: string): string {
  return text.replace(URL_PASSWORD, "$1:[redacted]@");
}
