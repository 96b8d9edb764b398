/** What a token of Consul's ACLs can be. Pure. */

/** It is sent as a header (RFC 9110, section 5.5). */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

export function canBeToken(text: string): boolean {
  return HEADER_VALUE.test(text);
}
