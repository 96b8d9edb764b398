/** Hides passwords in URLs, also inside JSON. Pure. */

/**
 * Up to the last "@" of the authority: browsers take those before it for the password's (WHATWG URL, authority state).
 * The end of a string of JSON ends the URL.
 */
const URL_PASSWORD = /(\w:\/\/(?:(?!"[,}\]])[^\s/:@])*):(?:(?!"[,}\]])[^\s/])+@/g;

export function hideUrlPasswords(text: string): string {
  return text.replace(URL_PASSWORD, "$1:[redacted]@");
}
