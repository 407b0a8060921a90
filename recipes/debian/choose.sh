#!/bin/sh
# Run by apt-get update: choose REPOSITORY SUITE [REPOSITORY SUITE]...
#
# Asks all mirrors in /etc/apt/mirrors/REPOSITORY.list for the suite's release file
# at once, and writes into the list which is tried first (the number; apt takes the
# lowest): those with a whole and current release file in the order of the lines,
# then those whose file is old or has expired, then the others. apt by itself stays
# with a mirror that is silent, behind, or answers with half a file or a web page.
# Whatever goes wrong here, the list stays as it is. apt checks signatures later.
set -u
most=10     # seconds to wait for mirrors
grace=2     # seconds to wait for the others once each repository has a good one
old=43200   # seconds behind the newest mirror that make one old
export LC_ALL=C
dir=/etc/apt/mirrors
t=$(mktemp -d) && [ -w $dir ] || exit 0
trap 'rm -rf "$t"' EXIT
chmod 755 "$t"
chown _apt "$t" 2>/dev/null

mirrors() { sed -n 's/^\([a-z][^[:space:]#]*\).*/\1/p' $dir/$1.list; }

# probe FILE URL leaves FILE.ok with the date, the mark "expired" after it if so.
probe() {
	timeout $most /usr/lib/apt/apt-helper -qq -o Acquire::Retries=0 download-file "$2" "$1" &
	trap "kill $!; exit" TERM
	wait $!
	if [ "$(head -n 1 "$1")" = '-----BEGIN PGP SIGNED MESSAGE-----' ] && [ "$(tail -n 1 "$1")" = '-----END PGP SIGNATURE-----' ] &&
		made=$(date -d "$(sed -n 's/^Date: //p' "$1")" +%s); then
		until=$(sed -n 's/^Valid-Until: //p' "$1")
		[ -z "$until" ] || [ "$(date -d "$until" +%s)" -ge "$(date +%s)" ] || made="$made expired"
		echo "$made" >"$1.new" && mv "$1.new" "$1.ok"
	fi
	: >"$1.done"
}

repositories= asked=0
while [ $# -gt 1 ]; do
	if [ -f $dir/$1.list ]; then
		repositories="$repositories $1"
		i=0
		for url in $(mirrors $1); do
			i=$((i + 1)) asked=$((asked + 1))
			probe "$t/$1.$i" "${url%/}/dists/$2/InRelease" >/dev/null 2>&1 &
		done
	fi
	shift 2
done

count() { ls "$t" | grep -c "$1"; }
start=$(date +%s) enough=
while [ "$(count '\.done$')" -lt $asked ]; do
	now=$(date +%s)
	[ $((now - start)) -le $most ] || break
	if [ -z "$enough" ]; then
		enough=$now
		for r in $repositories; do [ "$(count "^$r\.[0-9]*\.ok$")" -gt 0 ] || enough=; done
	fi
	[ -z "$enough" ] || [ $((now - enough)) -le $grace ] || break
	sleep 0.1
done
jobs -p >"$t/jobs"
kill $(cat "$t/jobs") 2>/dev/null

for r in $repositories; do
	newest=0
	for f in "$t/$r".[0-9]*.ok; do
		[ -f "$f" ] && read -r made _ <"$f" && [ "$made" -gt $newest ] && newest=$made
	done
	# 0 is good, 1 is old or expired, 2 is no use.
	scores= i=0
	for url in $(mirrors $r); do
		i=$((i + 1)) score=2
		if [ -f "$t/$r.$i.ok" ]; then
			read -r made expired <"$t/$r.$i.ok"
			score=0
			[ -z "$expired" ] && [ $((newest - made)) -le $old ] || score=1
		fi
		scores="$scores $score"
	done
	numbers= i=0
	for a in $scores; do
		i=$((i + 1)) n=1 j=0
		for b in $scores; do
			j=$((j + 1))
			if [ $b -lt $a ] || { [ $b -eq $a ] && [ $j -lt $i ]; }; then n=$((n + 1)); fi
		done
		numbers="$numbers $n"
	done
	set -- $numbers
	while IFS= read -r line; do
		case $line in
		[a-z]*)
			printf '%s\n' "$line" | sed "s/[[:space:]]priority:[0-9]*//; s/\$/\tpriority:$1/"
			shift
			;;
		*) printf '%s\n' "$line" ;;
		esac
	done <$dir/$r.list >"$t/list" && { cmp -s "$t/list" $dir/$r.list || cat "$t/list" >$dir/$r.list; }
done
exit 0
