// Completion for bash, zsh and fish, written from the command table.
// Promises: each shell completes the same: commands, flags, listed values, files, and names of interfaces.
// Read on: commands.ts; bash(1) "Programmable Completion", zshcompsys(1), complete(1) of fish.

import type { DescribedCommand, DescribedOption } from './commands.js';

/** Names of values and arguments that are files; those of an interface are found where they are configured or served. */
const FILES = new Set(['file', 'path', 'config']);
const INTERFACE = 'interface';
const INTERFACE_FILES = '/etc/wireonce/*.conf /etc/wireguard/*.conf /run/wireguard/*.sock';

const all = (command: DescribedCommand): DescribedCommand[] => [command, ...command.commands.flatMap(all)];
const flagsOf = ({ short, long }: DescribedOption) => [short, long].filter(flag => flag !== undefined);
const nameOf = ({ path }: DescribedCommand) => path.at(-1) ?? '';
/** Of a command that only has others: there is nothing else behind its name. */
const isGroup = ({ commands }: DescribedCommand) => commands.length > 0;

export function bashCompletion(program: DescribedCommand): string {
  const commands = all(program);
  const inner = commands.slice(1).map(({ path }) => `'${path.join(' ')}'`);
  const values = commands.flatMap(({ path, options }) =>
    options.flatMap(option => {
      if (option.value === undefined) return [];
      const at = flagsOf(option).map(flag => `'${path.join(' ')} ${flag}'`);
      const reply = FILES.has(option.value)
        ? '-f'
        : option.values.length > 0
          ? words(option.values)
          : undefined;
      return `    ${at.join('|')}) ${reply === undefined ? '' : `_wireonce_reply ${reply}; `}return ;;`;
    }),
  );
  const places = commands.map(command => {
    const known = [...command.commands.map(nameOf), ...command.options.flatMap(flagsOf)];
    const kinds = command.arguments.map(({ name }) => name);
    const more = [
      ...(kinds.some(kind => FILES.has(kind)) ? [`[[ $cur == -* ]] || _wireonce_reply -f`] : []),
      ...(kinds.includes(INTERFACE) ? ['_wireonce_reply -W "$(_wireonce_interfaces)"'] : []),
    ];
    return `    '${command.path.join(' ')}') ${[`_wireonce_reply ${words(known)}`, ...more].join('; ')} ;;`;
  });
  return `# bash completion for wireonce

_wireonce_interfaces() {
  local file
  for file in ${INTERFACE_FILES}; do
    [[ -e $file ]] && file=\${file##*/} && printf '%s\\n' "\${file%.*}"
  done
}

_wireonce_reply() {
  local word
  while IFS= read -r word; do [[ $word ]] && COMPREPLY+=("$word"); done <<<"$(compgen "$@" -- "$cur")"
}

_wireonce() {
  local cur=\${COMP_WORDS[COMP_CWORD]} at=wireonce word
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$at $word" in
      ${inner.join('|')}) at="$at $word" ;;
    esac
  done
  case "$at \${COMP_WORDS[COMP_CWORD-1]}" in
${values.join('\n')}
  esac
  case $at in
${places.join('\n')}
  esac
}

complete -o filenames -F _wireonce wireonce
`;
}

export function zshCompletion(program: DescribedCommand): string {
  const functions = all(program).map(command => {
    const { options, commands } = command;
    const specs = options.flatMap(option => {
      const message =
        option.value === undefined ? '' : `:${option.value}:${zshAction(option.value, option.values)}`;
      const text = `[${zshText(option.help)}]${message}`;
      const { short, long, value } = option;
      const [own, other] = value === undefined ? ['', ''] : ['+', '='];
      return short === undefined
        ? [quote(`${long}${other}${text}`)]
        : [
            quote(`(${short} ${long})${short}${own}${text}`),
            quote(`(${short} ${long})${long}${other}${text}`),
          ];
    });
    const named = commands.map(each => quote(`${nameOf(each)}:${each.help}`)).join(' ');
    const interfaces = command.arguments.some(({ name }) => name === INTERFACE);
    const rest = isGroup(command)
      ? ["'1: :->first'", "'*:: :->rest'"]
      : command.arguments.map(({ name }, i) => quote(`${i + 1}:${name}:${zshAction(name, [])}`));
    const lines = [
      `${zshName(command)}() {`,
      '  local context state state_descr line',
      '  typeset -A opt_args',
      `  _arguments -C ${[...specs, ...rest].join(' \\\n    ')}`,
      ...(isGroup(command)
        ? [
            '  case $state in',
            `    first) local -a commands=(${named}); _describe command commands${interfaces ? '; _wireonce_interfaces' : ''} ;;`,
            '    rest)',
            '      case $words[1] in',
            ...commands.map(each => `        ${nameOf(each)}) ${zshName(each)} ;;`),
            '      esac ;;',
            '  esac',
          ]
        : []),
      '}',
    ];
    return lines.join('\n');
  });
  return `#compdef wireonce

_wireonce_interfaces() {
  local -a names
  names=(${INTERFACE_FILES.split(' ')
    .map(glob => `${glob}(N:t:r)`)
    .join(' ')})
  compadd -a names
}

${functions.join('\n\n')}

_wireonce "$@"
`;
}

const zshName = ({ path }: DescribedCommand) => `_${path.join('_')}`;

function zshAction(kind: string, values: readonly string[]): string {
  if (values.length > 0) return `(${values.join(' ')})`;
  if (kind === INTERFACE) return '_wireonce_interfaces';
  return FILES.has(kind) ? '_files' : ' ';
}

export function fishCompletion(program: DescribedCommand): string {
  const lines = all(program).flatMap(({ path, commands, options, arguments: args }) => {
    const here = `complete -c wireonce -n ${quote(`__wireonce_at ${path.join(' ')}`)}`;
    return [
      ...commands.map(each => `${here} -a ${nameOf(each)} -d ${quote(each.help)}`),
      ...options.map(({ short, long, value, values, help }) => {
        const flags = [...(short === undefined ? [] : [`-s ${short.slice(1)}`]), `-l ${long.slice(2)}`];
        const takes = value === undefined ? [] : FILES.has(value) ? ['-r -F'] : ['-x'];
        const listed = values.length > 0 ? [`-a ${quote(values.join(' '))}`] : [];
        return [here, ...flags, ...takes, ...listed, `-d ${quote(help)}`].join(' ');
      }),
      ...(args.some(({ name }) => FILES.has(name)) ? [`${here} -F`] : []),
      ...(args.some(({ name }) => name === INTERFACE)
        ? [`${here} -a '(__wireonce_interfaces)' -d interface`]
        : []),
    ];
  });
  const inner = all(program).slice(1);
  return `# fish completion for wireonce

function __wireonce_interfaces
    set -l files ${INTERFACE_FILES}
    for file in $files
        string replace -r '.*/(.*)\\.[^.]*$' '$1' -- $file
    end
end

function __wireonce_at
    set -l at wireonce
    for word in (commandline -opc)[2..]
        switch "$at $word"
            case ${inner.map(({ path }) => quote(path.join(' '))).join(' ')}
                set at "$at $word"
        end
    end
    test "$at" = "$argv"
end

complete -c wireonce -f
${lines.join('\n')}
`;
}

/** A word of any of the shells. */
function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

const words = (list: readonly string[]) => `-W ${quote(list.join(' '))}`;

const zshText = (text: string) => text.replaceAll(/[[\]:\\]/g, String.raw`\$&`);
