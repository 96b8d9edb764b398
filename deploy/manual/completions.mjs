/** Completions of `tulle` and `tulled` for bash, zsh and fish, from the reference of commands and flags. Pure. */

/** Of `tulle` without a command. */
const PROGRAM_OPTIONS = [
  { names: ["-h", "--help"], summary: "print the help" },
  { names: ["-V", "--version"], summary: "print the version" },
].map((option) => ({ ...option, takesValue: false, choices: [] }));

/** Of each program and shell: a file's name below /usr/share, and its text. */
export function completions({ commands, flags }) {
  const programs = { tulle: commandStates(commands, flags), tulled: [daemonState(flags)] };
  return Object.entries(programs).flatMap(([program, states]) => [
    [`bash-completion/completions/${program}`, bashCompletion(program, states)],
    [`zsh/site-functions/_${program}`, zshCompletion(program, states)],
    [`fish/vendor_completions.d/${program}.fish`, fishCompletion(program, states)],
  ]);
}

/**
 * Every state of the command line: the words before the cursor, and what may follow. Options of the innermost command
 * come with their choices. `flags` are those of tulled, which may also have a single dash.
 */
function commandStates(commands, flags) {
  const root = {
    path: "",
    words: commands.map(({ name, summary }) => ({ word: name, summary })),
    takesFiles: false,
    options: PROGRAM_OPTIONS,
    flags: [],
  };
  const all = [root];
  const visit = (command) => {
    const own = command.options;
    const known = new Set(own.flatMap(({ names }) => names));
    const daemon = command.takesDaemonFlags
      ? flags.filter(({ names, isSetting }) => isSetting && !known.has(names[0]))
      : [];
    all.push({
      path: command.name,
      words: command.commands.map(({ name, summary }) => ({ word: name.split(" ").at(-1), summary })),
      // What else may follow the options is not known.
      takesFiles: command.commands.length === 0,
      options: own,
      flags: daemon,
    });
    command.commands.forEach(visit);
  };
  commands.forEach(visit);
  return all;
}

/** tulled has flags and no other words. */
function daemonState(flags) {
  return { path: "", words: [], takesFiles: false, options: [], flags };
}

/** bash(1), Programmable Completion. */
function bashCompletion(program, states) {
  const namesOf = (options) => quote(options.flatMap(({ names }) => names).join(" "));
  const cases = states.map(({ path, words, options, flags }) => {
    const known = words.map(({ word }) => word);
    return `    ${quote(path)}) words=${quote(known.join(" "))} options=${namesOf(options)} flags=${namesOf(flags)} ;;`;
  });
  return `# Completion of ${program} for bash.
_${program}() {
    local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} path= words= options= flags= index
    # In "--option=value" the sign is a word (COMP_WORDBREAKS).
    if [[ $current == = ]]; then
        current=
    elif [[ $previous == = ]]; then
        previous=\${COMP_WORDS[COMP_CWORD-2]}
    fi
    # Flags of tulled may have one dash, other options of more than one letter have two.
    [[ $previous == -[!-]?* ]] && previous=-$previous
    for ((index = 1; index < COMP_CWORD; index++)); do
        case "$path\${path:+ }\${COMP_WORDS[index]}" in
${states
  .filter(({ path }) => path !== "")
  .map(({ path }) => `            ${quote(path)}) path=${quote(path)} ;;`)
  .join("\n")}
        esac
    done
    case $path:$previous in
${choicesOf(states)
  .map(
    ({ path, name, choices }) => `        ${quote(`${path}:${name}`)}) words=${quote(choices.join(" "))} ;;`,
  )
  .join("\n")}
        *)
            case $previous in
                ${valueNames(states).join("|")})
                    # A folder gets a slash and no blank, and names are quoted.
                    compopt -o filenames 2>/dev/null
                    mapfile -t COMPREPLY < <(compgen -f -- "$current")
                    return ;;
            esac
            case $path in
${cases.map((line) => `            ${line}`).join("\n")}
            esac ;;
    esac
    case $current in
        - | --*) words="$options $flags" ;;
        -*) words="$options \${flags//--/-}" ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _${program} ${program}
`;
}

/** zshcompsys(1). */
function zshCompletion(program, states) {
  const functionName = (path) => `_${`${program} ${path}`.trim().replaceAll(/[ -]/g, "_")}`;
  const functions = states.map(({ path, words, takesFiles, options, flags }) => {
    const specs = options.map((option) => `        ${zshOption(option)}`);
    const ofDaemon = flags.map((flag) => `        ${zshOption(flag)}`);
    const names = words.map(({ word, summary }) => `        ${quote(`${zshEscape(word)}:${summary}`)}`);
    const next = [
      ...(words.length > 0 ? ["        '1: :->command'", "        '*:: :->rest'"] : []),
      ...(takesFiles ? ["        '*: :_files'"] : []),
    ];
    return `${functionName(path)}() {
    local context state line index
    typeset -A opt_args
    local -a flags
    flags=(
${ofDaemon.join("\n")}
    )
    # They may have one dash.
    for ((index = 2; index < CURRENT; index++)); do
        [[ $words[index] == -[^-]?* ]] && words[index]=-$words[index]
    done
    [[ $PREFIX == -[^-]* ]] && flags+=("\${flags[@]/#--/-}")
    _arguments -C "\${flags[@]}" \\
${[...specs, ...next].join(" \\\n")}
    local -a commands
    commands=(
${names.join("\n")}
    )
    case $state in
        command) _describe command commands ;;
        rest)
            case $line[1] in
${words.map(({ word }) => `                ${word}) ${functionName(`${path} ${word}`.trim())} ;;`).join("\n")}
            esac ;;
    esac
}`;
  });
  return `#compdef ${program}
# Completion of ${program} for zsh.
${functions.join("\n")}
_${program} "$@"
`;
}

/** fish-completions(7). */
function fishCompletion(program, states) {
  const isState = `__${program}_is`;
  const lines = states.flatMap(({ path, words, takesFiles, options, flags }) => {
    const start = `complete -c ${program} -n ${quote(`${isState} ${path}`.trim())}`;
    return [
      ...(takesFiles ? [] : [`${start} -f`]),
      ...words.map(({ word, summary }) => `${start} -a ${quote(word)} -d ${quote(summary)}`),
      ...options.map((option) => `${start} ${fishOption(option)} -d ${quote(option.summary)}`),
      ...flags.map((flag) => `${start} ${fishOption(flag)} ${oneDash(flag)} -d ${quote(flag.summary)}`),
    ];
  });
  const paths = states.map(({ path }) => path).filter((path) => path !== "");
  return `# Completion of ${program} for fish.
function ${isState} --description "whether these words are the command so far"
    set -l path
    for word in (commandline -opc)[2..-1]
        if contains -- (string join -- ' ' $path $word) ${paths.map(quote).join(" ")}
            set -a path $word
        end
    end
    test "$path" = "$argv"
end
${lines.join("\n")}
`;
}

function choicesOf(states) {
  return states.flatMap(({ path, options, flags }) =>
    [...options, ...flags].flatMap(({ names, choices }) =>
      choices.length === 0 ? [] : names.map((name) => ({ path, name, choices })),
    ),
  );
}

/** Options whose value is a file for all that the shell knows. */
function valueNames(states) {
  const valued = states.flatMap(({ options, flags }) =>
    [...options, ...flags].filter(({ takesValue }) => takesValue),
  );
  return [...new Set(valued.flatMap(({ names }) => names))].sort();
}

/** A long option's value may follow a "=". One with several spellings is one specification for each (brace expansion). */
function zshOption({ names, summary, takesValue, choices }) {
  const value = choices.length > 0 ? `: :(${choices.join(" ")})` : takesValue ? ": :_files" : "";
  const text = quote(`[${summary.replaceAll(/([\][])/g, "\\$1")}]${value}`);
  const spellings = names.map((name) => (takesValue && name.startsWith("--") ? `${name}=` : name));
  return names.length === 1
    ? `${spellings[0]}${text}`
    : `${quote(`(${names.join(" ")})`)}{${spellings.join(",")}}${text}`;
}

function zshEscape(word) {
  return word.replaceAll(":", "\\:");
}

function fishOption({ names, takesValue, choices }) {
  const spellings = names.map((name) =>
    name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
  );
  if (choices.length > 0) spellings.push(`-x -a ${quote(choices.join(" "))}`);
  else if (takesValue) spellings.push("-r");
  return spellings.join(" ");
}

/** For fish: the spelling with one dash. */
function oneDash({ names: [name] }) {
  return `-o ${name.slice(2)}`;
}

/** A word for a shell; all three read single quotes alike but for the quote itself, which no text here needs. */
function quote(text) {
  return `'${text.replaceAll("'", "’")}'`;
}
