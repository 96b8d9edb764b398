/** Names of hosts, shortened so that they still tell hosts apart. Pure. */

/** A name of at most `letters`, at least 3: its start and its end, of which either may tell it from others. */
export function shortName(name: string, letters: number): string {
  if (name.length <= letters) return name;
  const room = Math.max(2, letters - 1);
  const start = Math.ceil(room / 2);
  return `${name.slice(0, start)}…${name.slice(name.length - (room - start))}`;
}

/** Host names without the domain that all names with a domain share; addresses have none. */
export function withoutSharedDomain(names: readonly string[]): readonly string[] {
  const domains = names.flatMap((name) => /\.\S*[a-z]\S*$/i.exec(name)?.[0] ?? []);
  const [domain] = domains;
  if (domain === undefined || domains.length < 2 || domains.some((other) => other !== domain)) return names;
  const short = names.map((name) => (name.endsWith(domain) ? name.slice(0, -domain.length) : name));
  return new Set(short).size === new Set(names).size ? short : names;
}
