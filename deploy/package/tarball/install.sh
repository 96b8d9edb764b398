#!/bin/sh
# Installs tulle from the archive that this script is in, or uninstalls it. Asks nothing.
#
#     ./install.sh                 install or upgrade
#     ./install.sh --uninstall     remove what was installed; devices, routes, rules, settings and state stay
#
# Variables:
#     PREFIX    default /usr/local. Units and other files of the host go below /usr/lib with PREFIX=/usr, else below /etc
#     DESTDIR   a folder that is to become a root file system: nothing outside of it is touched or checked
#
# All files are written beside their places and renamed when they are complete, so that a failure changes nothing.
set -eu
umask 022

PREFIX=${PREFIX:-/usr/local}
DESTDIR=${DESTDIR:-}
MACHINE=@MACHINE@
LOADER=@LOADER@
OLDEST_KERNEL=@KERNEL@
OLDEST_GLIBC=@GLIBC@
ASIDE=.tulle-new
# Paths of the installed files, one a line.
LIST=$DESTDIR$PREFIX/share/tulle/installed-files
UNITS="tulled.service tulle-docker.service tulle-docker.path"
# With CDPATH set cd would print where it goes.
HERE=$(CDPATH='' cd "$(dirname "$0")" && pwd)

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

# is_older 4.18.0-x 5.1: compares the first two numbers.
is_older() {
    found_minor=${1#*.}
    found_minor=${found_minor%%[!0-9]*}
    [ "${1%%.*}" -lt "${2%%.*}" ] || { [ "${1%%.*}" -eq "${2%%.*}" ] && [ "${found_minor:-0}" -lt "${2#*.}" ]; }
}

check_root() {
    [ "$(id -u)" -eq 0 ] || fail "this changes files of the host: run it as root"
}

check_host() {
    [ "$(uname -m)" = "$MACHINE" ] || fail "this archive is for $MACHINE, and this machine is $(uname -m)"
    ! is_older "$(uname -r)" "$OLDEST_KERNEL" || fail "Linux $OLDEST_KERNEL or newer is missing: this is $(uname -r)"
    [ -e "$LOADER" ] || fail "glibc $OLDEST_GLIBC or newer is missing: there is no $LOADER"
    if glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null) && is_older "${glibc#glibc }" "$OLDEST_GLIBC"; then
        fail "glibc $OLDEST_GLIBC or newer is missing: this is ${glibc#glibc }"
    fi
}

# Each of the two would overwrite and remove the other's files.
check_owner() {
    owner=$(dpkg -S "$PREFIX/bin/tulle" 2>/dev/null || rpm -qf "$PREFIX/bin/tulle" 2>/dev/null) || return 0
    fail "$PREFIX/bin/tulle is of the package ${owner%%:*}: use the package manager, or another PREFIX"
}

# Files that were damaged on their way here are not installed.
check_archive() {
    [ -f "$HERE/SHA256SUMS" ] || fail "$HERE/SHA256SUMS is missing: run install.sh in the unpacked archive"
    command -v sha256sum >/dev/null || fail "the program sha256sum is missing: install coreutils"
    sums=$(cd "$HERE" && LC_ALL=C sha256sum -c SHA256SUMS 2>&1) && return
    damaged=$(echo "$sums" | grep -v ': OK$' | head -n 1)
    fail "this archive is damaged, nothing was changed: $damaged"
}

check_program() {
    said=$("$HERE/usr/bin/tulle" version 2>&1) ||
        fail "the program does not run here, nothing was changed: $(echo "$said" | head -n 1)"
}

# Where a file of the archive belongs, without DESTDIR.
place_of() {
    case $1 in
    usr/lib/systemd/* | usr/lib/sysctl.d/* | usr/lib/modules-load.d/* | usr/lib/NetworkManager/*)
        if [ "$PREFIX" = /usr ]; then echo "/$1"; else echo "/etc/${1#usr/lib/}"; fi
        ;;
    usr/*) echo "$PREFIX/${1#usr/}" ;;
    *) echo "/$1" ;;
    esac
}

# Calls "$1 KIND MODE NAME TARGET PLACE" for each line of FILES, until one fails.
for_each_file() {
    while read -r kind mode name target; do
        "$1" "$kind" "$mode" "$name" "$target" "$DESTDIR$(place_of "$name")" || return 1
    done <"$HERE/FILES"
}

write_aside() {
    [ "$1" != config ] || [ ! -e "$5" ] || return 0
    # mv would move the file into it.
    [ ! -d "$5" ] || { echo "install.sh: $5 is a folder: remove it" >&2 && return 1; }
    mkdir -p "$(dirname "$5")" || return 1
    rm -f "$5$ASIDE" || return 1
    case $1:$3 in
    link:*) ln -s "$4" "$5$ASIDE" || return 1 ;;
    *:usr/lib/systemd/system/*)
        sed "s|/usr/bin/|$PREFIX/bin/|g; s|/usr/share/doc/|$PREFIX/share/doc/|g" "$HERE/$3" >"$5$ASIDE" || return 1
        ;;
    *) cp "$HERE/$3" "$5$ASIDE" || return 1 ;;
    esac
    [ "$1" = link ] || chmod "$2" "$5$ASIDE" || return 1
    [ "$1" = config ] || echo "${5#"$DESTDIR"}" >>"$LIST$ASIDE" || return 1
}

move_into_place() {
    [ ! -e "$5$ASIDE" ] && [ ! -L "$5$ASIDE" ] || mv -f "$5$ASIDE" "$5"
}

remove_aside() {
    rm -f "$5$ASIDE"
}

# Some file systems find out only now that the disk is full.
flush() {
    sync -f "$LIST$ASIDE" 2>/dev/null || sync
}

abandon() {
    for_each_file remove_aside
    rm -f "$LIST$ASIDE"
    fail "$1"
}

# Files of the former version that this one does not have.
remove_superfluous() {
    [ -f "$LIST" ] || return 0
    while read -r file; do
        grep -Fqx -e "$file" "$LIST$ASIDE" || rm -f "$DESTDIR$file"
    done <"$LIST"
}

is_live() {
    [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]
}

# The units name PREFIX, where blanks and some signs have a meaning (systemd.service(5), "Command lines").
check_prefix() {
    case $PREFIX in
    *[!A-Za-z0-9/._+-]*) fail "PREFIX=$PREFIX: take a path of letters, digits and . _ + - only" ;;
    esac
}

install_all() {
    check_prefix
    if [ -z "$DESTDIR" ]; then check_root && check_host && check_owner; fi
    check_archive
    if [ -z "$DESTDIR" ]; then check_program; fi
    trap 'abandon "interrupted, nothing was changed"' HUP INT TERM
    rm -f "$LIST$ASIDE"
    if ! mkdir -p "$(dirname "$LIST")" || ! for_each_file write_aside || ! flush; then
        abandon "a file could not be written, see above; the version that was installed is unchanged"
    fi
    trap '' HUP INT TERM
    # Before the renames: the former version may have named the same files by another path, as where PREFIX is a link.
    remove_superfluous
    for_each_file move_into_place
    mv -f "$LIST$ASIDE" "$LIST"
    if is_live; then restart_running; fi
}

# Device, routes, rules and lease stay, so traffic goes on. Not waited for: without its store the daemon becomes ready
# only when that is back.
restart_running() {
    systemctl daemon-reload
    case $(systemctl is-active tulled.service) in
    active | activating | reloading) systemctl --no-block restart tulled.service ;;
    *) echo "Put the store's address into /etc/default/tulled, then: systemctl enable --now tulled" ;;
    esac
}

# Of a path, those named tulle and below, where they are empty.
remove_own_folders() {
    folder=${1#"$DESTDIR"}
    while case $folder in */tulle | */tulle/*) true ;; *) false ;; esac; do
        rmdir "$DESTDIR$folder" 2>/dev/null || return 0
        folder=${folder%/*}
    done
}

@LEAVE@

# The program that the unit in /etc starts, where that is of an installation with another PREFIX: units and settings of
# the host are that one's then.
other_program() {
    program=$(sed -n 's|^ExecStart=\(/[^ ]*/tulled\)\( .*\)\{0,1\}$|\1|p' "$DESTDIR/etc/systemd/system/tulled.service" 2>/dev/null) ||
        true
    [ "$DESTDIR$program" -ef "$DESTDIR$PREFIX/bin/tulled" ] || [ ! -x "$DESTDIR$program" ] || [ -d "$DESTDIR$program" ] || echo "$program"
}

uninstall_all() {
    [ -f "$LIST" ] || fail "nothing is installed below $PREFIX: there is no $LIST"
    if [ -z "$DESTDIR" ]; then check_root && check_owner; fi
    other=$(other_program)
    [ -z "$other" ] || echo "tulled.service starts $other: what is outside of $PREFIX stays for it"
    # shellcheck disable=SC2086
    if is_live && [ -z "$other" ]; then systemctl disable --now $UNITS 2>/dev/null || true; fi
    if [ -z "$DESTDIR" ]; then leave_runtimes "$PREFIX/bin/tulle"; fi
    while read -r file; do
        case $other:$file in
        /*:"$PREFIX"/* | :*) ;;
        *) continue ;;
        esac
        rm -f "$DESTDIR$file"
        remove_own_folders "$(dirname "$file")"
    done <"$LIST"
    rm -f "$LIST"
    remove_own_folders "${LIST%/*}"
    if is_live; then systemctl daemon-reload; fi
    other=/usr/lib/systemd/system/tulled.service
    if is_live && [ -e "$other" ]; then
        echo "$other is another installation's: systemctl enable --now tulled starts it"
    fi
}

case $PREFIX in
/*) ;;
*) fail "PREFIX=$PREFIX: take an absolute path" ;;
esac
PREFIX=${PREFIX%/}
case ${1-} in
"") install_all ;;
--uninstall) uninstall_all ;;
*) fail "unknown argument $1: give none to install, or --uninstall" ;;
esac
