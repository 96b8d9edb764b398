/** Manual pages in the macros of man(7), from the reference of commands and flags. Pure. */

/** Section 1 is for commands, section 8 for what runs as root in the background (man(1)). */
const COMMANDS = 1;
const DAEMONS = 8;

/**
 * All pages: file name to text.
 * @param {{commands: readonly object[], flags: readonly object[], netavark: object, version: string}} reference
 */
export function manualPages({ commands, flags, netavark, version }) {
  const heading = (name, section) => `.TH ${name.toUpperCase()} ${section} "" "tulle ${version}"`;
  const pages = commands.map((command) => {
    const name = `tulle-${command.name}`;
    return [`${name}.${COMMANDS}`, page(heading(name, COMMANDS), commandPage(name, command))];
  });
  return new Map([
    [`tulle.${COMMANDS}`, page(heading("tulle", COMMANDS), programPage(commands))],
    ...pages,
    [`tulled.${DAEMONS}`, page(heading("tulled", DAEMONS), daemonPage(flags))],
    [`tulle-netavark.${DAEMONS}`, page(heading("tulle-netavark", DAEMONS), netavarkPage(netavark))],
  ]);
}

function page(heading, parts) {
  return `${[heading, ...parts].join("\n")}\n`;
}

function programPage(commands) {
  return [
    section("NAME", "tulle \\- show, check and prepare the network that tulled creates between hosts"),
    section("SYNOPSIS", "\\fBtulle\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR ...]"),
    section("COMMANDS"),
    ...commands.map(({ name, summary }) =>
      entry(`\\fBtulle ${roff(name)}\\fR`, `${roff(summary)}; see \\fBtulle-${roff(name)}\\fR(1).`),
    ),
    section("EXIT STATUS"),
    entry("0", "done"),
    entry("1", "failed, or a problem was found"),
    entry("2", "the command line is wrong"),
    section("SEE ALSO", "\\fBtulled\\fR(8)"),
  ];
}

function commandPage(name, command) {
  const { summary, options, notes, takesDaemonFlags, commands } = command;
  const positional = command.arguments;
  return [
    section("NAME", `${roff(name)} \\- ${roff(summary)}`),
    section("SYNOPSIS"),
    ...synopses(command),
    ...(commands.length === 0
      ? [
          ...(positional.length === 0 ? [] : [section("ARGUMENTS"), ...positional.map(argumentEntry)]),
          section("OPTIONS"),
          ...options.map(optionEntry),
          ...paragraphs(notes),
        ]
      : paragraphs(notes)),
    ...commands.flatMap(subcommand),
    ...(takesDaemonFlags
      ? [
          section(
            "FLAGS OF TULLED",
            "It takes all flags of \\fBtulled\\fR(8) too, also from their variables and from the configuration file.",
          ),
        ]
      : []),
    section("SEE ALSO", "\\fBtulle\\fR(1), \\fBtulled\\fR(8)"),
  ];
}

/** One line for each way to call it. */
function synopses({ name, usage, commands }) {
  if (commands.length > 0) return commands.flatMap(synopses);
  return [`\\fBtulle ${roff(name)}\\fR ${roff(usage)}`, ".br"];
}

function subcommand({ name, usage, summary, arguments: positional, options, notes, commands }) {
  if (commands.length > 0) return commands.flatMap(subcommand);
  return [
    section(`TULLE ${name.toUpperCase()}`, `\\fBtulle ${roff(name)}\\fR ${roff(usage)}`),
    ".PP",
    sentence(summary),
    ...positional.map(argumentEntry),
    ...options.map(optionEntry),
    ...paragraphs(notes),
  ];
}

function daemonPage(flags) {
  const groups = [...new Set(flags.map(({ group }) => group))];
  return [
    section(
      "NAME",
      "tulled \\- lease a subnet of the cluster's network for this host and maintain the ways to all other hosts",
    ),
    section("SYNOPSIS", "\\fBtulled\\fR [\\fIFLAG\\fR ...]"),
    section(
      "DESCRIPTION",
      "A flag can be written \\fB\\-x\\fR, \\fB\\-\\-x\\fR, with \\fB=value\\fR or with the value as the next argument. Each flag is also read from its variable and, under its own name, from the file of \\fB\\-\\-config\\fR. A flag beats a variable, a variable beats the file.",
    ),
    section("FLAGS"),
    ...groups.flatMap((group) => [
      `.SS ${roff(group)}`,
      ...flags.filter((flag) => flag.group === group).map(flagEntry),
    ]),
    section("FILES"),
    entry(
      "\\fI/run/flannel/subnet.env\\fR",
      "the lease of this host, for programs that configure containers",
    ),
    entry("\\fI/var/lib/tulle\\fR", "the identity of this host and what it remembers between starts"),
    section("SIGNALS"),
    entry("SIGHUP", "reads the configuration file again"),
    entry(
      "SIGTERM, SIGINT",
      "ends the daemon; the network stays in place until it is started again or \\fBtulle cleanup\\fR removes it",
    ),
    section("SEE ALSO", "\\fBtulle\\fR(1)"),
  ];
}

/** Of the plugin that podman runs. */
function netavarkPage({ SUMMARY, NOTES, VERBS, OPTIONS }) {
  const verbs = Object.entries(VERBS);
  return [
    section("NAME", `tulle\\-netavark \\- ${roff(SUMMARY)}`),
    section("SYNOPSIS"),
    ...verbs.flatMap(([name, usage]) => [
      `\\fBtulle\\-netavark ${roff(name)}\\fR ${roff(usage.arguments)}`.trim(),
      ".br",
    ]),
    section("DESCRIPTION", roff(NOTES)),
    section("VERBS"),
    ...verbs.map(([name, { summary }]) => entry(`\\fB${roff(name)}\\fR`, sentence(summary))),
    section("OPTIONS OF PODMAN NETWORK CREATE"),
    ...OPTIONS.map((option) =>
      entry(
        `\\fB\\-o ${roff(`${option.key}=${option.placeholder}`)}\\fR`,
        `${sentence(option.summary)}${standardOf(option)}`,
      ),
    ),
    section(
      "SEE ALSO",
      "\\fBtulled\\fR(8), \\fBtulle\\-network\\fR(1), \\fBpodman\\-network\\-create\\fR(1)",
    ),
  ];
}

function section(title, text) {
  return text === undefined ? `.SH ${roff(title)}` : `.SH ${roff(title)}\n${text}`;
}

function entry(term, text) {
  return `.TP\n${term}\n${text}`;
}

function argumentEntry({ name, summary }) {
  return entry(`\\fI${roff(name)}\\fR`, sentence(summary));
}

function optionEntry(option) {
  const { usage, summary, choices } = option;
  const values = choices.length > 0 ? ` (${choices.join(", ")})` : "";
  return entry(`\\fB${roff(usage)}\\fR`, `${sentence(summary + values)}${standardOf(option)}`);
}

function flagEntry(flag) {
  const variable = flag.isSetting ? ` Variable: \\fB${roff(flag.variable)}\\fR.` : "";
  return entry(`\\fB${roff(flag.usage)}\\fR`, `${sentence(flag.summary)}${standardOf(flag)}${variable}`);
}

function standardOf({ default: standard }) {
  return standard === "" ? "" : roff(` Default: ${standard}.`);
}

/** Names such as subnet.env, and those of backends before a colon, keep their small letter. */
function sentence(text) {
  const capital = text.replace(/^[a-z](?=[a-z]*(?:[ ;]|$))/, (letter) => letter.toUpperCase());
  return roff(`${capital}${text.endsWith(".") ? "" : "."}`);
}

function paragraphs(notes) {
  if (notes === "") return [];
  return notes.split("\n\n").flatMap((part) => (hasItems(part) ? list(part) : [".PP", roff(part)]));
}

function hasItems(part) {
  return /^ {2}- /m.test(part);
}

/** Items with their further lines, which are indented like their words, and what is before and behind them. */
function list(part) {
  return part
    .split(/\n(?= {2}- )|(?<=^ {2}.*)\n(?! )/m)
    .map((text) => text.replaceAll(/\n {4}/g, "\n"))
    .flatMap((text) => (hasItems(text) ? [".IP \\(bu 2", roff(text.slice(4))] : [".PP", roff(text)]));
}

/** Text for roff(7): backslashes, hyphens that a reader may copy, lines that would be requests, what is not ASCII. */
function roff(text) {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll(/^([.'])/gm, "\\&$1")
    .replaceAll(/[^\n -~]/gu, (character) => `\\[u${hexOf(character)}]`);
}

/** As groff_char(7) wants it: four digits at least. */
function hexOf(character) {
  return character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
}
