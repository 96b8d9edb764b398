/** Hides secrets in command lines, whose options differ from program to program: comments and logs quote such lines. Pure. */

/** All repetitions have a limit, as in secrets.ts. Other options of the same command. */
const OPTIONS = String.raw`[^\n|;&]{0,500}?\s`;
const VALUE = String.raw`(?:"[^"\n]{0,2000}"|'[^'\n]{0,2000}'|[^\s"']+)`;

/** The first group stays. */
const COMMANDS: readonly RegExp[] = [
  // sshpass(1), mysql(1): the option and its value may be one word. Of mysql they must be.
  String.raw`(\bsshpass\s(?:[^\n|;&]{0,100}?\s)?-p\s{0,9})${VALUE}`,
  String.raw`(\b(?:mysql|mariadb)[\w-]{0,32}${OPTIONS}-p)${VALUE}`,
  // docker, podman, nerdctl, helm registry.
  String.raw`(\blogin${OPTIONS}-p[\s=]{0,9})${VALUE}`,
  String.raw`(\bredis-cli${OPTIONS}-a\s{1,9})${VALUE}`,
  String.raw`(\bldap\w{1,16}${OPTIONS}-w\s{0,9})${VALUE}`,
  String.raw`(\bopenssl\s{1,9}enc${OPTIONS}-[kK]\s{1,9})${VALUE}`,
  String.raw`(\bcurl${OPTIONS}-u["']?[^\s:"']{1,256}:)[^\s"']+`,
  // Directives of redis.conf and slapd.conf(5).
  String.raw`(\b(?:requirepass|masterauth|rootpw)\s{1,9})${VALUE}`,
  // ip-xfrm(8)
  String.raw`(\b(?:enc|auth|auth-trunc|aead)\s{1,9}\S{1,64}\s{1,9})0x[\da-f]{16,512}`,
  // Into the standard input of a command that reads a secret there.
  String.raw`(\b(?:echo|printf)\s)[^\n|]{1,2000}(?=\|[^\n]{0,1000}(?:-stdin\b|\bsudo\s[^\n|]{0,64}-S\b|\bchpasswd\b))`,
  String.raw`(-stdin\s{0,9}<<<\s{0,9})${VALUE}`,
].map((pattern) => new RegExp(pattern, "g"));

export function hideCommandSecrets(text: string, replacement: string): string {
  return COMMANDS.reduce((rest, pattern) => rest.replace(pattern, `$1${replacement}`), text);
}
