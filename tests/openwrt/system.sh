# shellcheck shell=dash
# shellcheck disable=SC2034,SC2317 # What is here, an init script uses.
#
# The parts of OpenWrt that chinwag's init script uses, after the descriptions in its functions.sh,
# procd.sh and rc.common. $CONFIG is the folder of configurations. What the script tells procd and
# the system goes to stdout: a word a line, with what it is for in front.

tell() {
	local what="$1" word
	shift
	[ $# -gt 0 ] || echo "$what"
	for word in "$@"; do
		printf '%s %s\n' "$what" "$word"
	done
}

die() {
	echo "system.sh: $*" >&2
	exit 99
}

# The configuration

reset_cb() {
	config_cb() { :; }
	option_cb() { :; }
	list_cb() { :; }
}
reset_cb

# A configuration file is made of calls of the three functions behind it.
config_load() {
	SECTIONS=
	SECTION=
	LISTS="${LISTS-}"
	local list
	for list in $LISTS; do unset "LENGTH_$list"; done
	LISTS=
	# shellcheck disable=SC1090 # It is the test's.
	. "$CONFIG/$1"
	[ -z "$SECTION" ] || config_cb
}

config() {
	SECTION="${2:-cfg$((${#SECTIONS} + 1))}"
	SECTIONS="$SECTIONS $SECTION"
	eval "TYPE_$SECTION=\$1"
	config_cb "$1" "$SECTION"
}

option() {
	eval "VALUE_${SECTION}_$1=\$2"
	option_cb "$1" "$2"
}

list() {
	local length
	eval "length=\$((\${LENGTH_${SECTION}_$1:-0} + 1))"
	eval "LENGTH_${SECTION}_$1=$length ITEM_${SECTION}_$1_$length=\$2"
	LISTS="$LISTS ${SECTION}_$1"
	list_cb "$1" "$2"
}

config_get() {
	eval "$1=\${VALUE_$2_$3:-\${4-}}"
}

config_get_bool() {
	local given
	config_get given "$2" "$3" "${4-}"
	case "$given" in
		1 | on | true | yes | enabled) given=1 ;;
		0 | off | false | no | disabled) given=0 ;;
		*) given="${4-}" ;;
	esac
	eval "$1=\$given"
}

config_foreach() {
	local function="$1" type="$2" each is
	for each in $SECTIONS; do
		eval "is=\$TYPE_$each"
		[ "$is" != "$type" ] || "$function" "$each"
	done
}

config_list_foreach() {
	local section="$1" list="$2" function="$3" length item number=1
	eval "length=\${LENGTH_${section}_$list:-0}"
	while [ "$number" -le "$length" ]; do
		eval "item=\$ITEM_${section}_${list}_$number"
		"$function" "$item"
		number=$((number + 1))
	done
}

# procd

INSTANCE=
JAIL=

need_instance() { [ -n "$INSTANCE" ] || die "no instance is open: $*"; }

procd_open_instance() {
	[ -z "$INSTANCE" ] || die "$INSTANCE is still open"
	INSTANCE="$1"
	JAIL=
	tell open "$1"
}

procd_close_instance() {
	need_instance close
	INSTANCE=
	# procd may read other configurations by now, which have other options.
	option_cb device eth0
	tell close
}

procd_set_param() {
	need_instance "$@"
	case "$1" in
		command | user | group | respawn | stderr | term_timeout | no_new_privs | env) tell "$@" ;;
		*) die "procd has no parameter $1, or nobody needed it yet" ;;
	esac
}

procd_append_param() {
	need_instance "$@"
	[ "$1" = command ] || die "not a list: $1"
	tell "$@"
}

procd_add_jail() {
	need_instance jail
	JAIL="$1"
	tell jail "$*"
}

# Without a jail they do nothing, which nobody means.
procd_add_jail_mount() {
	[ -n "$JAIL" ] || die "no jail to mount $1 in"
	tell mount "$@"
}

procd_add_jail_mount_rw() {
	[ -n "$JAIL" ] || die "no jail to mount $1 in"
	tell mount_rw "$@"
}

procd_add_reload_trigger() { tell trigger "$@"; }
# An event, the milliseconds to wait for more of its kind, and a command.
procd_add_raw_trigger() {
	[ "$2" -gt 0 ] || die "no time to wait: $2"
	tell raw_trigger "$*"
}
procd_send_signal() { tell signal "$*"; }

# The system

start() {
	tell start
	start_service
}
logger() { tell log "$*"; }
# The processes of two servers, as procd knows them; the second is a jail. $RUNNING says whether there
# are any.
ubus() {
	[ "$*" = 'call service list {"name":"chinwag"}' ] || die "ubus $*"
	[ -z "${RUNNING-}" ] || printf '%s\n' 11 22
}
jsonfilter() {
	[ "$*" = '-e @.chinwag.instances[*].pid' ] || die "jsonfilter $*"
	while read -r pid; do echo "$pid"; done
}
cat() {
	case "$*" in
		/proc/11/comm) echo chinwag ;;
		/proc/22/comm) echo ujail ;;
		*) die "cat $*" ;;
	esac
}
pgrep() {
	[ "$*" = '-P 22 chinwag' ] || die "pgrep $*"
	echo 33
}
# There may be no time zone. The test's is in $ZONE.
uci() {
	[ "$*" = '-q get system.@system[0].timezone' ] || die "uci $*"
	[ -n "${ZONE-}" ] || return 1
	echo "$ZONE"
}
chown() { tell chown "$*"; }
mkdir() { tell mkdir "$*"; }
