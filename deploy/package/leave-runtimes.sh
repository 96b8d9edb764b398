# leave_runtimes PROGRAM: Docker and CNI runtimes stop calling a program that is about to be removed. Restarts nothing.
leave_runtimes() {
    drop_in=/etc/systemd/system/docker.service.d/50-tulle.conf
    daemon_json=/etc/docker/daemon.json
    called=$(sed -n 's/^ExecStartPre=\(.* \)*\(\/.*\) docker-opts .*/\2/p' "$drop_in" 2>/dev/null) || true
    if [ "$called" -ef "$1" ]; then
        # With it Docker would not start.
        "$1" docker unset || rm -f "$drop_in"
    elif [ -e "$daemon_json.before-tulle" ]; then
        echo "tulle: $daemon_json stays, Docker keeps this host's subnet; $daemon_json.before-tulle is the former file"
    fi
    for plugin in /opt/cni/bin/* /usr/lib/cni/* /usr/libexec/cni/*; do
        # Links that the packages install are relative.
        case $(readlink "$plugin") in /*) ;; *) continue ;; esac
        [ "$plugin" -ef "$1" ] || continue
        set -- "$1" cni uninstall --bin-dir "${plugin%/*}" --name "${plugin##*/}"
        # A configuration that was changed since stays, and is named.
        "$@" || "$@" --no-conflist || true
    done
}
