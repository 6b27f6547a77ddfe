#!/usr/bin/env bash
# A MySQL server for the tests where no package of the system gives one (Debian has MariaDB in its place) and Docker is not there.
#   scripts/mysql-server.sh get     fetches MySQL 8.4 from Ubuntu's archive, signatures checked, into a folder; needs apt-get and curl, no root
#   scripts/mysql-server.sh start   gets it if need be and runs it on 127.0.0.1:3307, root without a password, for `npm test` to find
#   scripts/mysql-server.sh stop
#   scripts/mysql-server.sh path    where its mysqld is
# The folder is TANDEM_MYSQL_HOME, by default ~/.cache/tandem-mysql; its bin/mysqld is what tests start and kill, as TANDEM_TEST_MYSQLD.
set -euo pipefail

HOME_OF_MYSQL=$(realpath -m "${TANDEM_MYSQL_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/tandem-mysql}")
ARCHIVE=${TANDEM_MYSQL_ARCHIVE:-http://archive.ubuntu.com/ubuntu}
SUITE=${TANDEM_MYSQL_SUITE:-resolute}
KEYRINGS=(
  http://deb.debian.org/debian/pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1-0.2_all.deb
  "$ARCHIVE/pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb"
)
# Of the file usr/share/keyrings/ubuntu-archive-keyring.gpg in either of them.
KEYRING_SHA256=80a36b0a6de2f69f49d2df75ef473ccde121e9e190b9ea01d20a4f63778d5c31
PORT=3307

root=$HOME_OF_MYSQL/root data=$HOME_OF_MYSQL/data mysqld=$HOME_OF_MYSQL/bin/mysqld
die() {
  printf '%s: %s\n' "$0" "$*" >&2
  exit 1
}

# keyring FILE: fetches the keys that sign Ubuntu's archive
keyring() {
  local deb=$1.deb unpacked=$1.d url
  for url in "${KEYRINGS[@]}"; do
    rm -rf "$unpacked"
    curl -fsS -o "$deb" "$url" && dpkg-deb -x "$deb" "$unpacked" || continue
    echo "$KEYRING_SHA256  $unpacked/usr/share/keyrings/ubuntu-archive-keyring.gpg" | sha256sum --check --quiet || continue
    mv "$unpacked/usr/share/keyrings/ubuntu-archive-keyring.gpg" "$1"
    return
  done
  return 1
}

get() {
  [ -x "$mysqld" ] && "$mysqld" --no-defaults --version >/dev/null 2>&1 && return
  command -v dpkg-deb >/dev/null || die 'this script needs apt-get and dpkg; set TANDEM_TEST_MYSQL_URL and TANDEM_TEST_MYSQLD to a MySQL that is there'
  [ "$(dpkg --print-architecture)" = amd64 ] || die 'this script fetches MySQL for amd64 only; set TANDEM_TEST_MYSQL_URL and TANDEM_TEST_MYSQLD to one that is there'
  rm -rf "$HOME_OF_MYSQL"/{bin,root,apt}
  mkdir -p "$HOME_OF_MYSQL"/{bin,root,apt/lists/partial,apt/cache/archives/partial,apt/none}
  local apt=$HOME_OF_MYSQL/apt
  local key=$apt/ubuntu-archive-keyring.gpg
  keyring "$key" || die "no keyring of Ubuntu's archive: none of these has the one that Debian ships as ubuntu-keyring: ${KEYRINGS[*]}"
  printf 'deb [signed-by=%s] %s %s main\n' "$key" "$ARCHIVE" "$SUITE" >"$apt/sources.list"
  : >"$apt/status"
  # Sources, lists and status of its own, so no package counts as installed; configuration, as of a proxy, is the system's.
  local own=(-qq -o "Dir::Etc::sourcelist=$apt/sources.list" -o "Dir::Etc::sourceparts=$apt/none" -o "Dir::Etc::preferencesparts=$apt/none"
    -o "Dir::State=$apt" -o "Dir::State::lists=$apt/lists" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache"
    -o APT::Install-Recommends=false -o Debug::NoLocking=true -o APT::Sandbox::User=)
  apt-get "${own[@]}" update || die "apt-get could not read $ARCHIVE $SUITE"
  apt-get "${own[@]}" --download-only --yes install mysql-server-core || die "apt-get could not download mysql-server-core from $ARCHIVE $SUITE"
  for package in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
  rm -rf "$apt"
  # Its own loader and libraries: they are newer than the system's.
  cat >"$mysqld" <<RUN
#!/bin/sh
root='$root'
exec "\$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "\$root/usr/lib/x86_64-linux-gnu" "\$root/usr/sbin/mysqld" "\$@" --basedir="\$root/usr" --lc-messages-dir="\$root/usr/share/mysql" --plugin-dir="\$root/usr/lib/mysql/plugin/"
RUN
  chmod +x "$mysqld"
  "$mysqld" --no-defaults --version || die 'what was fetched does not run'
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; }

start() {
  get
  answers && return
  local user=()
  [ "$(id -u)" != 0 ] || user=(--user=root)
  if [ ! -d "$data" ]; then
    rm -rf "$data.new"
    "$mysqld" --no-defaults --initialize-insecure --datadir="$data.new" --secure-file-priv=NULL "${user[@]}" >"$HOME_OF_MYSQL/log" 2>&1 || die "MySQL could not make its data folder: see $HOME_OF_MYSQL/log"
    mv "$data.new" "$data"
  fi
  setsid nohup "$mysqld" --no-defaults --datadir="$data" --secure-file-priv=NULL --port="$PORT" --bind-address=127.0.0.1 --mysqlx=OFF --socket="$HOME_OF_MYSQL/socket" \
    --pid-file="$HOME_OF_MYSQL/pid" --max-connections=500 "${user[@]}" >>"$HOME_OF_MYSQL/log" 2>&1 </dev/null &
  for _ in $(seq 200); do
    answers && return
    sleep 0.3
  done
  die "MySQL does not start: see $HOME_OF_MYSQL/log"
}

is_ours() { grep -qsF "$root/usr/sbin/mysqld" "/proc/$1/cmdline"; }

stop() {
  local pid
  pid=$(cat "$HOME_OF_MYSQL/pid" 2>/dev/null) || return 0
  # The file outlives a machine that goes down, and its number may be another's by then.
  if is_ours "$pid"; then
    kill "$pid"
    for _ in $(seq 300); do
      is_ours "$pid" || break
      sleep 0.2
    done
    ! is_ours "$pid" || die "MySQL (process $pid) does not end"
  fi
  rm -f "$HOME_OF_MYSQL/pid"
}

case ${1:-} in
  get) get ;;
  start) start ;;
  stop) stop ;;
  path) printf '%s\n' "$mysqld" ;;
  *) die 'get, start, stop or path' ;;
esac
