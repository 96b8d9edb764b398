# own_units UNIT...: prints those that start the package's programs. Where the archive is installed too, its units are in
# /etc/systemd/system and come first (systemd.unit(5), "Unit File Load Path"); an edited copy there still names /usr/bin.
own_units() {
    for unit in "$@"; do
        case $(systemctl show --property FragmentPath,ExecStart "$unit" 2>/dev/null) in
        *FragmentPath=/lib/systemd/system/* | *FragmentPath=/usr/lib/systemd/system/* | *path=/usr/bin/tulle*) echo "$unit" ;;
        esac
    done
}
